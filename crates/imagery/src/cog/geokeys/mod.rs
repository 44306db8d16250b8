//! GeoTIFF 1.1: the place of a raster on earth.

mod crs;
mod keys;
mod transform;

use survey::grid::GeoTransform;

use crate::cog::fault::Checked;
use keys::{GeoKeys, key};

/// The tags that GeoTIFF defines, as they are in the file.
#[derive(Debug, Default)]
pub(crate) struct GeoTags {
    pub(crate) pixel_scale: Option<Vec<f64>>,
    pub(crate) tiepoints: Option<Vec<f64>>,
    pub(crate) transformation: Option<Vec<f64>>,
    pub(crate) directory: Option<Vec<u64>>,
    pub(crate) doubles: Vec<f64>,
}

/// Where a raster lies.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Place {
    pub(crate) transform: Option<GeoTransform>,
    /// `EPSG:n` or a PROJ string.
    pub(crate) crs: Option<String>,
    /// Why there is no CRS although the file says something of one.
    pub(crate) crs_problem: Option<String>,
}

/// Transform and CRS of a raster.
pub(crate) fn place(tags: &GeoTags) -> Checked<Place> {
    let keys = GeoKeys::parse(tags)?;
    let points = keys.short(key::RASTER_TYPE)? == Some(2);
    let transform = transform::of(tags, points)?;
    if transform.is_none() && tags.tiepoints.as_ref().is_some_and(|tiepoints| tiepoints.len() >= 6) {
        let problem = "the file lies on ground control points only; warp it to a grid first (`gdalwarp`)";
        return Ok(Place { crs_problem: Some(problem.to_owned()), ..Place::default() });
    }
    match crs::of(&keys)? {
        Ok(crs) => Ok(Place { transform, crs, crs_problem: None }),
        Err(problem) => Ok(Place { transform, crs: None, crs_problem: Some(problem) }),
    }
}
