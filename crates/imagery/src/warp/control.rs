//! The coordinate transform on a control grid that is anchored to the survey's grid.
//!
//! Coordinates are computed exactly at every 32nd pixel corner of the global grid, rounded to 1/4096 source pixel, and
//! interpolated between by integers (next to straight cells are made straight: see [`straightened`]), so that a pixel's
//! place does not depend on the rectangle it was asked for in. Where
//! the interpolation would be off by more than 1/32 source pixel, or the projection fails nearby, the pixels of that
//! control cell are transformed one by one.

use rayon::prelude::*;
use survey::calibration::Registration;
use survey::grid::PixelRect;
use survey::wide::wide;

use super::geometry::{Geometry, Sampling};
use super::kernel::{PHASE_BITS, PHASES};

/// Side of a control cell, grid pixels.
pub(crate) const CONTROL_PX: i32 = 32;

/// Parts of a source pixel that control coordinates are rounded to.
const NODE_UNITS: f64 = 4096.0;

/// What is straightened: differences up to this many of those parts, 1/256 source pixel.
const STRAIGHTENED: i64 = 16;

/// Largest error of the interpolation, working source pixels.
const TOLERANCE: f64 = 1.0 / 32.0;

/// Coordinates beyond this many source pixels are nowhere.
const FARTHEST: f64 = (1_u64 << 30) as f64;

/// Marks a pixel without a place.
const NOWHERE: (i64, i64) = (i64::MIN, i64::MIN);

/// Where the pixels of a control cell lie in the source, in working pixels.
#[derive(Debug)]
enum Place {
    /// Nowhere: the projection has no answer for any of them.
    Nowhere,
    /// Between four corners (x, y in 1/4096 px): north-west, north-east, south-west, south-east.
    Between([(i64, i64); 4]),
    /// Pixel by pixel, row-major over the whole cell: x, y in 1/1024 px, as [`Control::locate`] gives them.
    EachPixel(Vec<(i64, i64)>),
}

/// The control cells over a rectangle.
#[derive(Debug)]
pub(crate) struct Control {
    /// Control row and column of the first cell.
    first: (i32, i32),
    cols: usize,
    cells: Vec<Place>,
    /// Extent of the raster, 1/1024 working pixels (x, y).
    extent: [i64; 2],
}

/// A control cell.
#[derive(Clone, Copy)]
pub(crate) struct ControlCell<'a> {
    row0: i32,
    col0: i32,
    place: &'a Place,
}

impl Control {
    pub(crate) fn new(geometry: &Geometry, correction: &Registration, sampling: &Sampling, rect: PixelRect) -> Self {
        let (row0, col0) = (rect.row0.div_euclid(CONTROL_PX), rect.col0.div_euclid(CONTROL_PX));
        let (row1, col1) = ((rect.row1 - 1).div_euclid(CONTROL_PX) + 1, (rect.col1 - 1).div_euclid(CONTROL_PX) + 1);
        let (rows, cols) = ((row1 - row0).max(0) as usize, (col1 - col0).max(0) as usize);
        let locate = |row: f64, col: f64| -> Option<(f64, f64)> {
            let (x, y) = geometry.locate_corrected(correction, row, col)?;
            let place = (x / sampling.ratio[0], y / sampling.ratio[1]);
            (place.0.abs() <= FARTHEST && place.1.abs() <= FARTHEST).then_some(place)
        };
        let corner = |row: i32, col: i32| locate(f64::from(row) * 32.0, f64::from(col) * 32.0);
        let nodes: Vec<Option<(f64, f64)>> = (0..(rows + 1) * (cols + 1))
            .into_par_iter()
            .with_min_len(64)
            .map(|index| corner(row0 + (index / (cols + 1)) as i32, col0 + (index % (cols + 1)) as i32))
            .collect();
        let cells = (0..rows * cols)
            .into_par_iter()
            .with_min_len(16)
            .map(|index| {
                let (i, j) = (index / cols, index % cols);
                let node = |di: usize, dj: usize| nodes.get((i + di) * (cols + 1) + j + dj).copied().flatten();
                let corners = [node(0, 0), node(0, 1), node(1, 0), node(1, 1)];
                let (row, col) = ((row0 + i as i32) * CONTROL_PX, (col0 + j as i32) * CONTROL_PX);
                Place::new(corners, row, col, &locate)
            })
            .collect();
        Self { first: (row0, col0), cols, cells, extent: geometry.extent(sampling) }
    }

    /// Extent of the raster, 1/1024 working pixels (x, y).
    pub(crate) fn extent(&self) -> [i64; 2] {
        self.extent
    }

    /// The control cell that begins at a pixel (a multiple of 32 in both directions) inside the rectangle.
    pub(crate) fn cell(&self, row0: i32, col0: i32) -> ControlCell<'_> {
        let (i, j) = (row0.div_euclid(CONTROL_PX) - self.first.0, col0.div_euclid(CONTROL_PX) - self.first.1);
        let index = (i.max(0) as usize) * self.cols + j.max(0) as usize;
        ControlCell { row0, col0, place: self.cells.get(index).unwrap_or(&Place::Nowhere) }
    }

    /// The control cells that a rectangle touches: each with its pixels inside the rectangle.
    pub(crate) fn cells(&self, rect: PixelRect) -> impl Iterator<Item = (PixelRect, ControlCell<'_>)> {
        let starts = |from: i32, to: i32| {
            (from.div_euclid(CONTROL_PX)..(to - 1).div_euclid(CONTROL_PX) + 1).map(|index| index * CONTROL_PX)
        };
        starts(rect.row0, rect.row1).flat_map(move |row0| {
            starts(rect.col0, rect.col1).filter_map(move |col0| {
                let whole = PixelRect::new(row0, col0, row0 + CONTROL_PX, col0 + CONTROL_PX);
                whole.intersection(&rect).map(|part| (part, self.cell(row0, col0)))
            })
        })
    }
}

impl Place {
    fn new(
        corners: [Option<(f64, f64)>; 4],
        row: i32,
        col: i32,
        locate: &dyn Fn(f64, f64) -> Option<(f64, f64)>,
    ) -> Self {
        const CHECKS: [(f64, f64); 5] = [(0.5, 0.5), (0.0, 0.5), (0.5, 0.0), (1.0, 0.5), (0.5, 1.0)];
        let side = f64::from(CONTROL_PX);
        let (row, col) = (f64::from(row), f64::from(col));
        if let [Some(nw), Some(ne), Some(sw), Some(se)] = corners {
            let mix = |a: f64, b: f64, c: f64, d: f64, (v, u): (f64, f64)| {
                (a * (1.0 - u) + b * u) * (1.0 - v) + (c * (1.0 - u) + d * u) * v
            };
            let is_good = CHECKS.iter().all(|&at| {
                locate(row + at.0 * side, col + at.1 * side).is_some_and(|(x, y)| {
                    (mix(nw.0, ne.0, sw.0, se.0, at) - x).abs() <= TOLERANCE
                        && (mix(nw.1, ne.1, sw.1, se.1, at) - y).abs() <= TOLERANCE
                })
            });
            if is_good {
                let round = |(x, y): (f64, f64)| ((x * NODE_UNITS).round() as i64, (y * NODE_UNITS).round() as i64);
                return Self::Between(straightened([nw, ne, sw, se].map(round)));
            }
        }
        let round = |x: f64| ((x - 0.5) * PHASES as f64).round() as i64;
        let places: Vec<(i64, i64)> = (0..CONTROL_PX * CONTROL_PX)
            .map(|index| {
                let (r, c) = (f64::from(index / CONTROL_PX), f64::from(index % CONTROL_PX));
                locate(row + r + 0.5, col + c + 0.5).map_or(NOWHERE, |(x, y)| (round(x), round(y)))
            })
            .collect();
        if places.iter().all(|&place| place == NOWHERE) { Self::Nowhere } else { Self::EachPixel(places) }
    }
}

/// Corners of a cell in which columns and rows are next to independent, made so; and next to a shift by whole pixels per
/// pixel, made one. A slight turn or stretch (what a registration finds) then moves from cell to cell in steps of
/// 1/256 pixel, and a cell is resampled row by row and column by column.
fn straightened([nw, ne, sw, se]: [(i64, i64); 4]) -> [(i64, i64); 4] {
    let is_near = |a: i64, b: i64| (a - b).abs() <= STRAIGHTENED;
    if !(is_near(nw.0, sw.0) && is_near(ne.0, se.0) && is_near(nw.1, ne.1) && is_near(sw.1, se.1)) {
        return [nw, ne, sw, se];
    }
    let middle = |a: i64, b: i64| (a + b) >> 1;
    let axis = |from: i64, to: i64| {
        let side = i64::from(CONTROL_PX) * NODE_UNITS as i64;
        if is_near(to - from, side) {
            let start = (from + to - side) >> 1;
            (start, start + side)
        } else {
            (from, to)
        }
    };
    let (west, east) = axis(middle(nw.0, sw.0), middle(ne.0, se.0));
    let (north, south) = axis(middle(nw.1, ne.1), middle(sw.1, se.1));
    [(west, north), (east, north), (west, south), (east, south)]
}

impl ControlCell<'_> {
    /// Where a pixel's centre lies in the source, 1/1024 working pixel, counted from the centre of the first source
    /// pixel. `None` where the projection has no answer.
    pub(crate) fn locate(&self, row: i32, col: i32) -> Option<(i64, i64)> {
        let (r, c) = (i64::from(row - self.row0), i64::from(col - self.col0));
        match self.place {
            Place::Nowhere => None,
            Place::EachPixel(places) => {
                let index = r * i64::from(CONTROL_PX) + c;
                places.get(usize::try_from(index).ok()?).copied().filter(|&place| place != NOWHERE)
            }
            Place::Between([nw, ne, sw, se]) => {
                let (v, u) = (2 * r + 1, 2 * c + 1);
                let mix = |nw: i64, ne: i64, sw: i64, se: i64| {
                    // 1/4096 px × 64 × 64 = 2⁻²⁴ px.
                    let place = (nw * (64 - v) + sw * v) * (64 - u) + (ne * (64 - v) + se * v) * u;
                    (place - (1 << 23) + (1 << 13)) >> 14
                };
                Some((mix(nw.0, ne.0, sw.0, se.0), mix(nw.1, ne.1, sw.1, se.1)))
            }
        }
    }

    /// [`ControlCell::locate`] along a row of the cell, from `col` on: as many as are left of it, each less `origin`, which lies near.
    /// What comes behind means nothing. `None` where one has no place.
    pub(crate) fn locate_row(&self, row: i32, col: i32, origin: [i64; 2]) -> Option<[[i32; CONTROL_PX as usize]; 2]> {
        let mut places = [[0; CONTROL_PX as usize]; 2];
        if let Place::Between([nw, ne, sw, se]) = self.place {
            let (v, first) = (2 * i64::from(row - self.row0) + 1, 2 * i64::from(col - self.col0) + 1);
            // As above, with what is the same for all columns taken out.
            let mix = |places: &mut [i32], [nw, ne, sw, se]: [i64; 4], origin: i64| {
                let (west, east) = (nw * (64 - v) + sw * v, ne * (64 - v) + se * v);
                let (start, step) = (west * (64 - first) + east * first - (1 << 23) + (1 << 13), 2 * (east - west));
                wide(|| {
                    for (column, place) in (0..).zip(places) {
                        *place = (((start + step * column) >> 14) - origin) as i32;
                    }
                });
            };
            let [x, y] = &mut places;
            mix(x, [nw.0, ne.0, sw.0, se.0], origin[0]);
            mix(y, [nw.1, ne.1, sw.1, se.1], origin[1]);
            return Some(places);
        }
        let [xs, ys] = &mut places;
        for ((x, y), col) in xs.iter_mut().zip(ys).zip(col..self.col0 + CONTROL_PX) {
            let place = self.locate(row, col)?;
            (*x, *y) = ((place.0 - origin[0]) as i32, (place.1 - origin[1]) as i32);
        }
        Some(places)
    }

    /// Whether x depends on the column alone and y on the row alone.
    pub(crate) fn is_separable(&self) -> bool {
        matches!(self.place, Place::Between([nw, ne, sw, se])
            if nw.0 == sw.0 && ne.0 == se.0 && nw.1 == ne.1 && sw.1 == se.1)
    }

    /// Working pixel (x, y) less pixel (column, row) where each pixel of the cell coincides with a working pixel. `part`
    /// is the part of the cell that is asked for.
    pub(crate) fn shift(&self, part: PixelRect) -> Option<[i64; 2]> {
        let Place::Between([nw, ne, sw, _]) = self.place else { return None };
        let side = i64::from(CONTROL_PX) * NODE_UNITS as i64;
        if !self.is_separable() || ne.0 - nw.0 != side || sw.1 - nw.1 != side {
            return None;
        }
        let (x, y) = self.locate(part.row0, part.col0)?;
        let whole =
            |place: i64, index: i32| (place % PHASES as i64 == 0).then(|| (place >> PHASE_BITS) - i64::from(index));
        Some([whole(x, part.col0)?, whole(y, part.row0)?])
    }

    /// Smallest and largest place (x, y) of the pixels of `part` that have one.
    pub(crate) fn range(&self, part: PixelRect) -> Option<[(i64, i64); 2]> {
        let pixels: Vec<(i32, i32)> = match self.place {
            Place::Nowhere => return None,
            // A bilinear map has its extremes in the corners.
            Place::Between(_) => vec![
                (part.row0, part.col0),
                (part.row0, part.col1 - 1),
                (part.row1 - 1, part.col0),
                (part.row1 - 1, part.col1 - 1),
            ],
            Place::EachPixel(_) => {
                (part.row0..part.row1).flat_map(|row| (part.col0..part.col1).map(move |col| (row, col))).collect()
            }
        };
        pixels.into_iter().filter_map(|(row, col)| self.locate(row, col)).fold(None, |range, (x, y)| {
            let [low, high] = range.unwrap_or([(x, y), (x, y)]);
            Some([(low.0.min(x), low.1.min(y)), (high.0.max(x), high.1.max(y))])
        })
    }
}
