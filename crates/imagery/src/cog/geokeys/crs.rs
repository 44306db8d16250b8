//! The CRS: an EPSG code, or a PROJ string for a CRS that the file spells out.

use std::fmt::Write as _;

use crate::cog::fault::Checked;
use crate::cog::geokeys::keys::{GeoKeys, USER_DEFINED, key};

/// A CRS, no CRS, or why the one that the file describes cannot be named.
type Named = Result<Option<String>, String>;

/// Names the CRS that the keys describe.
pub(super) fn of(keys: &GeoKeys) -> Checked<Named> {
    let projected = keys.short(key::PROJECTED_CRS)?;
    let geodetic = keys.short(key::GEODETIC_CRS)?;
    let has_method = keys.short(key::METHOD)?.is_some() || keys.short(key::PROJECTION)?.is_some();
    let model = match keys.short(key::MODEL_TYPE)? {
        Some(model) => model,
        None if projected.is_some() || has_method => 1,
        None if geodetic.is_some() => 2,
        None => return Ok(Ok(None)),
    };
    match (model, projected, geodetic) {
        (1, Some(code), _) if is_epsg(code) => Ok(Ok(Some(format!("EPSG:{code}")))),
        (1, _, _) => projected_by_parameters(keys),
        (2, _, Some(code)) if is_epsg(code) => Ok(Ok(Some(format!("EPSG:{code}")))),
        (2, _, _) => Ok(base(keys)?.map(|base| Some(format!("+proj=longlat {base} +no_defs")))),
        (3, _, _) => Ok(Err("its CRS is geocentric; warp it to a map projection first (`gdalwarp`)".to_owned())),
        _ => Ok(Err(format!("its model type {model} is neither projected nor geographic"))),
    }
}

/// Codes that the GeoTIFF specification leaves to the EPSG register.
fn is_epsg(code: u16) -> bool {
    (1024..USER_DEFINED).contains(&code)
}

/// A PROJ string for a projection that is given by its method and parameters.
fn projected_by_parameters(keys: &GeoKeys) -> Checked<Named> {
    let base = match base(keys)? {
        Ok(base) => base,
        Err(problem) => return Ok(Err(problem)),
    };
    let projection = match keys.short(key::PROJECTION)? {
        // EPSG operation codes 16001 to 16060 and 16101 to 16160: UTM north and south.
        Some(code @ 16001..=16060) => format!("+proj=utm +zone={}", code - 16000),
        Some(code @ 16101..=16160) => format!("+proj=utm +zone={} +south", code - 16100),
        Some(code) if code != USER_DEFINED => {
            return Ok(Err(format!("its projection EPSG:{code} on a CRS of its own is not supported")));
        }
        _ => match method(keys)? {
            Ok(projection) => projection,
            Err(problem) => return Ok(Err(problem)),
        },
    };
    let units = match (keys.short(key::LINEAR_UNITS)?, keys.double(key::LINEAR_UNIT_SIZE)?) {
        (None | Some(9001), _) => "+units=m".to_owned(),
        (Some(9002), _) => "+units=ft".to_owned(),
        (Some(9003), _) => "+units=us-ft".to_owned(),
        (Some(9036), _) => "+units=km".to_owned(),
        (Some(USER_DEFINED), Some(size)) if size > 0.0 => format!("+to_meter={size}"),
        (Some(code), _) => return Ok(Err(format!("its unit of length EPSG:{code} is not supported"))),
    };
    Ok(Ok(Some(format!("{projection} {base} {units} +no_defs"))))
}

/// The map projection, from GeoTIFF's method codes and parameters.
fn method(keys: &GeoKeys) -> Checked<Part> {
    use key::{
        CENTRE_LATITUDE, CENTRE_LONGITUDE, FALSE_EASTING, FALSE_NORTHING, FALSE_ORIGIN_EASTING, FALSE_ORIGIN_LATITUDE,
        FALSE_ORIGIN_LONGITUDE, FALSE_ORIGIN_NORTHING, NATURAL_ORIGIN_LATITUDE, NATURAL_ORIGIN_LONGITUDE,
        SCALE_AT_NATURAL_ORIGIN, STANDARD_PARALLEL_1, STANDARD_PARALLEL_2, STRAIGHT_VERTICAL_POLE_LONGITUDE,
    };
    if let Some(unit) = keys.short(key::ANGULAR_UNITS)?.filter(|&unit| unit != 9102) {
        return Ok(Err(format!("its unit of angle EPSG:{unit} is not supported")));
    }
    let number =
        |candidates: &[u16], default: f64| -> Checked<f64> { Ok(keys.first_double(candidates)?.unwrap_or(default)) };
    let longitude = number(
        &[NATURAL_ORIGIN_LONGITUDE, FALSE_ORIGIN_LONGITUDE, CENTRE_LONGITUDE, STRAIGHT_VERTICAL_POLE_LONGITUDE],
        0.0,
    )?;
    let latitude = number(&[NATURAL_ORIGIN_LATITUDE, FALSE_ORIGIN_LATITUDE, CENTRE_LATITUDE], 0.0)?;
    let east = number(&[FALSE_EASTING, FALSE_ORIGIN_EASTING], 0.0)?;
    let north = number(&[FALSE_NORTHING, FALSE_ORIGIN_NORTHING], 0.0)?;
    let scale = number(&[SCALE_AT_NATURAL_ORIGIN], 1.0)?;
    let first_parallel = keys.double(STANDARD_PARALLEL_1)?;
    let second_parallel = keys.double(STANDARD_PARALLEL_2)?;

    let mut text = match (keys.short(key::METHOD)?, first_parallel, second_parallel) {
        (Some(1), ..) => format!("+proj=tmerc +lat_0={latitude} +lon_0={longitude} +k={scale}"),
        (Some(7), Some(parallel), _) => format!("+proj=merc +lat_ts={parallel} +lon_0={longitude}"),
        (Some(7), ..) => format!("+proj=merc +lon_0={longitude} +k={scale}"),
        (Some(8), Some(first), Some(second)) => {
            format!("+proj=lcc +lat_0={latitude} +lon_0={longitude} +lat_1={first} +lat_2={second}")
        }
        (Some(9), ..) => format!("+proj=lcc +lat_1={latitude} +lat_0={latitude} +lon_0={longitude} +k_0={scale}"),
        (Some(10), ..) => format!("+proj=laea +lat_0={latitude} +lon_0={longitude}"),
        (Some(11), Some(first), Some(second)) => {
            format!("+proj=aea +lat_0={latitude} +lon_0={longitude} +lat_1={first} +lat_2={second}")
        }
        (Some(12), ..) => format!("+proj=aeqd +lat_0={latitude} +lon_0={longitude}"),
        (Some(15), ..) => {
            // GDAL writes the latitude of true scale as the natural origin.
            let pole = if latitude < 0.0 { -90 } else { 90 };
            format!("+proj=stere +lat_0={pole} +lat_ts={latitude} +lon_0={longitude} +k={scale}")
        }
        (Some(24), ..) => format!("+proj=sinu +lon_0={longitude}"),
        (Some(28), Some(parallel), _) => format!("+proj=cea +lat_ts={parallel} +lon_0={longitude}"),
        (Some(code), ..) => {
            return Ok(Err(format!(
                "its projection (GeoTIFF method {code}) is not supported; warp it to an EPSG CRS first (`gdalwarp`)"
            )));
        }
        (None, ..) => return Ok(Err("its CRS is user-defined and has no parameters".to_owned())),
    };
    // Writing to a string cannot fail.
    let _ = write!(text, " +x_0={east} +y_0={north}");
    Ok(Ok(text))
}

/// A part of a PROJ string, or why there is none.
type Part = Result<String, String>;

/// Datum, ellipsoid and prime meridian.
fn base(keys: &GeoKeys) -> Checked<Part> {
    if let Some(code) = keys.short(key::GEODETIC_CRS)?.filter(|&code| is_epsg(code)) {
        let known = crs_definitions::from_code(code).and_then(|known| {
            let rest = known.proj4.trim().strip_prefix("+proj=longlat")?;
            Some(rest.replace("+no_defs", "").replace("+type=crs", "").trim().to_owned())
        });
        return Ok(known.ok_or_else(|| format!("its geographic CRS EPSG:{code} is not known")));
    }
    let meridian = match (keys.short(key::PRIME_MERIDIAN)?, keys.double(key::PRIME_MERIDIAN_LONGITUDE)?) {
        (None | Some(8901), None) | (_, Some(0.0)) => String::new(),
        (_, Some(longitude)) => format!(" +pm={longitude}"),
        (Some(code), None) => return Ok(Err(format!("its prime meridian EPSG:{code} is not supported"))),
    };
    let datum = match keys.short(key::GEODETIC_DATUM)? {
        Some(6326) => Some("+datum=WGS84"),
        Some(6269) => Some("+datum=NAD83"),
        _ => None,
    };
    if let Some(datum) = datum {
        return Ok(Ok(format!("{datum}{meridian}")));
    }
    let (major, minor, inverse) = (
        keys.double(key::SEMI_MAJOR)?,
        keys.double(key::SEMI_MINOR)?,
        keys.double(key::INVERSE_FLATTENING)?.filter(|&inverse| inverse != 0.0),
    );
    let ellipsoid = match keys.short(key::ELLIPSOID)? {
        Some(7030) => "+ellps=WGS84".to_owned(),
        Some(7019) => "+ellps=GRS80".to_owned(),
        Some(7004) => "+ellps=bessel".to_owned(),
        Some(7008) => "+ellps=clrk66".to_owned(),
        Some(7022) => "+ellps=intl".to_owned(),
        Some(7024) => "+ellps=krass".to_owned(),
        Some(7043) => "+ellps=WGS72".to_owned(),
        other => match (major, minor, inverse) {
            (Some(major), _, Some(inverse)) => format!("+a={major} +rf={inverse}"),
            (Some(major), minor, None) => format!("+a={major} +b={}", minor.unwrap_or(major)),
            (None, ..) => {
                return Ok(Err(match other {
                    Some(code) => format!("its ellipsoid EPSG:{code} is not supported"),
                    None => "its CRS has no ellipsoid".to_owned(),
                }));
            }
        },
    };
    Ok(Ok(format!("{ellipsoid}{meridian}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cog::geokeys::GeoTags;

    fn keys(entries: &[[u64; 4]], doubles: &[f64]) -> GeoKeys {
        let mut directory = vec![1, 1, 0, entries.len() as u64];
        directory.extend(entries.iter().flatten());
        GeoKeys::parse(&GeoTags { directory: Some(directory), doubles: doubles.to_vec(), ..GeoTags::default() })
            .unwrap()
    }

    #[test]
    fn an_epsg_code_names_the_crs() {
        let utm = keys(&[[1024, 0, 1, 1], [3072, 0, 1, 32652]], &[]);
        assert_eq!(of(&utm).unwrap(), Ok(Some("EPSG:32652".to_owned())));
        let lonlat = keys(&[[1024, 0, 1, 2], [2048, 0, 1, 4326]], &[]);
        assert_eq!(of(&lonlat).unwrap(), Ok(Some("EPSG:4326".to_owned())));
        assert_eq!(of(&keys(&[], &[])).unwrap(), Ok(None));
    }

    #[test]
    fn a_projection_of_the_files_own_becomes_a_proj_string_or_a_reason() {
        // rio-tiler's cog_scale.tif: UTM 52N on an unnamed datum.
        let utm = [
            [1024, 0, 1, 1],
            [2048, 0, 1, 32767],
            [2050, 0, 1, 32767],
            [2056, 0, 1, 7030],
            [3072, 0, 1, 32767],
            [3074, 0, 1, 16052],
            [3076, 0, 1, 9001],
        ];
        let expected = "+proj=utm +zone=52 +ellps=WGS84 +units=m +no_defs".to_owned();
        assert_eq!(of(&keys(&utm, &[])).unwrap(), Ok(Some(expected)));
        let krovak = [[1024, 0, 1, 1], [2048, 0, 1, 4326], [3072, 0, 1, 32767], [3075, 0, 1, 9999]];
        assert!(of(&keys(&krovak, &[])).unwrap().unwrap_err().contains("9999"));
    }

    #[test]
    fn a_directory_that_refers_to_nothing_is_refused() {
        let directory = Some(vec![1, 1, 0, 1, 2057, 34736, 1, 5]);
        assert!(GeoKeys::parse(&GeoTags { directory, ..GeoTags::default() }).is_err());
        let directory = Some(vec![1, 1, 0, 60000, 2057, 0, 1, 5]);
        assert!(GeoKeys::parse(&GeoTags { directory, ..GeoTags::default() }).is_err());
    }
}
