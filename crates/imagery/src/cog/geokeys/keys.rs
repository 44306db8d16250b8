//! The GeoKey directory (GeoTIFF 1.1, section 7).

use std::collections::BTreeMap;

use crate::cog::fault::{Checked, Fault};
use crate::cog::geokeys::GeoTags;

/// Keys that are read.
pub(super) mod key {
    pub(crate) const MODEL_TYPE: u16 = 1024;
    pub(crate) const RASTER_TYPE: u16 = 1025;
    pub(crate) const GEODETIC_CRS: u16 = 2048;
    pub(crate) const GEODETIC_DATUM: u16 = 2050;
    pub(crate) const PRIME_MERIDIAN: u16 = 2051;
    pub(crate) const ANGULAR_UNITS: u16 = 2054;
    pub(crate) const ELLIPSOID: u16 = 2056;
    pub(crate) const SEMI_MAJOR: u16 = 2057;
    pub(crate) const SEMI_MINOR: u16 = 2058;
    pub(crate) const INVERSE_FLATTENING: u16 = 2059;
    pub(crate) const PRIME_MERIDIAN_LONGITUDE: u16 = 2061;
    pub(crate) const PROJECTED_CRS: u16 = 3072;
    pub(crate) const PROJECTION: u16 = 3074;
    pub(crate) const METHOD: u16 = 3075;
    pub(crate) const LINEAR_UNITS: u16 = 3076;
    pub(crate) const LINEAR_UNIT_SIZE: u16 = 3077;
    pub(crate) const STANDARD_PARALLEL_1: u16 = 3078;
    pub(crate) const STANDARD_PARALLEL_2: u16 = 3079;
    pub(crate) const NATURAL_ORIGIN_LONGITUDE: u16 = 3080;
    pub(crate) const NATURAL_ORIGIN_LATITUDE: u16 = 3081;
    pub(crate) const FALSE_EASTING: u16 = 3082;
    pub(crate) const FALSE_NORTHING: u16 = 3083;
    pub(crate) const FALSE_ORIGIN_LONGITUDE: u16 = 3084;
    pub(crate) const FALSE_ORIGIN_LATITUDE: u16 = 3085;
    pub(crate) const FALSE_ORIGIN_EASTING: u16 = 3086;
    pub(crate) const FALSE_ORIGIN_NORTHING: u16 = 3087;
    pub(crate) const CENTRE_LONGITUDE: u16 = 3088;
    pub(crate) const CENTRE_LATITUDE: u16 = 3089;
    pub(crate) const SCALE_AT_NATURAL_ORIGIN: u16 = 3092;
    pub(crate) const STRAIGHT_VERTICAL_POLE_LONGITUDE: u16 = 3095;
}

/// "User-defined" as a value of a key.
pub(super) const USER_DEFINED: u16 = 32767;

/// Where the values of a key lie.
const GEO_DOUBLE_PARAMS: u64 = 34736;
const GEO_ASCII_PARAMS: u64 = 34737;

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Short(u16),
    Doubles(Vec<f64>),
    Text,
}

/// All keys of a file.
#[derive(Debug, Default)]
pub(super) struct GeoKeys(BTreeMap<u16, Value>);

impl GeoKeys {
    pub(super) fn parse(tags: &GeoTags) -> Checked<Self> {
        let Some(directory) = &tags.directory else { return Ok(Self::default()) };
        let broken = |cause: String| Fault::corrupt(format!("GeoKeyDirectory: {cause}"));
        let (header, entries) = directory
            .split_first_chunk::<4>()
            .ok_or_else(|| broken(format!("{} numbers are too few for a header", directory.len())))?;
        let [version, _, _, count] = *header;
        if version != 1 {
            return Err(broken(format!("version {version} is not known")));
        }
        let held = (entries.len() / 4) as u64;
        if count > held {
            return Err(broken(format!("{count} keys are announced, {held} are there")));
        }
        let mut keys = BTreeMap::new();
        for entry in entries.chunks_exact(4).take(usize::try_from(count).unwrap_or(usize::MAX)) {
            let &[id, location, values, value] = entry else { continue };
            let Ok(id) = u16::try_from(id) else { continue };
            let found = match location {
                0 => Value::Short(u16::try_from(value).map_err(|_| broken(format!("key {id} is not a SHORT")))?),
                GEO_DOUBLE_PARAMS => {
                    let range = usize::try_from(value).ok().zip(usize::try_from(values).ok());
                    let numbers = range
                        .and_then(|(from, count)| tags.doubles.get(from..from.checked_add(count)?))
                        .ok_or_else(|| broken(format!("key {id} refers to numbers that are not there")))?;
                    Value::Doubles(numbers.to_vec())
                }
                GEO_ASCII_PARAMS => Value::Text,
                _ => continue,
            };
            keys.insert(id, found);
        }
        Ok(Self(keys))
    }

    /// A key that holds a code.
    pub(super) fn short(&self, key: u16) -> Checked<Option<u16>> {
        match self.0.get(&key) {
            None => Ok(None),
            Some(Value::Short(code)) => Ok(Some(*code)),
            Some(_) => Err(Fault::corrupt(format!("GeoKeyDirectory: key {key} is not a code"))),
        }
    }

    /// A key that holds a number.
    pub(super) fn double(&self, key: u16) -> Checked<Option<f64>> {
        let wrong = || Fault::corrupt(format!("GeoKeyDirectory: key {key} is not a number"));
        match self.0.get(&key) {
            None => Ok(None),
            Some(Value::Doubles(numbers)) => {
                numbers.first().copied().filter(|number| number.is_finite()).map(Some).ok_or_else(wrong)
            }
            Some(_) => Err(wrong()),
        }
    }

    /// The first of several keys that is there: files disagree on which key a parameter belongs to.
    pub(super) fn first_double(&self, keys: &[u16]) -> Checked<Option<f64>> {
        for &key in keys {
            if let Some(number) = self.double(key)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}
