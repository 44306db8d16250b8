//! Coordinate reference systems: EPSG codes and PROJ strings, and points from one to another.
//!
//! Geographic coordinates are always (longitude, latitude) in degrees, whatever the axis order of the authority. Where the
//! relation of a datum to WGS 84 is not known, a transformation across datums is refused: it would be silently wrong by
//! hundreds of metres.

use std::fmt;
use std::sync::Arc;

use proj4rs::Proj;
use proj4rs::transform::transform;

use crate::error::ImageryError;

/// EPSG:4326: longitude and latitude on WGS 84.
pub const WGS84: &str = "EPSG:4326";

/// Korean 1985 (Bessel 1841) to WGS 84: position-vector parameters of the official seven-parameter transformation to
/// Korea 2000. The catalogue of CRS definitions has none, which would put old Korean maps 383 m off.
const KOREAN_1985: &str = "+towgs84=-115.8,474.99,674.11,1.16,-2.31,-1.63,6.43";

/// EPSG codes on the datum Korean 1985: geographic, then the belts and modified belts.
const ON_KOREAN_1985: [u32; 8] = [4162, 2096, 2097, 2098, 5173, 5174, 5175, 5176];

/// Semi-major axis of WGS 84, metres.
const WGS84_A: f64 = 6_378_137.0;
/// Flattening of WGS 84.
const WGS84_F: f64 = 1.0 / 298.257_223_563;

/// A coordinate reference system. Cheap to clone.
#[derive(Clone)]
pub struct Crs {
    name: Arc<str>,
    /// Terms of the PROJ string, sorted and without those that say nothing: what equality is about.
    terms: Arc<[String]>,
    proj: Arc<Proj>,
    /// Why points cannot be brought to another datum, where they cannot.
    unanchored: Option<&'static str>,
}

impl fmt::Debug for Crs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Crs").field(&self.name).finish()
    }
}

impl fmt::Display for Crs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Crs {
    fn eq(&self, other: &Self) -> bool {
        self.terms == other.terms
    }
}

impl Eq for Crs {}

fn error(crs: &str, cause: impl Into<String>) -> ImageryError {
    ImageryError::Crs { crs: crs.to_owned(), cause: cause.into() }
}

/// The EPSG code of the spellings that are met in the wild.
fn epsg_code(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "crs84" | "ogc:crs84" | "urn:ogc:def:crs:ogc:1.3:crs84" | "urn:ogc:def:crs:ogc::crs84")
        || lower.ends_with("/def/crs/ogc/1.3/crs84")
    {
        return Some(4326);
    }
    let digits = lower
        .strip_prefix("epsg:")
        .or_else(|| lower.strip_prefix("urn:ogc:def:crs:epsg:").and_then(|rest| rest.rsplit(':').next()))
        .or_else(|| lower.split_once("/def/crs/epsg/").and_then(|(_, rest)| rest.rsplit('/').next()))?;
    digits.trim().parse().ok()
}

impl Crs {
    /// Parses `EPSG:<code>` (also as an OGC URN or URL, and `CRS84`) or a PROJ string.
    ///
    /// # Errors
    /// [`ImageryError::Crs`] for what is neither, for an unknown code and for a projection that is not supported.
    pub fn parse(text: &str) -> Result<Self, ImageryError> {
        let text = text.trim();
        if text.starts_with('+') {
            return Self::from_proj(text, text);
        }
        let code = epsg_code(text)
            .ok_or_else(|| error(text, "this is no CRS; write EPSG:<code> or a PROJ string (`+proj=…`)"))?;
        let definition = u16::try_from(code)
            .ok()
            .and_then(crs_definitions::from_code)
            .ok_or_else(|| error(text, "this EPSG code is not known; write a PROJ string (`+proj=…`) instead"))?;
        let anchor = if ON_KOREAN_1985.contains(&code) { KOREAN_1985 } else { "" };
        Self::from_proj(&format!("EPSG:{code}"), &format!("{} {anchor}", definition.proj4))
    }

    fn from_proj(name: &str, text: &str) -> Result<Self, ImageryError> {
        // proj4rs takes a grid that is not there for one that shifts nothing; only `@null` means that.
        if let Some(grids) = term(text, "nadgrids").filter(|grids| *grids != "@null") {
            return Err(error(name, format!("datum grids ({grids}) are not supported; give +towgs84 instead")));
        }
        // proj4rs takes this datum with its grids only; without them it is still a CRS to work within.
        let without_grids = text.replace("+datum=NAD27", "+ellps=clrk66");
        let proj = Proj::from_proj_string(&without_grids)
            .map_err(|cause| error(name, format!("{cause}; see the PROJ documentation, or use an EPSG code")))?;
        if proj.is_geocent() {
            return Err(error(name, "geocentric coordinates cannot be used; choose a geographic or projected CRS"));
        }
        if !proj.has_inverse() || !proj.has_forward() {
            return Err(error(
                name,
                format!("the projection `{}` works one way only; choose another", proj.projname()),
            ));
        }
        let (a, b) = proj.ellipse_parameters();
        let datum = term(text, "datum").unwrap_or("");
        let unanchored = if datum == "NAD27" {
            Some("NAD27 needs datum grids, which are not supported")
        } else if !datum.is_empty() || term(text, "towgs84").is_some() || term(text, "nadgrids").is_some() {
            None
        } else if (a - b).abs() < 1e-9 || (a - WGS84_A).abs() < 1e-3 && (b - (1.0 - WGS84_F) * WGS84_A).abs() < 1e-3 {
            // A sphere takes latitudes as they are; GRS 80 and WGS 84 differ by 0.1 mm.
            None
        } else {
            Some("its datum's relation to WGS 84 is not given")
        };
        Ok(Self { name: name.into(), terms: canonical(text).into(), proj: Arc::new(proj), unanchored })
    }

    /// The CRS as `EPSG:<code>`, or the PROJ string that it was parsed from.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether coordinates are longitude and latitude in degrees.
    #[must_use]
    pub fn is_geographic(&self) -> bool {
        self.proj.is_latlong()
    }

    /// Metres in a unit of the coordinates (of a projected CRS).
    #[must_use]
    pub fn metres_per_unit(&self) -> f64 {
        self.proj.to_meter()
    }

    /// Whether areas in this CRS are true areas.
    #[must_use]
    pub fn is_equal_area(&self) -> bool {
        matches!(self.proj.projname(), "laea" | "aea" | "leac" | "cea" | "sinu" | "moll" | "eqearth")
    }
}

/// The value of a term (`+name=value`) of a PROJ string.
fn term<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_whitespace()
        .filter_map(|word| word.trim_start_matches('+').split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Terms in a fixed order, numbers in one spelling, without those that say nothing.
fn canonical(text: &str) -> Vec<String> {
    let mut terms: Vec<String> = text
        .split_whitespace()
        .map(|word| word.trim_start_matches('+'))
        .filter_map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let key = match key {
                "k" => "k_0",
                other => other,
            };
            let number = value.parse::<f64>().ok();
            match key {
                "no_defs" | "type" | "wktext" | "" => None,
                "units" if value == "m" => None,
                "x_0" | "y_0" | "lon_0" | "lat_0" if number == Some(0.0) => None,
                "k_0" if number == Some(1.0) => None,
                _ => Some(match number {
                    Some(number) => format!("{key}={number}"),
                    None => format!("{key}={value}"),
                }),
            }
        })
        .collect();
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// Brings points from one CRS to another.
#[derive(Clone, Debug)]
pub struct Transformer {
    from: Crs,
    to: Crs,
    same: bool,
}

impl Transformer {
    /// A transformer.
    ///
    /// # Errors
    /// [`ImageryError::Crs`] where the two lie on different datums and the relation of one to WGS 84 is not known.
    pub fn new(from: &Crs, to: &Crs) -> Result<Self, ImageryError> {
        let same = from == to;
        if !same && datum_terms(from) != datum_terms(to) {
            for crs in [from, to] {
                if let Some(cause) = crs.unanchored {
                    return Err(error(
                        &crs.name,
                        format!("{cause}: it would be hundreds of metres off; use a PROJ string with +towgs84"),
                    ));
                }
            }
        }
        Ok(Self { from: from.clone(), to: to.clone(), same })
    }

    /// The point in the other CRS; `None` where the projection does not reach it.
    #[must_use]
    pub fn apply(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        if !(x.is_finite() && y.is_finite()) {
            return None;
        }
        if self.same {
            return Some((x, y));
        }
        let mut point = if self.from.is_geographic() { (x.to_radians(), y.to_radians(), 0.0) } else { (x, y, 0.0) };
        transform(&self.from.proj, &self.to.proj, &mut point).ok()?;
        let (x, y) =
            if self.to.is_geographic() { (point.0.to_degrees(), point.1.to_degrees()) } else { (point.0, point.1) };
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }
}

/// The terms that say which datum a CRS lies on.
fn datum_terms(crs: &Crs) -> Vec<&String> {
    const DATUM: [&str; 9] = ["datum=", "ellps=", "towgs84=", "nadgrids=", "a=", "b=", "rf=", "R=", "pm="];
    let mut terms: Vec<&String> =
        crs.terms.iter().filter(|term| DATUM.iter().any(|name| term.starts_with(name))).collect();
    // UTM on NAD27 and NAD27 itself are the same datum, spelt alike; nothing to fold.
    terms.sort_unstable();
    terms
}

/// `EPSG:326xx` (north) or `EPSG:327xx` (south) of the UTM zone that a point lies in. Zones are 6° wide everywhere.
#[must_use]
pub fn utm_for(lon: f64, lat: f64) -> String {
    // A non-finite longitude becomes zone 1; callers check their coordinates.
    let zone = ((lon + 180.0) / 6.0).floor().rem_euclid(60.0) as u32 + 1;
    format!("EPSG:{}", if lat < 0.0 { 32700 } else { 32600 } + zone)
}

/// A Lambert azimuthal equal-area CRS (WGS 84, metres) centred on a point, which is rounded to a tenth of a degree so that
/// the CRS does not change with the last digit of a border.
#[must_use]
pub fn laea(lon: f64, lat: f64) -> String {
    let round = |degrees: f64| {
        let rounded = (degrees * 10.0).round() / 10.0;
        // −0 is 0.
        if rounded == 0.0 { 0.0 } else { rounded }
    };
    format!("+proj=laea +lat_0={} +lon_0={} +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs", round(lat), round(lon))
}

/// True area on the ground (m², on the ellipsoid WGS 84) of a unit of area of the CRS at a point: the area of a pixel is
/// this times its area in the CRS. `None` where the point is outside the projection.
///
/// Central differences of longitude and latitude; the ellipsoid's radii of curvature turn them into metres
/// (Snyder 1987, Map Projections: A Working Manual, equations 4-18 to 4-21).
#[must_use]
pub fn area_scale(crs: &Crs, x: f64, y: f64) -> Option<f64> {
    let wgs84 = Crs::parse(WGS84).ok()?;
    let to_degrees = Transformer::new(crs, &wgs84).ok()?;
    // 100 m: far below the scale on which a projection bends, far above rounding.
    let step = if crs.is_geographic() { 1e-3 } else { 100.0 / crs.metres_per_unit() };
    let (_, lat) = to_degrees.apply(x, y)?;
    let (west, east) = (to_degrees.apply(x - step, y)?, to_degrees.apply(x + step, y)?);
    let (south, north) = (to_degrees.apply(x, y - step)?, to_degrees.apply(x, y + step)?);
    let turn = |degrees: f64| degrees - 360.0 * (degrees / 360.0).round();
    let per_unit = |degrees: f64| degrees.to_radians() / (2.0 * step);
    let (lon_x, lat_x) = (per_unit(turn(east.0 - west.0)), per_unit(east.1 - west.1));
    let (lon_y, lat_y) = (per_unit(turn(north.0 - south.0)), per_unit(north.1 - south.1));
    let e2 = WGS84_F * (2.0 - WGS84_F);
    let sin = libm::sin(lat.to_radians());
    let bend = 1.0 - e2 * sin * sin;
    let prime_vertical = WGS84_A / bend.sqrt();
    let meridian = WGS84_A * (1.0 - e2) / (bend * bend.sqrt());
    let area = (lon_x * lat_y - lon_y * lat_x).abs() * prime_vertical * libm::cos(lat.to_radians()) * meridian;
    (area.is_finite() && area > 0.0).then_some(area)
}

#[cfg(test)]
mod pyproj_points;

#[cfg(test)]
mod tests {
    use super::pyproj_points::{KOREA, PYPROJ};
    use super::*;

    fn apply(from: &str, to: &str, x: f64, y: f64) -> (f64, f64) {
        Transformer::new(&Crs::parse(from).unwrap(), &Crs::parse(to).unwrap()).unwrap().apply(x, y).unwrap()
    }

    #[test]
    fn points_agree_with_pyproj_to_a_tenth_of_a_millimetre() {
        for (crs, lon, lat, x, y) in PYPROJ {
            let (got_x, got_y) = apply(WGS84, crs, lon, lat);
            assert!((got_x - x).abs() < 1e-4 && (got_y - y).abs() < 1e-4, "{crs}: ({got_x}, {got_y}) for ({x}, {y})");
            let (back_lon, back_lat) = apply(crs, WGS84, x, y);
            assert!(
                (back_lon - lon).abs() < 1e-9 && (back_lat - lat).abs() < 1e-9,
                "{crs}: back ({back_lon}, {back_lat})"
            );
        }
    }

    #[test]
    fn old_korean_belts_land_where_pyproj_puts_them_and_not_383_m_away() {
        for (crs, x, y) in KOREA {
            let (got_x, got_y) = apply(WGS84, crs, 126.97, 37.56);
            let off = (got_x - x).hypot(got_y - y);
            // PROJ takes EPSG's rounding of the same transformation; the two differ by 5 cm.
            assert!(off < 0.06, "{crs}: {off} m off");
        }
    }

    #[test]
    fn a_datum_without_a_relation_to_wgs84_is_refused_and_works_within_itself() {
        let bessel = Crs::parse("+proj=tmerc +lat_0=38 +lon_0=127 +ellps=bessel").unwrap();
        let error = Transformer::new(&bessel, &Crs::parse(WGS84).unwrap()).unwrap_err().to_string();
        assert!(error.contains("+towgs84"), "{error}");
        let nad27 = Crs::parse("EPSG:26711").unwrap();
        let error = Transformer::new(&nad27, &Crs::parse(WGS84).unwrap()).unwrap_err().to_string();
        assert!(error.contains("NAD27"), "{error}");
        let geographic = Crs::parse("+proj=longlat +ellps=bessel").unwrap();
        assert!(Transformer::new(&geographic, &bessel).unwrap().apply(127.0, 38.0).unwrap().0.abs() < 1e-6);
    }

    #[test]
    fn spellings_of_one_crs_are_equal() {
        let utm = Crs::parse("EPSG:32652").unwrap();
        for text in [
            "epsg:32652",
            "urn:ogc:def:crs:EPSG::32652",
            "http://www.opengis.net/def/crs/EPSG/0/32652",
            "+proj=utm +datum=WGS84 +zone=52 +type=crs",
        ] {
            assert_eq!(Crs::parse(text).unwrap(), utm, "{text}");
        }
        assert_ne!(Crs::parse("EPSG:32651").unwrap(), utm);
        assert_eq!(Crs::parse("OGC:CRS84").unwrap(), Crs::parse(WGS84).unwrap());
        assert!(Crs::parse(WGS84).unwrap().is_geographic() && !utm.is_geographic());
    }

    #[test]
    fn what_is_no_crs_is_refused_by_name() {
        for text in ["EPSG:1", "EPSG:99999999", "Seoul", "+proj=nonsense", "", "+proj=geocent +datum=WGS84", "+proj"] {
            let error = Crs::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn zones_and_centres_are_those_of_the_map() {
        assert_eq!(utm_for(129.6, 41.6), "EPSG:32652");
        assert_eq!(utm_for(125.99, -1.0), "EPSG:32751");
        assert_eq!(utm_for(126.0, 0.0), "EPSG:32652");
        assert_eq!(utm_for(180.0, 10.0), "EPSG:32601");
        assert_eq!(utm_for(-180.0, 10.0), "EPSG:32601");
        assert_eq!(
            laea(127.4499, -0.01),
            "+proj=laea +lat_0=0 +lon_0=127.4 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"
        );
    }

    #[test]
    fn utm_area_scale_is_the_square_of_the_known_scale_factor() {
        let utm = Crs::parse("EPSG:32652").unwrap();
        // On the central meridian the scale factor is 0.9996 by definition.
        let centre = area_scale(&utm, 500_000.0, 4_600_000.0).unwrap();
        assert!((centre - 1.0 / (0.9996 * 0.9996)).abs() < 1e-8, "{centre}");
        // About 180 km to the side it is 1 (the standard lines of UTM).
        let side = area_scale(&utm, 500_000.0 + 180_400.0, 4_600_000.0).unwrap();
        assert!((side - 1.0).abs() < 2e-5, "{side}");
        // An equal-area CRS is 1 everywhere; Web Mercator's factor at latitude φ is about sec²φ.
        let laea = Crs::parse(&laea(127.0, 40.0)).unwrap();
        assert!(laea.is_equal_area() && !utm.is_equal_area());
        assert!((area_scale(&laea, 300_000.0, -200_000.0).unwrap() - 1.0).abs() < 1e-8);
        let mercator = Crs::parse("EPSG:3857").unwrap();
        let (x, y) = apply(WGS84, "EPSG:3857", 10.0, 60.0);
        let scale = area_scale(&mercator, x, y).unwrap();
        assert!((scale - 0.25).abs() < 0.002, "{scale}");
    }

    #[test]
    fn points_that_no_projection_reaches_are_none() {
        let utm = Transformer::new(&Crs::parse(WGS84).unwrap(), &Crs::parse("EPSG:32652").unwrap()).unwrap();
        assert_eq!(utm.apply(f64::NAN, 3.0), None);
        assert_eq!(utm.apply(129.0, 95.0), None);
    }
}
