//! From the survey's grid to valid polygons in longitude and latitude, and back.

use geo::{BooleanOps, BoundingRect, Coord, LineString, MapCoords, MultiPolygon, Orient, Polygon, Rect};
use imagery::crs::{Crs, Transformer};
use survey::grid::Grid;

use crate::error::ReportError;

/// Decimals of a degree in results: about a centimetre.
pub const DEGREE_DECIMALS: u32 = 7;

/// The survey's grid on the globe (OGC:CRS84: longitude, latitude).
pub struct Ground {
    to_globe: Transformer,
    from_globe: Transformer,
}

impl Ground {
    /// The ground under a grid.
    ///
    /// # Errors
    /// A CRS that can't be brought to longitude and latitude.
    pub fn new(grid: &Grid) -> Result<Self, ReportError> {
        let refuse =
            |cause: imagery::ImageryError| ReportError::Crs { crs: grid.crs.clone(), cause: cause.to_string() };
        let crs = Crs::parse(&grid.crs).map_err(refuse)?;
        let globe = Crs::parse("EPSG:4326").map_err(refuse)?;
        Ok(Self {
            to_globe: Transformer::new(&crs, &globe).map_err(refuse)?,
            from_globe: Transformer::new(&globe, &crs).map_err(refuse)?,
        })
    }

    /// Metres of the grid's CRS of a longitude and latitude.
    #[must_use]
    pub fn project(&self, lon: f64, lat: f64) -> Option<Coord<f64>> {
        let (x, y) = self.from_globe.apply(lon, lat)?;
        (x.is_finite() && y.is_finite()).then_some(Coord { x, y })
    }

    /// Longitude and latitude of metres of the grid's CRS.
    #[must_use]
    pub fn locate(&self, x: f64, y: f64) -> Option<Coord<f64>> {
        let (lon, lat) = self.to_globe.apply(x, y)?;
        (lon.is_finite() && lat.is_finite()).then_some(Coord { x: lon, y: lat })
    }

    /// A county's border as a result: valid, in longitude and latitude.
    ///
    /// Borders are read by the even-odd rule, so this overlay gives any set of rings the polygons that the survey
    /// counted pixels with.
    #[must_use]
    pub fn border(&self, border: &MultiPolygon<f64>) -> MultiPolygon<f64> {
        let on_the_globe = MultiPolygon(
            even_odd(border)
                .iter()
                .filter_map(|polygon| {
                    let ring = |ring: &LineString<f64>| -> LineString<f64> {
                        ring.coords().filter_map(|at| self.locate(at.x, at.y)).collect()
                    };
                    let exterior = ring(polygon.exterior());
                    (exterior.0.len() >= 4)
                        .then(|| Polygon::new(exterior, polygon.interiors().iter().map(ring).collect()))
                })
                .collect(),
        );
        finished(&on_the_globe)
    }
}

/// An outline that is in longitude and latitude already, made valid.
#[must_use]
pub fn outline(outline: &MultiPolygon<f64>) -> MultiPolygon<f64> {
    finished(&even_odd(&continuous(outline)))
}

/// The valid polygons that the even-odd rule makes of a set of rings.
fn even_odd(rings: &MultiPolygon<f64>) -> MultiPolygon<f64> {
    finite(rings).union(&MultiPolygon::<f64>(Vec::new()))
}

/// The rings without vertices that are not numbers.
#[must_use]
pub fn finite(rings: &MultiPolygon<f64>) -> MultiPolygon<f64> {
    let ring = |ring: &LineString<f64>| -> LineString<f64> {
        ring.coords().copied().filter(|at| at.x.is_finite() && at.y.is_finite()).collect()
    };
    let polygon =
        |polygon: &Polygon<f64>| Polygon::new(ring(polygon.exterior()), polygon.interiors().iter().map(ring).collect());
    MultiPolygon(rings.iter().map(polygon).collect())
}

/// Splits at the antimeridian (RFC 7946, 3.1.9), rounds, and turns exteriors counter-clockwise.
fn finished(polygons: &MultiPolygon<f64>) -> MultiPolygon<f64> {
    let split = split_at_antimeridian(continuous(polygons));
    let rounded = split.map_coords(|at| Coord { x: degrees(at.x), y: degrees(at.y) });
    let kept = rounded.into_iter().filter(|polygon| polygon.exterior().0.len() >= 4).collect();
    MultiPolygon(kept).orient(geo::orient::Direction::Default)
}

/// A degree, rounded.
#[must_use]
pub fn degrees(value: f64) -> f64 {
    round(value, DEGREE_DECIMALS)
}

/// Rounds half away from zero, to 9 decimals at most; never gives −0.
#[must_use]
pub fn round(value: f64, decimals: u32) -> f64 {
    const FACTORS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
    let Some(factor) = FACTORS.get(decimals as usize) else { return value };
    let rounded = (value * factor).round() / factor;
    if rounded == 0.0 { 0.0 } else { rounded }
}

/// Rings whose longitudes don't jump: a ring over the antimeridian goes on beyond ±180°.
fn continuous(polygons: &MultiPolygon<f64>) -> MultiPolygon<f64> {
    let follow = |ring: &LineString<f64>, start: f64| -> LineString<f64> {
        let mut last = start;
        ring.coords()
            .map(|at| {
                let turns = ((last - at.x) / 360.0).round();
                last = at.x + 360.0 * turns;
                Coord { x: last, y: at.y }
            })
            .collect()
    };
    MultiPolygon(
        polygons
            .iter()
            .map(|polygon| {
                let start = polygon.exterior().0.first().map_or(0.0, |at| at.x);
                Polygon::new(
                    follow(polygon.exterior(), start),
                    polygon.interiors().iter().map(|ring| follow(ring, start)).collect(),
                )
            })
            .collect(),
    )
}

fn split_at_antimeridian(polygons: MultiPolygon<f64>) -> MultiPolygon<f64> {
    /// The overlay works on a lattice over both shapes; what it moves off the meridian by less than a lattice step is
    /// put back.
    const SNAP: f64 = 1e-6;
    let mut parts = Vec::with_capacity(polygons.0.len());
    for polygon in polygons {
        match polygon.bounding_rect() {
            Some(bounds) if bounds.min().x < -180.0 || bounds.max().x > 180.0 => {
                let (low, high) = (bounds.min().y - 1.0, bounds.max().y + 1.0);
                for turn in [-360.0, 0.0, 360.0] {
                    let west = (bounds.min().x - 1.0).max(turn - 180.0);
                    let east = (bounds.max().x + 1.0).min(turn + 180.0);
                    if west >= east {
                        continue;
                    }
                    let world = Rect::new(Coord { x: west, y: low }, Coord { x: east, y: high });
                    let part = polygon.intersection(&world.to_polygon());
                    parts.extend(part.map_coords(|at| {
                        let lon = at.x - turn;
                        Coord { x: if lon.abs() > 180.0 - SNAP { 180.0_f64.copysign(lon) } else { lon }, y: at.y }
                    }));
                }
            }
            _ => parts.push(polygon),
        }
    }
    MultiPolygon(parts)
}
