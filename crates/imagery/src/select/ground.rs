//! Which ground a scene covers, cell by cell.
//!
//! A scene covers what its raster does, and of that what its footprint does: a satellite's tile of which the swath fills
//! a half is a whole raster with half a footprint. Footprints are drawn roughly, so a cell next to one still counts as
//! seen, though with none of its sample points: such a scene comes after those that are known to show the cell.

use geo::Coord;
use survey::grid::{CELL_PX, Cell, Grid, PixelRect};
use survey::scene::Scene;

use crate::crs::{Crs, Transformer};
use crate::error::ImageryError;

/// Points per side of a raster's outline, so that its curved image on the grid is followed.
const OUTLINE_STEPS: u32 = 32;

/// Places of the sample points along a side of a cell, pixels: eight inside, and next to both borders, so that a sliver
/// that passes between those inside is noticed.
const SAMPLES: [f64; 10] = [0.5, 32.0, 96.0, 160.0, 224.0, 288.0, 352.0, 416.0, 480.0, 511.5];
const ROW_OF_POINTS: u128 = (1 << SAMPLES.len()) - 1;

/// Sample points of a cell: bit `10·y + x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Points(u128);

impl Points {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self((1 << (SAMPLES.len() * SAMPLES.len())) - 1);
    /// Points that lie evenly over the cell: those that shares are taken of.
    pub(super) const INNER: usize = 64;

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(super) fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has_more_than(self, other: Self) -> bool {
        self.0 & !other.0 != 0
    }

    /// The evenly spread points among them, numbered row by row.
    pub(super) fn inner(self) -> impl Iterator<Item = usize> {
        (0..Self::INNER).filter(move |point| {
            let (y, x) = (point / 8 + 1, point % 8 + 1);
            self.0 >> (y * SAMPLES.len() + x) & 1 == 1
        })
    }
}

/// A scene's view of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub(super) scene: usize,
    /// Sample points that it covers; none where it only passes the cell.
    pub(super) points: Points,
}

/// Where a scene lies on the grid.
pub(super) struct Ground {
    rings: Vec<Ring>,
    /// What of that holds data, where the catalog says so.
    footprint: Option<Vec<Ring>>,
    extent: Extent,
    /// What a person should know.
    pub(super) warning: Option<String>,
}

impl Ground {
    /// The ground of a scene: the outline of its raster, where that is known, and its footprint.
    ///
    /// # Errors
    /// Where a CRS is unknown.
    pub(super) fn of(scene: &Scene, grid: &Grid, to: &Crs) -> Result<Self, ImageryError> {
        let transformer = Transformer::new(&Crs::parse("EPSG:4326")?, to)?;
        let project = |point: &Coord<f64>| transformer.apply(point.x, point.y).map(|(x, y)| grid.to_pixel(x, y));
        let footprint = |near_px: i32| -> Vec<Ring> {
            let exteriors = scene.footprint.0.iter().map(geo::Polygon::exterior);
            exteriors.filter_map(|ring| Ring::new(ring.0.iter().filter_map(project).collect(), near_px)).collect()
        };
        let Some(raster) = raster_outline(scene, grid, to)? else {
            let rings = footprint(0);
            return Ok(Self { extent: Extent::around(&rings), rings, footprint: None, warning: None });
        };
        let rings: Vec<Ring> = Ring::new(raster, 0).into_iter().collect();
        let extent = Extent::around(&rings);
        let footprint = Some(footprint(CELL_PX - 1)).filter(|footprint| !footprint.is_empty());
        let is_beside = footprint.as_ref().is_some_and(|footprint| !Extent::around(footprint).shares_a_pixel(&extent));
        let warning = is_beside.then(|| {
            format!(
                "scene {}: its geometry lies beside its raster; its raster is taken for covered as a whole",
                scene.id
            )
        });
        Ok(Self { rings, footprint: footprint.filter(|_| !is_beside), extent, warning })
    }

    /// Whether two scenes have a pixel's ground in common: scenes that only touch have none.
    pub(super) fn shares_a_pixel(&self, other: &Self) -> bool {
        self.extent.shares_a_pixel(&other.extent)
    }

    /// Whether the scene reaches a row of cells.
    pub(super) fn reaches(&self, row: i32) -> bool {
        self.extent.rows.0 < f64::from((row + 1) * CELL_PX) && self.extent.rows.1 > f64::from(row * CELL_PX)
    }

    /// Calls `see(index, points)` for each of `cells`, which lie in one row and are sorted, that the scene touches.
    pub(super) fn view(&self, cells: &[Cell], mut see: impl FnMut(usize, Points)) {
        let views = marks(&self.rings, cells);
        let Some(footprint) = &self.footprint else {
            views.into_iter().for_each(|(index, points)| see(index, points));
            return;
        };
        let mut held = marks(footprint, cells).into_iter().peekable();
        for (index, points) in views {
            while held.next_if(|&(other, _)| other < index).is_some() {}
            if let Some(&(other, inside)) = held.peek()
                && other == index
            {
                see(index, points.common(inside));
            }
        }
    }
}

/// The cells that any of the rings touches and the sample points inside, by index.
fn marks(rings: &[Ring], cells: &[Cell]) -> Vec<(usize, Points)> {
    let mut marks: Vec<(usize, Points)> = Vec::new();
    for ring in rings {
        ring.mark(cells, |index, points| marks.push((index, points)));
    }
    if rings.len() > 1 {
        marks.sort_unstable_by_key(|&(index, _)| index);
        marks.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1 = first.1.with(later.1);
            }
            same
        });
    }
    marks
}

/// The outline of a scene's raster in pixel coordinates, where its file or the catalog says where that lies.
fn raster_outline(scene: &Scene, grid: &Grid, to: &Crs) -> Result<Option<Vec<(f64, f64)>>, ImageryError> {
    let asset = scene.bands.first().and_then(|band| scene.assets.get(usize::from(band.asset)));
    let Some(asset) = asset.filter(|asset| asset.width > 0 && asset.height > 0 && !asset.crs.is_empty()) else {
        return Ok(None);
    };
    let transformer = Transformer::new(&Crs::parse(&asset.crs)?, to)?;
    let (width, height) = (f64::from(asset.width), f64::from(asset.height));
    let corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)];
    let points = (0..4).flat_map(|side| {
        let (from, to) = (corners[side], corners[(side + 1) % 4]);
        (0..OUTLINE_STEPS).map(move |step| {
            let share = f64::from(step) / f64::from(OUTLINE_STEPS);
            (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
        })
    });
    let ring = points.filter_map(|(col, row)| {
        let (x, y) = asset.transform.apply(col, row);
        let (x, y) = transformer.apply(x, y)?;
        Some(grid.to_pixel(x, y))
    });
    Ok(Some(ring.collect()))
}

/// The box around a scene in pixel coordinates.
#[derive(Clone, Copy, Debug)]
struct Extent {
    rows: (f64, f64),
    cols: (f64, f64),
}

impl Extent {
    fn around(rings: &[Ring]) -> Self {
        let nothing = (f64::INFINITY, f64::NEG_INFINITY);
        let join = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
        rings.iter().map(|ring| ring.extent).fold(Self { rows: nothing, cols: nothing }, |all, extent| Self {
            rows: join(all.rows, extent.rows),
            cols: join(all.cols, extent.cols),
        })
    }

    fn shares_a_pixel(&self, other: &Self) -> bool {
        let common = |a: (f64, f64), b: (f64, f64)| a.1.min(b.1) - a.0.max(b.0);
        common(self.rows, other.rows) >= 1.0 && common(self.cols, other.cols) >= 1.0
    }
}

/// A closed ring in pixel coordinates, (row, col).
struct Ring {
    points: Vec<(f64, f64)>,
    extent: Extent,
    /// Cells that the ring itself passes, or comes near to, sorted: they may be touched between two sample points.
    passed: Vec<Cell>,
}

impl Ring {
    /// The ring through `points`; cells within `near_px` of it count as passed. `None` for what encloses nothing.
    fn new(points: Vec<(f64, f64)>, near_px: i32) -> Option<Self> {
        if points.len() < 3 || points.iter().any(|(row, col)| !(row.is_finite() && col.is_finite())) {
            return None;
        }
        let span = |of: fn(&(f64, f64)) -> f64| {
            points
                .iter()
                .map(of)
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)))
        };
        let extent = Extent { rows: span(|point| point.0), cols: span(|point| point.1) };
        let mut ring = Self { points, extent, passed: Vec::new() };
        let mut passed: Vec<Cell> = ring.edges().flat_map(|(from, to)| passed_by(from, to, near_px)).collect();
        passed.sort_unstable();
        passed.dedup();
        ring.passed = passed;
        Some(ring)
    }

    fn edges(&self) -> impl Iterator<Item = ((f64, f64), (f64, f64))> + '_ {
        self.points.iter().copied().zip(self.points.iter().copied().cycle().skip(1))
    }

    /// Calls `seen` with the index of each of `cells` (of one row, sorted) that the ring touches, and the sample points
    /// inside it.
    fn mark(&self, cells: &[Cell], mut seen: impl FnMut(usize, Points)) {
        let Some(row) = cells.first().map(|cell| cell.row) else { return };
        let passed = {
            let start = self.passed.partition_point(|cell| cell.row < row);
            let rest = self.passed.get(start..).unwrap_or_default();
            rest.get(..rest.partition_point(|cell| cell.row == row)).unwrap_or_default()
        };
        let spans = SAMPLES.map(|sample| self.spans(f64::from(row * CELL_PX) + sample));
        // Only the cells between the ring's sides, and those that it passes, can be touched.
        let west = passed.first().map_or(self.extent.cols.0, |cell| self.extent.cols.0.min(left(*cell)));
        let east = passed.last().map_or(self.extent.cols.1, |cell| self.extent.cols.1.max(left(*cell) + 1.0));
        let start = cells.partition_point(|&cell| left(cell) + f64::from(CELL_PX) <= west);
        for (index, &cell) in cells.iter().enumerate().skip(start) {
            if left(cell) >= east {
                break;
            }
            let mut points = 0_u128;
            for (y, spans) in spans.iter().enumerate() {
                points |= u128::from(points_of_row(cell, spans)) << (y * SAMPLES.len());
            }
            if points != 0 || passed.binary_search(&cell).is_ok() {
                seen(index, Points(points));
            }
        }
    }

    /// Column ranges inside the ring along a row (even-odd rule).
    fn spans(&self, row: f64) -> Vec<(f64, f64)> {
        let mut crossings: Vec<f64> = self
            .edges()
            .filter(|(from, to)| (from.0 <= row) != (to.0 <= row))
            .map(|(from, to)| from.1 + (row - from.0) * (to.1 - from.1) / (to.0 - from.0))
            .collect();
        crossings.sort_unstable_by(f64::total_cmp);
        crossings.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

/// Pixel column of a cell's western border.
fn left(cell: Cell) -> f64 {
    f64::from(cell.col * CELL_PX)
}

/// The sample points of one row of a cell that lie in any of the column ranges.
fn points_of_row(cell: Cell, spans: &[(f64, f64)]) -> u16 {
    let west = left(cell);
    let mut points = 0;
    for &(from, to) in spans {
        let (from, to) = (from - west, to - west);
        if from <= SAMPLES[0] && to > SAMPLES[SAMPLES.len() - 1] {
            return ROW_OF_POINTS as u16;
        }
        for (x, &sample) in SAMPLES.iter().enumerate() {
            points |= u16::from(from <= sample && sample < to) << x;
        }
    }
    points
}

/// The cells that the line from `a` to `b` passes, or those within `near_px` of it, more or less.
fn passed_by(a: (f64, f64), b: (f64, f64), near_px: i32) -> Vec<Cell> {
    let (rows, cols) = (b.0 - a.0, b.1 - a.1);
    let steps = (rows.abs().max(cols.abs()) / f64::from(CELL_PX / 2)).ceil().clamp(1.0, 1e5) as u32;
    let at = |step: u32| {
        let share = f64::from(step) / f64::from(steps);
        (a.0 + rows * share, a.1 + cols * share)
    };
    let mut cells = Vec::new();
    for step in 0..steps {
        let (from, to) = (at(step), at(step + 1));
        let (row, col) = (from.0.min(to.0).floor() as i32, from.1.min(to.1).floor() as i32);
        // A side along a pixel border has no height or width of its own.
        let (row1, col1) =
            ((from.0.max(to.0).ceil() as i32).max(row + 1), (from.1.max(to.1).ceil() as i32).max(col + 1));
        let around = PixelRect::new(row, col, row1, col1).grown(near_px).cells();
        cells.extend(around.filter(|&cell| near_px > 0 || passes(cell, from, to)));
    }
    cells
}

/// Whether a part of the line from `a` to `b`, given as (row, col), lies inside a cell and not only on its border.
fn passes(cell: Cell, a: (f64, f64), b: (f64, f64)) -> bool {
    let rect = cell.rect();
    let (rows, cols) = (b.0 - a.0, b.1 - a.1);
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    // Liang and Barsky: the part of the line that lies on the inner side of all four borders.
    for (towards, inside) in [
        (-cols, a.1 - f64::from(rect.col0)),
        (cols, f64::from(rect.col1) - a.1),
        (-rows, a.0 - f64::from(rect.row0)),
        (rows, f64::from(rect.row1) - a.0),
    ] {
        if towards == 0.0 {
            if inside <= 0.0 {
                return false;
            }
        } else if towards < 0.0 {
            enter = enter.max(inside / towards);
        } else {
            leave = leave.min(inside / towards);
        }
    }
    enter < leave
}
