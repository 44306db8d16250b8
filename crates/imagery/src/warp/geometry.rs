//! Where the pixels of the survey's grid lie in a raster.

use survey::calibration::Registration;
use survey::grid::{GeoTransform, Grid, PixelRect};

use super::source::Region;
use crate::crs::{Crs, Transformer};
use crate::error::ImageryError;

/// A raster as seen from the grid: its place on the ground and the way there.
pub(crate) struct Geometry {
    grid: Grid,
    transform: GeoTransform,
    width: u32,
    height: u32,
    /// From the grid's CRS to the raster's and back; `None` where they are the same.
    projection: Option<(Transformer, Transformer)>,
    /// Longitude of the raster's middle, where its CRS is geographic: longitudes are taken to the turn next to it, so
    /// that a raster across the antimeridian is one piece.
    middle_lon: Option<f64>,
}

/// How a raster is read for a grid: which level, how many of its pixels are averaged on reading, and how far apart the
/// grid's pixels then are. Axes are [x, y] of the raster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampling {
    /// Index of the level.
    pub(crate) level: usize,
    /// Pixels of the level that are averaged into one working pixel.
    pub(crate) average: [u32; 2],
    /// Full-resolution pixels per working pixel.
    pub(crate) ratio: [f64; 2],
    /// Working pixels per grid pixel.
    pub(crate) step: [f64; 2],
}

impl Geometry {
    /// The raster `width × height` with its `crs` and `transform`, seen from `grid`.
    ///
    /// # Errors
    /// [`ImageryError::Crs`] for a CRS that is unknown.
    pub(crate) fn new(
        grid: &Grid,
        crs: &str,
        transform: GeoTransform,
        width: u32,
        height: u32,
    ) -> Result<Self, ImageryError> {
        let same = crs.trim().eq_ignore_ascii_case(grid.crs.trim());
        let (mut projection, mut middle_lon) = (None, None);
        if !same {
            let (from, to) = (Crs::parse(&grid.crs)?, Crs::parse(crs)?);
            projection = Some((Transformer::new(&from, &to)?, Transformer::new(&to, &from)?));
            if to.is_geographic() {
                middle_lon = Some(transform.apply(f64::from(width) / 2.0, f64::from(height) / 2.0).0);
            }
        }
        Ok(Self { grid: grid.clone(), transform, width, height, projection, middle_lon })
    }

    /// Full-resolution raster coordinates (x, y in pixels, corner of the first at 0, 0) of a place of the grid
    /// (fractional row, column). `None` where the projection has no answer or the raster no place.
    pub(crate) fn locate(&self, row: f64, col: f64) -> Option<(f64, f64)> {
        let (mut x, mut y) = (col * self.grid.resolution_m, -row * self.grid.resolution_m);
        if let Some((forward, _)) = &self.projection {
            (x, y) = forward.apply(x, y)?;
        }
        if let Some(middle) = self.middle_lon {
            x += 360.0 * ((middle - x) / 360.0).round();
        }
        let (x, y) = self.transform.invert(x, y)?;
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }

    /// As [`Geometry::locate`], for a place that is corrected first.
    pub(crate) fn locate_corrected(&self, correction: &Registration, row: f64, col: f64) -> Option<(f64, f64)> {
        let (row, col) = correction.apply(row, col);
        self.locate(row, col)
    }

    /// Grid coordinates (row, col) of a place in the raster.
    pub(crate) fn place(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (mut x, mut y) = self.transform.apply(x, y);
        if let Some((_, back)) = &self.projection {
            if self.middle_lon.is_some() {
                x -= 360.0 * ((x + 180.0) / 360.0).floor();
            }
            (x, y) = back.apply(x, y)?;
        }
        let (row, col) = self.grid.to_pixel(x, y);
        (row.is_finite() && col.is_finite()).then_some((row, col))
    }

    /// Derivative of raster coordinates by grid coordinates, `[[∂x/∂row, ∂x/∂col], [∂y/∂row, ∂y/∂col]]`, at the raster's
    /// middle (or, where the projection fails there, at the first of some other places). One for the whole scene, so
    /// that its pixels are resampled with one kernel.
    pub(crate) fn jacobian(&self) -> Option<[[f64; 2]; 2]> {
        const PLACES: [(f64, f64); 5] = [(0.5, 0.5), (0.25, 0.5), (0.75, 0.5), (0.5, 0.25), (0.5, 0.75)];
        PLACES.iter().find_map(|&(fx, fy)| {
            let (row, col) = self.place(f64::from(self.width) * fx, f64::from(self.height) * fy)?;
            let at = |dr: f64, dc: f64| self.locate(row + dr, col + dc);
            let (n, s, w, e) = (at(-8.0, 0.0)?, at(8.0, 0.0)?, at(0.0, -8.0)?, at(0.0, 8.0)?);
            let slopes = [[(s.0 - n.0) / 16.0, (e.0 - w.0) / 16.0], [(s.1 - n.1) / 16.0, (e.1 - w.1) / 16.0]];
            slopes.iter().flatten().all(|slope| slope.is_finite()).then_some(slopes)
        })
    }

    /// Full-resolution raster pixels per grid pixel along x and y.
    pub(crate) fn scale(&self) -> Option<[f64; 2]> {
        let length = |[by_row, by_col]: [f64; 2]| (by_row * by_row + by_col * by_col).sqrt();
        let scale = self.jacobian()?.map(length);
        // A scene whose pixels are the grid's but for rounding and a slight turn is not resampled for it.
        let scale = scale.map(|s| if (s - 1.0).abs() < 0.005 { 1.0 } else { (s * 4096.0).round() / 4096.0 });
        scale.iter().all(|&s| s > 0.0).then_some(scale)
    }

    /// The working pixels around a rectangle, estimated from its corners and the middles of its sides; `None` where one of them has
    /// no place, or they lie much farther apart than in the raster's middle (on both sides of its antimeridian).
    pub(crate) fn around(&self, correction: &Registration, sampling: &Sampling, rect: PixelRect) -> Option<Region> {
        /// Pixels that kernels and the bend of the sides may reach beyond.
        const REACH: f64 = 4.0;
        let middle = |from: i32, to: i32| f64::midpoint(from.into(), to.into());
        let rows = [rect.row0.into(), middle(rect.row0, rect.row1), rect.row1.into()];
        let cols = [rect.col0.into(), middle(rect.col0, rect.col1), rect.col1.into()];
        let (mut low, mut high) = ([f64::MAX; 2], [f64::MIN; 2]);
        for (row, col) in rows.into_iter().flat_map(|row| cols.map(|col| (row, col))) {
            let (x, y) = self.locate_corrected(correction, row, col)?;
            for (axis, place) in [x, y].into_iter().enumerate() {
                let place = place / sampling.ratio[axis];
                (low[axis], high[axis]) = (low[axis].min(place), high[axis].max(place));
            }
        }
        let (from, to) = (low.map(|low| (low - REACH).floor() as i64), high.map(|high| (high + REACH).ceil() as i64));
        let longest = rect.rows().max(rect.cols()) as f64 * sampling.step[0].max(sampling.step[1]);
        let is_near = [0, 1].iter().all(|&axis| high[axis] - low[axis] <= 2.0 * longest + 2.0 * REACH);
        is_near.then_some(Region { x0: from[0], y0: from[1], x1: to[0], y1: to[1] })
    }

    /// Where a working pixel of `sampling` ends: extent of the raster in 1/1024 working pixels.
    pub(crate) fn extent(&self, sampling: &Sampling) -> [i64; 2] {
        let extent = |size: u32, ratio: f64| (f64::from(size) / ratio * 1024.0).round() as i64;
        [extent(self.width, sampling.ratio[0]), extent(self.height, sampling.ratio[1])]
    }
}

impl Sampling {
    /// The coarsest level that is still finer than the grid, and an average over its pixels where it is finer by two
    /// and more. `levels` are (width, height), the full resolution first.
    pub(crate) fn choose(scale: [f64; 2], levels: &[(u32, u32)]) -> Self {
        let full = levels.first().copied().unwrap_or((1, 1));
        let mut best = (0, [1.0, 1.0]);
        for (index, &(width, height)) in levels.iter().enumerate().skip(1) {
            if width == 0 || height == 0 {
                continue;
            }
            let ratio = [f64::from(full.0) / f64::from(width), f64::from(full.1) / f64::from(height)];
            // One pixel more or less is how overviews of odd sizes are rounded; anything else is another picture.
            let skew = (ratio[0] - ratio[1]).abs() * f64::from(width.min(height));
            let is_overview = skew <= 2.0 * ratio[0].max(ratio[1]) && ratio[0] > 1.0 && ratio[1] > 1.0;
            let is_finer = ratio[0] <= scale[0] * 1.001 && ratio[1] <= scale[1] * 1.001;
            if is_overview && is_finer && ratio[0] > best.1[0] {
                best = (index, ratio);
            }
        }
        let (level, ratio) = best;
        let mut sampling = Self { level, average: [1, 1], ratio, step: [1.0, 1.0] };
        for axis in 0..2 {
            let step = scale[axis] / ratio[axis];
            let average = (step * 1.0005).floor().clamp(1.0, 65536.0);
            sampling.average[axis] = average as u32;
            sampling.ratio[axis] = ratio[axis] * average;
            sampling.step[axis] = step / average;
        }
        sampling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_just_finer_than_the_grid_is_read_and_what_is_left_is_averaged() {
        let levels = [(1000, 800), (500, 400), (250, 200), (125, 100)];
        let at = |scale: f64, levels: &[(u32, u32)]| Sampling::choose([scale, scale], levels);
        assert_eq!(at(1.0, &levels).level, 0);
        assert_eq!(at(0.5, &levels), Sampling { level: 0, average: [1, 1], ratio: [1.0, 1.0], step: [0.5, 0.5] });
        assert_eq!(at(1.9, &levels).level, 0);
        assert_eq!(at(2.0, &levels), Sampling { level: 1, average: [1, 1], ratio: [2.0, 2.0], step: [1.0, 1.0] });
        assert_eq!(at(3.0, &levels), Sampling { level: 1, average: [1, 1], ratio: [2.0, 2.0], step: [1.5, 1.5] });
        assert_eq!(at(40.0, &levels), Sampling { level: 3, average: [5, 5], ratio: [40.0, 40.0], step: [1.0, 1.0] });
        assert_eq!(at(7.0, &levels[..1]), Sampling { level: 0, average: [7, 7], ratio: [7.0, 7.0], step: [1.0, 1.0] });
        // A thumbnail of another shape is no overview.
        assert_eq!(at(4.0, &[(1000, 800), (100, 100)]).level, 0);
    }
}
