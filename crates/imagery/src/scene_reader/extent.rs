//! Where a scene lies on the grid, as far as the plan knows.

use survey::grid::{Grid, MAX_INDEX, PixelRect};
use survey::scene::{Asset, BandName, Scene};

use crate::error::ImageryError;
use crate::warp::geometry::Geometry;

/// Places along each side of a raster that are looked at.
const STEPS: u32 = 32;

/// Pixels that a curved side may reach beyond the places looked at.
const SLACK_PX: i32 = 2;

/// The smallest rectangle of the grid that holds every pixel with values in all of `bands`: the common part of the
/// bands' rasters. `None` where they have none, or no place on the grid. No file is opened.
///
/// # Errors
/// [`ImageryError::Crs`] for a CRS that is unknown.
pub fn scene_rect(grid: &Grid, scene: &Scene, bands: &[BandName]) -> Result<Option<PixelRect>, ImageryError> {
    let mut assets: Vec<u16> = bands.iter().filter_map(|name| scene.band(name)).map(|band| band.asset).collect();
    assets.sort_unstable();
    assets.dedup();
    let mut common: Option<PixelRect> = None;
    for index in assets {
        let Some(asset) = scene.assets.get(usize::from(index)) else { return Ok(None) };
        let Some(rect) = asset_rect(grid, asset)? else { return Ok(None) };
        common = match common {
            None => Some(rect),
            Some(other) => match other.intersection(&rect) {
                Some(both) => Some(both),
                None => return Ok(None),
            },
        };
    }
    Ok(common)
}

/// The pixel (row, column) of the grid that begins where the first pixel of the first of `bands` does, as far as the plan knows:
/// there the blocks of its file begin. `None` where it has no place on the grid.
///
/// # Errors
/// [`ImageryError::Crs`] for a CRS that is unknown.
pub fn scene_corner(grid: &Grid, scene: &Scene, bands: &[BandName]) -> Result<Option<[i32; 2]>, ImageryError> {
    let band = bands.first().and_then(|name| scene.band(name));
    let Some(asset) = band.and_then(|band| scene.assets.get(usize::from(band.asset))) else { return Ok(None) };
    let geometry = Geometry::new(grid, &asset.crs, asset.transform, asset.width, asset.height)?;
    Ok(geometry.place(0.0, 0.0).map(|(row, col)| [whole(row.round()), whole(col.round())]))
}

fn asset_rect(grid: &Grid, asset: &Asset) -> Result<Option<PixelRect>, ImageryError> {
    let geometry = Geometry::new(grid, &asset.crs, asset.transform, asset.width, asset.height)?;
    let (width, height) = (f64::from(asset.width), f64::from(asset.height));
    let sides = (0..=STEPS).map(|step| f64::from(step) / f64::from(STEPS)).flat_map(|share| {
        [(share * width, 0.0), (share * width, height), (0.0, share * height), (width, share * height)]
    });
    let bounds = sides.filter_map(|(x, y)| geometry.place(x, y)).fold(None, |bounds, (row, col)| {
        let (low, high) = bounds.unwrap_or(((row, col), (row, col)));
        Some(((low.0.min(row), low.1.min(col)), (high.0.max(row), high.1.max(col))))
    });
    Ok(bounds.map(|(low, high)| {
        PixelRect::new(whole(low.0.floor()), whole(low.1.floor()), whole(high.0.ceil()), whole(high.1.ceil()))
            .grown(SLACK_PX)
    }))
}

fn whole(value: f64) -> i32 {
    value.clamp(-f64::from(MAX_INDEX), f64::from(MAX_INDEX)) as i32
}
