//! Memory that a read needs, before anything is read.

use survey::grid::{Grid, PixelRect};
use survey::scene::{Asset, BandName, Scene};

use super::ASSETS_AT_ONCE;
use super::asset_read::BATCH_BYTES;
use crate::warp::geometry::{Geometry, Sampling};

/// Bytes of a value.
const VALUE: u64 = 4;

/// Source pixels beyond a rectangle that its kernels reach, on both sides together.
const REACH: f64 = 16.0;

/// The largest number of bytes that reading `bands` of `scene` over `rect` of `grid` holds at a time, the outcome
/// included and the cache of decoded blocks not. A function of what the plan knows: no file is opened.
///
/// The outcome takes 4 bytes a band and pixel and one for the state; each of the files that are read at the same time
/// its source pixels (fewer than 2 × 2 a pixel of the grid: beyond that an overview or averaged pixels are taken) and
/// a batch of decoded blocks.
#[must_use]
pub fn estimate_bytes(grid: &Grid, scene: &Scene, bands: &[BandName], rect: PixelRect) -> u64 {
    let pixels = rect.pixels() as u64;
    let outcome = pixels.saturating_mul(VALUE * bands.len() as u64 + 1);
    let masks = scene.masks.len() as u64;
    let mut sources: Vec<u64> = scene
        .assets
        .iter()
        .enumerate()
        .filter_map(|(index, asset)| {
            let of_asset = |name: &&BandName| scene.band(name).is_some_and(|band| usize::from(band.asset) == index);
            let count = bands.iter().filter(of_asset).count() as u64;
            (count > 0).then(|| source_bytes(grid, asset, count, masks, rect))
        })
        .collect();
    sources.sort_unstable_by_key(|&bytes| std::cmp::Reverse(bytes));
    let at_once: u64 = sources.iter().take(ASSETS_AT_ONCE).fold(0, |sum, &bytes| sum.saturating_add(bytes));
    outcome.saturating_mul(2).saturating_add(at_once)
}

fn source_bytes(grid: &Grid, asset: &Asset, bands: u64, masks: u64, rect: PixelRect) -> u64 {
    let geometry = Geometry::new(grid, &asset.crs, asset.transform, asset.width, asset.height).ok();
    let placed = geometry.as_ref().and_then(|geometry| Some((geometry.jacobian()?, geometry.scale()?)));
    let sample = u64::from(asset.bits_per_sample.div_ceil(8)) * u64::from(asset.band_count.max(1));
    let whole = u64::from(asset.width).saturating_mul(u64::from(asset.height)).saturating_mul(sample);
    let batch = BATCH_BYTES.min(whole);
    // Without a place on the grid nothing is read.
    let Some((jacobian, scale)) = placed else { return 0 };
    let sampling = Sampling::choose(scale, &[(asset.width, asset.height)]);
    let side = |[by_row, by_col]: [f64; 2], ratio: f64, size: u32| {
        let across = by_row.abs() * rect.rows() as f64 + by_col.abs() * rect.cols() as f64;
        (across / ratio + REACH).min(f64::from(size) / ratio + 1.0)
    };
    let working =
        side(jacobian[0], sampling.ratio[0], asset.width) * side(jacobian[1], sampling.ratio[1], asset.height);
    let averaged = sampling.average != [1, 1];
    let per_pixel = if averaged { bands * (8 + VALUE) + 9 } else { bands * VALUE + 1 };
    // A mask is looked up per pixel of the level, before averaging.
    let level_pixels = working * f64::from(sampling.average[0]) * f64::from(sampling.average[1]);
    (working * per_pixel as f64 + level_pixels * masks as f64) as u64 + batch.saturating_mul(1 + masks.min(1))
}
