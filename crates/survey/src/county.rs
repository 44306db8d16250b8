//! Counties on the grid: which county owns which pixel.
//!
//! A pixel belongs to the county that contains its centre; where borders overlap, to the one with the smallest id. The
//! decision is taken row by row from the border's crossings with the row's centre line, so it does not depend on any
//! tile.

use std::collections::BTreeMap;

use geo::{BoundingRect, Coord, MultiPolygon};

use crate::grid::{CELL_PX, Cell, Grid, PixelRect};
use crate::ids::CountyId;

/// A county.
#[derive(Clone, Debug, PartialEq)]
pub struct County {
    /// Its id.
    pub id: CountyId,
    /// Its name.
    pub name: String,
    /// Province.
    pub parent: Option<String>,
    /// Years in which it was designated, ascending.
    pub designated: Vec<i32>,
    /// Border in the grid's CRS, metres. Read by the even-odd rule, so that any set of closed rings has a meaning.
    pub border: MultiPolygon<f64>,
    /// Remarks for the result: `border repaired: self-intersection at …`.
    pub notes: Vec<String>,
}

/// Pixels of one row that one county owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountySpan {
    /// Index of the county.
    pub county: u32,
    /// First column.
    pub col0: i32,
    /// One past the last column.
    pub col1: i32,
}

struct Edge {
    /// Rows whose centre line the edge crosses, half-open.
    row0: i32,
    row1: i32,
    /// Column coordinate at row centre `r`: `at + (r − row0)·slope`, in pixels.
    x0: f64,
    y0: f64,
    slope: f64,
}

/// A piece of a border in pixel coordinates (row, col).
struct Segment {
    start: (f64, f64),
    end: (f64, f64),
}

impl Segment {
    /// Adds the cells within `margin_px` of the segment: it is walked in steps of half a cell, each step by its
    /// bounding box.
    fn cells(&self, margin_px: i32, cells: &mut std::collections::BTreeSet<Cell>) {
        let (rows, cols) = (self.end.0 - self.start.0, self.end.1 - self.start.1);
        let steps = (rows.abs().max(cols.abs()) / f64::from(CELL_PX / 2)).ceil().clamp(1.0, 1e7) as u32;
        let at = |step: u32| {
            let share = f64::from(step) / f64::from(steps);
            (self.start.0 + rows * share, self.start.1 + cols * share)
        };
        for step in 0..steps {
            let (a, b) = (at(step), at(step + 1));
            let rect = PixelRect {
                row0: a.0.min(b.0).floor() as i32,
                col0: a.1.min(b.1).floor() as i32,
                row1: a.0.max(b.0).ceil() as i32,
                col1: a.1.max(b.1).ceil() as i32,
            };
            cells.extend(rect.grown(margin_px).cells());
        }
    }
}

struct Outline {
    bounds: PixelRect,
    segments: Vec<Segment>,
    /// Edges by band of `CELL_PX` rows, so that a row looks at a few edges only.
    bands: BTreeMap<i32, Vec<u32>>,
    edges: Vec<Edge>,
}

/// The counties of a plan, prepared for row-wise questions.
pub struct CountyMap {
    outlines: Vec<Outline>,
}

impl CountyMap {
    /// Prepares `counties` (sorted by id: a smaller index wins where borders overlap).
    #[must_use]
    pub fn new(grid: &Grid, counties: &[County]) -> Self {
        Self { outlines: counties.iter().map(|county| Outline::new(grid, &county.border)).collect() }
    }

    /// Pixels that the county's border may touch; empty for an empty border.
    #[must_use]
    pub fn bounds(&self, county: u32) -> Option<PixelRect> {
        self.outlines.get(county as usize).map(|outline| outline.bounds).filter(|bounds| !bounds.is_empty())
    }

    /// The spans of a row inside `col0..col1`, disjoint and from west to east, each pixel in the one county that owns
    /// it.
    #[must_use]
    pub fn spans(&self, row: i32, col0: i32, col1: i32) -> Vec<CountySpan> {
        let mut owned: Vec<CountySpan> = Vec::new();
        for (county, outline) in self.outlines.iter().enumerate() {
            if row < outline.bounds.row0
                || row >= outline.bounds.row1
                || outline.bounds.col1 <= col0
                || outline.bounds.col0 >= col1
            {
                continue;
            }
            for (from, to) in outline.inside(row) {
                let (from, to) = (from.max(col0), to.min(col1));
                if from < to {
                    claim(&mut owned, CountySpan { county: county as u32, col0: from, col1: to });
                }
            }
        }
        owned
    }

    /// Pixels per county inside a rectangle.
    #[must_use]
    pub fn pixels(&self, rect: PixelRect) -> BTreeMap<u32, u64> {
        let mut pixels = BTreeMap::new();
        for row in rect.row0..rect.row1 {
            for span in self.spans(row, rect.col0, rect.col1) {
                *pixels.entry(span.county).or_default() += u64::from((span.col1 - span.col0) as u32);
            }
        }
        pixels
    }

    /// Pixels inside the county's border that a county with a smaller id owns.
    #[must_use]
    pub fn overlapped_px(&self, county: u32) -> u64 {
        let Some(bounds) = self.bounds(county) else { return 0 };
        let Some(outline) = self.outlines.get(county as usize) else { return 0 };
        let mut overlapped = 0;
        for row in bounds.row0..bounds.row1 {
            let inside: i64 = outline.inside(row).iter().map(|&(from, to)| i64::from(to) - i64::from(from)).sum();
            let owned: i64 = self
                .spans(row, bounds.col0, bounds.col1)
                .iter()
                .filter(|span| span.county == county)
                .map(|span| i64::from(span.col1) - i64::from(span.col0))
                .sum();
            overlapped += (inside - owned).max(0) as u64;
        }
        overlapped
    }

    /// The cells that the county touches, grown by `margin_px` on all sides, sorted.
    ///
    /// A cell is touched where the border passes it (within the margin), or where it lies inside altogether, which its
    /// centre tells.
    #[must_use]
    pub fn cells(&self, county: u32, margin_px: i32) -> Vec<Cell> {
        let (Some(bounds), Some(outline)) = (self.bounds(county), self.outlines.get(county as usize)) else {
            return Vec::new();
        };
        let mut cells = std::collections::BTreeSet::new();
        for segment in &outline.segments {
            segment.cells(margin_px, &mut cells);
        }
        for row in bounds.row0.div_euclid(CELL_PX)..=(bounds.row1 - 1).div_euclid(CELL_PX) {
            for (from, to) in outline.inside(row * CELL_PX + CELL_PX / 2) {
                let centres = (from - CELL_PX / 2).div_euclid(CELL_PX)..=(to - CELL_PX / 2).div_euclid(CELL_PX);
                cells.extend(
                    centres
                        .map(|col| Cell { row, col })
                        .filter(|cell| (from..to).contains(&(cell.col * CELL_PX + CELL_PX / 2))),
                );
            }
        }
        cells.into_iter().collect()
    }
}

/// Adds what of `span` nobody owns yet; keeps the list sorted.
fn claim(owned: &mut Vec<CountySpan>, span: CountySpan) {
    let mut from = span.col0;
    let mut free = Vec::new();
    for other in owned.iter() {
        if other.col1 <= from {
            continue;
        }
        if other.col0 >= span.col1 {
            break;
        }
        if other.col0 > from {
            free.push(CountySpan { county: span.county, col0: from, col1: other.col0 });
        }
        from = from.max(other.col1);
    }
    if from < span.col1 {
        free.push(CountySpan { county: span.county, col0: from, col1: span.col1 });
    }
    if free.is_empty() {
        return;
    }
    owned.extend(free);
    owned.sort_unstable_by_key(|span| span.col0);
}

impl Outline {
    fn new(grid: &Grid, border: &MultiPolygon<f64>) -> Self {
        let mut edges = Vec::new();
        let mut segments = Vec::new();
        for polygon in border {
            for ring in std::iter::once(polygon.exterior()).chain(polygon.interiors()) {
                for line in ring.lines() {
                    edges.extend(Edge::new(grid, line.start, line.end));
                    segments.push(Segment {
                        start: grid.to_pixel(line.start.x, line.start.y),
                        end: grid.to_pixel(line.end.x, line.end.y),
                    });
                }
            }
        }
        let mut bands: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for (index, edge) in edges.iter().enumerate() {
            for band in edge.row0.div_euclid(CELL_PX)..=(edge.row1 - 1).div_euclid(CELL_PX) {
                bands.entry(band).or_default().push(index as u32);
            }
        }
        let bounds = border.bounding_rect().map_or(PixelRect::new(0, 0, 0, 0), |rect| {
            let (row0, col0) = grid.to_pixel(rect.min().x, rect.max().y);
            let (row1, col1) = grid.to_pixel(rect.max().x, rect.min().y);
            let whole =
                |value: f64| value.clamp(-f64::from(crate::grid::MAX_INDEX), f64::from(crate::grid::MAX_INDEX)) as i32;
            PixelRect::new(whole(row0.floor()), whole(col0.floor()), whole(row1.ceil()), whole(col1.ceil()))
        });
        Self { bounds, segments, bands, edges }
    }

    /// Column ranges of a row whose pixel centres lie inside (even-odd rule).
    fn inside(&self, row: i32) -> Vec<(i32, i32)> {
        let Some(band) = self.bands.get(&row.div_euclid(CELL_PX)) else { return Vec::new() };
        let centre = f64::from(row) + 0.5;
        let mut crossings: Vec<f64> = band
            .iter()
            .filter_map(|&index| self.edges.get(index as usize))
            .filter(|edge| edge.row0 <= row && row < edge.row1)
            .map(|edge| edge.x0 + (centre - edge.y0) * edge.slope)
            .collect();
        crossings.sort_unstable_by(f64::total_cmp);
        crossings
            .chunks_exact(2)
            .filter_map(|pair| {
                // The first and last column whose centre (col + 0.5) lies in [pair0, pair1).
                let (from, to) = ((pair[0] - 0.5).ceil() as i32, (pair[1] - 0.5).ceil() as i32);
                (from < to).then_some((from, to))
            })
            .collect()
    }
}

impl Edge {
    /// The edge in pixel coordinates; `None` where it crosses no row's centre line.
    fn new(grid: &Grid, start: Coord<f64>, end: Coord<f64>) -> Option<Self> {
        let (a, b) = (grid.to_pixel(start.x, start.y), grid.to_pixel(end.x, end.y));
        // Always from north to south, so that an edge shared by two counties gives the same crossings to the last bit.
        let ((y0, x0), (y1, x1)) = if (a.0, a.1) <= (b.0, b.1) { (a, b) } else { (b, a) };
        // Centre lines r + 0.5 with y0 <= r + 0.5 < y1.
        let (row0, row1) = ((y0 - 0.5).ceil() as i32, (y1 - 0.5).ceil() as i32);
        (row0 < row1).then(|| Self { row0, row1, x0, y0, slope: (x1 - x0) / (y1 - y0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geo::polygon;

    fn county(id: &str, border: MultiPolygon<f64>) -> County {
        County { id: id.into(), name: id.into(), parent: None, designated: vec![], border, notes: vec![] }
    }

    fn grid() -> Grid {
        Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 }
    }

    #[test]
    fn two_counties_with_a_common_slanting_border_share_no_pixel_and_leave_none() {
        let west = polygon![(x: 0.0, y: 0.0), (x: 40.3, y: 0.0), (x: 61.7, y: -100.0), (x: 0.0, y: -100.0)];
        let east = polygon![(x: 40.3, y: 0.0), (x: 100.0, y: 0.0), (x: 100.0, y: -100.0), (x: 61.7, y: -100.0)];
        let map = CountyMap::new(&grid(), &[county("a", west.into()), county("b", east.into())]);
        let pixels = map.pixels(PixelRect::new(0, 0, 100, 100));
        assert_eq!(pixels[&0] + pixels[&1], 10_000);
        assert!((pixels[&0] as f64 - 5100.0).abs() < 60.0);
        for row in 0..100 {
            let spans = map.spans(row, 0, 100);
            assert_eq!((spans[0].col0, spans[0].col1, spans[1].col1), (0, spans[1].col0, 100));
        }
    }

    #[test]
    fn an_overlap_belongs_to_the_smaller_id_and_is_reported() {
        let a = polygon![(x: 2.0, y: 0.0), (x: 6.0, y: 0.0), (x: 6.0, y: -10.0), (x: 2.0, y: -10.0)];
        let b = polygon![(x: 0.0, y: 0.0), (x: 10.0, y: 0.0), (x: 10.0, y: -10.0), (x: 0.0, y: -10.0)];
        let map = CountyMap::new(&grid(), &[county("a", a.into()), county("b", b.into())]);
        let owned: Vec<_> = map.spans(3, 0, 10).iter().map(|span| (span.county, span.col0, span.col1)).collect();
        assert_eq!(owned, [(1, 0, 2), (0, 2, 6), (1, 6, 10)]);
        assert_eq!((map.overlapped_px(0), map.overlapped_px(1)), (0, 40));
    }

    #[test]
    fn a_hole_is_not_part_of_the_county_and_an_empty_border_owns_nothing() {
        let ring = polygon![exterior: [(x: 0.0, y: 0.0), (x: 10.0, y: 0.0), (x: 10.0, y: -10.0), (x: 0.0, y: -10.0)],
            interiors: [[(x: 3.0, y: -3.0), (x: 7.0, y: -3.0), (x: 7.0, y: -7.0), (x: 3.0, y: -7.0)]]];
        let map = CountyMap::new(&grid(), &[county("a", ring.into()), county("b", MultiPolygon(vec![]))]);
        assert_eq!(map.pixels(PixelRect::new(-5, -5, 20, 20)), BTreeMap::from([(0, 84)]));
        assert_eq!(map.bounds(1), None);
        assert!(map.cells(1, 10).is_empty());
    }

    #[test]
    fn the_cells_of_a_large_county_have_no_hole_and_reach_one_margin_beyond() {
        let side = 5000.0;
        let square = polygon![(x: 100.0, y: -100.0), (x: side, y: -100.0), (x: side, y: -side), (x: 100.0, y: -side)];
        let map = CountyMap::new(&grid(), &[county("a", square.into())]);
        let cells = map.cells(0, 50);
        let reach = PixelRect::new(50, 50, 5050, 5050);
        assert_eq!(cells, reach.cells().collect::<Vec<_>>());
    }
}
