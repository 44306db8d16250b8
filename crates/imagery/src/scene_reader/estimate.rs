//! Memory that a read needs, before anything is read.

use survey::grid::Grid;
use survey::scene::{Asset, BandName, Scene};

use super::ASSETS_AT_ONCE;
use crate::warp::geometry::{Geometry, Sampling};

/// Bytes of a value.
const VALUE: u64 = 4;

/// Source pixels beyond a rectangle that its kernels reach, on both sides together.
const REACH: f64 = 16.0;

/// What reading bands of a scene takes, as far as the plan knows: no file is opened. Blocks in flight are not counted
/// here: they come out of the reader's own budget.
#[derive(Clone, Debug)]
pub struct ReadCost {
    bands: u64,
    assets: Vec<AssetCost>,
}

/// A file as it is read for the grid.
#[derive(Clone, Debug)]
struct AssetCost {
    /// Rows of source pixels per row and per column of the grid, and the same of columns.
    per_pixel: [[f64; 2]; 2],
    /// Source pixels that there are: columns and rows.
    size: [f64; 2],
    /// Bytes of a source pixel.
    bytes: f64,
}

impl ReadCost {
    /// The cost of reading `bands` of `scene` on `grid`.
    #[must_use]
    pub fn new(grid: &Grid, scene: &Scene, bands: &[BandName]) -> Self {
        let assets = scene
            .assets
            .iter()
            .enumerate()
            .filter_map(|(index, asset)| {
                let of_asset = |name: &&BandName| scene.band(name).is_some_and(|band| usize::from(band.asset) == index);
                let count = bands.iter().filter(of_asset).count();
                (count > 0).then(|| AssetCost::new(grid, asset, count as f64, scene.masks.len() as f64)).flatten()
            })
            .collect();
        Self { bands: bands.len() as u64, assets }
    }

    /// The cost of reading nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self { bands: 0, assets: Vec::new() }
    }

    /// Bytes of the outcome over `rows` × `cols` pixels of the grid: 4 a band, and one for the state. A window that
    /// holds its blocks instead of values may take up to twice that, as long as the cache does not hold them as well.
    #[must_use]
    pub fn kept_bytes(&self, rows: u64, cols: u64) -> u64 {
        rows.saturating_mul(cols).saturating_mul(VALUE * self.bands + 1)
    }

    /// The largest number of bytes that the read holds at a time, the outcome included: beside it the source pixels of
    /// the files that are read at the same time (fewer than 2 × 2 a pixel of the grid: beyond that an overview or
    /// averaged pixels are taken), and a state plane of each.
    #[must_use]
    pub fn peak_bytes(&self, rows: u64, cols: u64) -> u64 {
        let mut sources: Vec<u64> = self.assets.iter().map(|asset| asset.source_bytes(rows, cols)).collect();
        sources.sort_unstable_by_key(|&bytes| std::cmp::Reverse(bytes));
        let at_once = sources.iter().take(ASSETS_AT_ONCE);
        let states = rows.saturating_mul(cols).saturating_mul(at_once.len() as u64);
        self.kept_bytes(rows, cols).saturating_add(states).saturating_add(at_once.fold(0, |a, &b| a.saturating_add(b)))
    }
}

impl AssetCost {
    /// `None` where the file has no place on the grid: nothing is read of it.
    fn new(grid: &Grid, asset: &Asset, bands: f64, masks: f64) -> Option<Self> {
        let geometry = Geometry::new(grid, &asset.crs, asset.transform, asset.width, asset.height).ok()?;
        let (jacobian, scale) = (geometry.jacobian()?, geometry.scale()?);
        let sampling = Sampling::choose(scale, &[(asset.width, asset.height)]);
        let averaged = sampling.average != [1, 1];
        let value = VALUE as f64;
        let per_working = if averaged { bands * (8.0 + value) + 9.0 } else { bands * value + 1.0 };
        // A mask is looked up per pixel of the level, before averaging.
        let level_pixels = f64::from(sampling.average[0]) * f64::from(sampling.average[1]);
        let over = |[by_row, by_col]: [f64; 2], ratio: f64| [by_row.abs() / ratio, by_col.abs() / ratio];
        Some(Self {
            per_pixel: [over(jacobian[0], sampling.ratio[0]), over(jacobian[1], sampling.ratio[1])],
            size: [f64::from(asset.width) / sampling.ratio[0], f64::from(asset.height) / sampling.ratio[1]],
            bytes: per_working + level_pixels * masks,
        })
    }

    fn source_bytes(&self, rows: u64, cols: u64) -> u64 {
        let side = |[by_row, by_col]: [f64; 2], size: f64| {
            (by_row * rows as f64 + by_col * cols as f64 + REACH).min(size + 1.0)
        };
        (side(self.per_pixel[0], self.size[0]) * side(self.per_pixel[1], self.size[1]) * self.bytes) as u64
    }
}
