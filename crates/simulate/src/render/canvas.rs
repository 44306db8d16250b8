//! Samples of a piece of a world, in the rows and columns of a scene's block, and painting on them.

use crate::covers::Spectrum;
use crate::geometry::{Bounds, Point, point};

/// One sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// What it reflects in full light.
    pub reflectance: Spectrum,
    /// Share of the sun's light that reaches it.
    pub sunlight: f32,
    /// Index + 1 of the site whose lot or building this is; 0 for none.
    pub site: u16,
}

/// Where samples lie: an affine map from (column, row) to the world.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Sample (0, 0).
    pub origin: Point,
    /// Step to the next column.
    pub col: Point,
    /// Step to the next row.
    pub row: Point,
    /// Columns.
    pub cols: usize,
    /// Rows.
    pub rows: usize,
}

impl Frame {
    /// The place of a sample.
    #[must_use]
    pub fn at(&self, col: usize, row: usize) -> Point {
        self.origin.plus(self.col.times(col as f32)).plus(self.row.times(row as f32))
    }

    /// A box around all samples.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let (cols, rows) = (self.cols.saturating_sub(1), self.rows.saturating_sub(1));
        Bounds::of([self.at(0, 0), self.at(cols, 0), self.at(0, rows), self.at(cols, rows)])
    }

    /// Columns and rows that a box may touch.
    fn window(&self, bounds: &Bounds) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let determinant = self.col.x * self.row.y - self.col.y * self.row.x;
        if determinant == 0.0 {
            return (0..0, 0..0);
        }
        let corners = [bounds.min, bounds.max, point(bounds.min.x, bounds.max.y), point(bounds.max.x, bounds.min.y)];
        let (mut low, mut high) = (point(f32::MAX, f32::MAX), point(f32::MIN, f32::MIN));
        for corner in corners {
            let d = corner.minus(self.origin);
            let at = point(
                (d.x * self.row.y - d.y * self.row.x) / determinant,
                (d.y * self.col.x - d.x * self.col.y) / determinant,
            );
            low = point(low.x.min(at.x), low.y.min(at.y));
            high = point(high.x.max(at.x), high.y.max(at.y));
        }
        let range = |low: f32, high: f32, count: usize| {
            let from = (low.floor().max(0.0) as usize).min(count);
            let to = ((high.ceil() + 1.0).max(0.0) as usize).min(count);
            from..to.max(from)
        };
        (range(low.x, high.x, self.cols), range(low.y, high.y, self.rows))
    }
}

/// Samples over a frame.
pub struct Canvas {
    /// Where they lie.
    pub frame: Frame,
    /// Row by row.
    pub samples: Vec<Sample>,
}

impl Canvas {
    /// A canvas of samples that a function of the place gives.
    #[must_use]
    pub fn new(frame: Frame, sample: impl Fn(Point) -> Sample) -> Self {
        let mut samples = Vec::with_capacity(frame.cols * frame.rows);
        for row in 0..frame.rows {
            for col in 0..frame.cols {
                samples.push(sample(frame.at(col, row)));
            }
        }
        Self { frame, samples }
    }

    /// Calls `paint` for every sample that a box may touch.
    pub fn paint(&mut self, bounds: &Bounds, mut paint: impl FnMut(&mut Sample, Point)) {
        let (cols, rows) = self.frame.window(bounds);
        for row in rows {
            let start = row * self.frame.cols;
            for col in cols.clone() {
                let at = self.frame.at(col, row);
                if let Some(sample) = self.samples.get_mut(start + col) {
                    paint(sample, at);
                }
            }
        }
    }
}
