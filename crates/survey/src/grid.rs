//! The one pixel grid of a survey.
//!
//! The grid is north-up with square pixels and is anchored at the origin of its CRS, not at the survey's extent: pixel
//! (row, col) covers `x ∈ [col·r, (col+1)·r)`, `y ∈ (−(row+1)·r, −row·r]` for the resolution `r`. So the same ground has
//! the same pixel indices in every survey of the same CRS and resolution, and rows grow southwards.

use serde::{Deserialize, Serialize};

/// Side of a cell in pixels: statistics are kept and scenes are chosen per cell, whatever the tile size.
pub const CELL_PX: i32 = 512;

/// The largest absolute row or column: keeps every product of two indices and every halo inside `i64` and `i32`.
pub const MAX_INDEX: i32 = 1 << 30;

/// The pixel grid of a survey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// The CRS: `EPSG:<code>` or a PROJ string (`+proj=laea …`). Always projected, in metres.
    pub crs: String,
    /// Side of a pixel, metres of the CRS.
    pub resolution_m: f64,
}

impl Grid {
    /// CRS coordinates of the centre of a pixel.
    #[must_use]
    pub fn centre(&self, row: i32, col: i32) -> (f64, f64) {
        ((f64::from(col) + 0.5) * self.resolution_m, -(f64::from(row) + 0.5) * self.resolution_m)
    }

    /// CRS coordinates of the upper-left corner of a pixel.
    #[must_use]
    pub fn corner(&self, row: i32, col: i32) -> (f64, f64) {
        (f64::from(col) * self.resolution_m, -f64::from(row) * self.resolution_m)
    }

    /// Fractional (row, col) of CRS coordinates, in the convention where pixel (0, 0) covers `[0, 1) × [0, 1)`.
    #[must_use]
    pub fn to_pixel(&self, x: f64, y: f64) -> (f64, f64) {
        (-y / self.resolution_m, x / self.resolution_m)
    }

    /// Nominal area of a pixel in the CRS, m².
    #[must_use]
    pub fn pixel_area_m2(&self) -> f64 {
        self.resolution_m * self.resolution_m
    }
}

/// A half-open rectangle of pixels: rows `row0..row1`, columns `col0..col1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PixelRect {
    /// First row (north).
    pub row0: i32,
    /// First column (west).
    pub col0: i32,
    /// One past the last row.
    pub row1: i32,
    /// One past the last column.
    pub col1: i32,
}

impl PixelRect {
    /// A rectangle from its corners; an inverted one is empty.
    #[must_use]
    pub fn new(row0: i32, col0: i32, row1: i32, col1: i32) -> Self {
        Self { row0, col0, row1: row1.max(row0), col1: col1.max(col0) }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        (self.row1 - self.row0).max(0) as usize
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        (self.col1 - self.col0).max(0) as usize
    }

    /// Number of pixels.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.rows() * self.cols()
    }

    /// Whether there is no pixel in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row1 <= self.row0 || self.col1 <= self.col0
    }

    /// Whether the pixel lies inside.
    #[must_use]
    pub fn contains(&self, row: i32, col: i32) -> bool {
        row >= self.row0 && row < self.row1 && col >= self.col0 && col < self.col1
    }

    /// The rectangle grown by `px` on all four sides.
    #[must_use]
    pub fn grown(&self, px: i32) -> Self {
        Self { row0: self.row0 - px, col0: self.col0 - px, row1: self.row1 + px, col1: self.col1 + px }
    }

    /// The same so many rows and columns on.
    #[must_use]
    pub fn moved(&self, rows: i32, cols: i32) -> Self {
        Self { row0: self.row0 + rows, col0: self.col0 + cols, row1: self.row1 + rows, col1: self.col1 + cols }
    }

    /// The common part, if there is any.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let common = Self {
            row0: self.row0.max(other.row0),
            col0: self.col0.max(other.col0),
            row1: self.row1.min(other.row1),
            col1: self.col1.min(other.col1),
        };
        (!common.is_empty()).then_some(common)
    }

    /// The smallest rectangle that holds both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self {
            row0: self.row0.min(other.row0),
            col0: self.col0.min(other.col0),
            row1: self.row1.max(other.row1),
            col1: self.col1.max(other.col1),
        }
    }

    /// The cells that the rectangle touches, in row-major order.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + use<> {
        let (rows, cols) = if self.is_empty() {
            (0..0, 0..0)
        } else {
            (
                self.row0.div_euclid(CELL_PX)..(self.row1 - 1).div_euclid(CELL_PX) + 1,
                self.col0.div_euclid(CELL_PX)..(self.col1 - 1).div_euclid(CELL_PX) + 1,
            )
        };
        rows.flat_map(move |row| cols.clone().map(move |col| Cell { row, col }))
    }
}

/// A cell of the grid: `CELL_PX × CELL_PX` pixels, row-major order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// Row of the cell (pixel row / 512, rounded down).
    pub row: i32,
    /// Column of the cell.
    pub col: i32,
}

impl Cell {
    /// The cell of a pixel.
    #[must_use]
    pub fn of(row: i32, col: i32) -> Self {
        Self { row: row.div_euclid(CELL_PX), col: col.div_euclid(CELL_PX) }
    }

    /// The pixels of the cell.
    #[must_use]
    pub fn rect(&self) -> PixelRect {
        PixelRect {
            row0: self.row * CELL_PX,
            col0: self.col * CELL_PX,
            row1: (self.row + 1) * CELL_PX,
            col1: (self.col + 1) * CELL_PX,
        }
    }

    /// A number that looks random and depends on the cell alone (SplitMix64's finaliser): decides which cells are
    /// sampled for calibration.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut z = (u64::from(self.row as u32) << 32 | u64::from(self.col as u32)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A tile: a block of level 0 of the merge lattice, `tile_px × tile_px` pixels anchored at the grid's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Block {
    /// 0 for a tile; a block of level `k + 1` holds 2 × 2 blocks of level `k`.
    pub level: u8,
    /// Row of the block in its level.
    pub y: i32,
    /// Column of the block in its level.
    pub x: i32,
}

impl Block {
    /// The block that holds the whole grid: the root of a survey on both sides of the grid's origin, whose blocks never
    /// meet by halving.
    pub const WHOLE: Self = Self { level: 32, y: 0, x: 0 };

    /// The tile that holds a pixel.
    #[must_use]
    pub fn tile_of(row: i32, col: i32, tile_px: i32) -> Self {
        Self { level: 0, y: row.div_euclid(tile_px), x: col.div_euclid(tile_px) }
    }

    /// The block one level up that holds this one.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self { level: self.level + 1, y: self.y.div_euclid(2), x: self.x.div_euclid(2) }
    }

    /// The blocks one level down that it holds, in order of rows and then columns. Those of [`Block::WHOLE`] lie around the grid's
    /// origin; of which level they are there is for the caller to know.
    #[must_use]
    pub fn children(&self) -> [Self; 4] {
        let (y, x) = if *self == Self::WHOLE { (-1, -1) } else { (2 * self.y, 2 * self.x) };
        let level = self.level.saturating_sub(1);
        [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)].map(|(y, x)| Self { level, y, x })
    }

    /// The pixels of the block. Saturates at `i32`'s range: a root may be larger than the ground.
    #[must_use]
    pub fn rect(&self, tile_px: i32) -> PixelRect {
        let side = i64::from(tile_px) << self.level.min(31);
        let clamp = |index: i64| index.clamp(i64::from(i32::MIN / 2), i64::from(i32::MAX / 2)) as i32;
        if self.level >= Self::WHOLE.level {
            return PixelRect {
                row0: clamp(i64::MIN),
                col0: clamp(i64::MIN),
                row1: clamp(i64::MAX),
                col1: clamp(i64::MAX),
            };
        }
        let (y, x) = (i64::from(self.y), i64::from(self.x));
        PixelRect {
            row0: clamp(y * side),
            col0: clamp(x * side),
            row1: clamp((y + 1) * side),
            col1: clamp((x + 1) * side),
        }
    }
}

/// The place of a pixel in the order that ids use: row-major over the whole grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PixelIndex {
    /// Row on the global grid.
    pub row: i32,
    /// Column on the global grid.
    pub col: i32,
}

/// The map from (col, row) of a raster's pixels to CRS coordinates, in GDAL's order and convention
/// (corner of the upper-left pixel): `x = x0 + col·x_per_col + row·x_per_row`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeoTransform {
    /// x of the upper-left corner.
    pub x0: f64,
    /// Change of x with the column.
    pub x_per_col: f64,
    /// Change of x with the row (0 where north is up).
    pub x_per_row: f64,
    /// y of the upper-left corner.
    pub y0: f64,
    /// Change of y with the column (0 where north is up).
    pub y_per_col: f64,
    /// Change of y with the row (negative where north is up).
    pub y_per_row: f64,
}

impl GeoTransform {
    /// CRS coordinates of a fractional (col, row).
    #[must_use]
    pub fn apply(&self, col: f64, row: f64) -> (f64, f64) {
        (self.x0 + col * self.x_per_col + row * self.x_per_row, self.y0 + col * self.y_per_col + row * self.y_per_row)
    }

    /// Fractional (col, row) of CRS coordinates; `None` where the transform cannot be inverted.
    #[must_use]
    pub fn invert(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let determinant = self.x_per_col * self.y_per_row - self.x_per_row * self.y_per_col;
        if !(determinant.is_finite() && determinant != 0.0) {
            return None;
        }
        let (dx, dy) = (x - self.x0, y - self.y0);
        Some((
            (dx * self.y_per_row - dy * self.x_per_row) / determinant,
            (dy * self.x_per_col - dx * self.y_per_col) / determinant,
        ))
    }

    /// Lengths of a pixel's two sides in CRS units.
    #[must_use]
    pub fn pixel_size(&self) -> (f64, f64) {
        (
            (self.x_per_col.powi(2) + self.y_per_col.powi(2)).sqrt(),
            (self.x_per_row.powi(2) + self.y_per_row.powi(2)).sqrt(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_south_east_of_the_origin_has_positive_indices() {
        let grid = Grid { crs: "EPSG:32652".into(), resolution_m: 2.0 };
        assert_eq!(grid.centre(0, 0), (1.0, -1.0));
        assert_eq!(grid.to_pixel(1.0, -1.0), (0.5, 0.5));
        assert_eq!(grid.corner(-3, 4), (8.0, 6.0));
    }

    #[test]
    fn cells_of_a_rect_cover_negative_indices_too() {
        let rect = PixelRect::new(-1, 510, 1, 513);
        let cells: Vec<_> = rect.cells().map(|cell| (cell.row, cell.col)).collect();
        assert_eq!(cells, [(-1, 0), (-1, 1), (0, 0), (0, 1)]);
        assert_eq!(PixelRect::new(3, 3, 3, 9).cells().count(), 0);
    }

    #[test]
    fn a_block_holds_its_four_children() {
        let child = Block { level: 0, y: -3, x: 5 };
        let parent = child.parent();
        assert_eq!(parent, Block { level: 1, y: -2, x: 2 });
        assert_eq!(parent.rect(100).intersection(&child.rect(100)), Some(child.rect(100)));
        let children = parent.children();
        assert!(children.contains(&child) && children.is_sorted());
        assert!(children.iter().all(|child| child.parent() == parent));
        let around = Block::WHOLE.children().map(|child| (child.y, child.x));
        assert_eq!(around, [(-1, -1), (-1, 0), (0, -1), (0, 0)]);
    }

    #[test]
    fn a_rotated_transform_inverts() {
        let transform =
            GeoTransform { x0: 10.0, x_per_col: 0.6, x_per_row: 0.8, y0: 20.0, y_per_col: 0.8, y_per_row: -0.6 };
        let (x, y) = transform.apply(3.0, 7.0);
        let (col, row) = transform.invert(x, y).unwrap();
        assert!((col - 3.0).abs() < 1e-12 && (row - 7.0).abs() < 1e-12);
        assert_eq!(transform.pixel_size(), (1.0, 1.0));
    }
}
