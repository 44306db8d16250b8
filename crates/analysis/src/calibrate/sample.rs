//! The pixels that statistics are taken from: valid in both scenes of a pair, in a fixed order.

use rayon::prelude::*;
use survey::findings::Run;
use survey::grid::PixelRect;
use survey::raster::{BandPlane, PixelState, Plane};
use survey::scene::BandName;

use super::CellSample;

/// Rows of one unit of work. Partial sums are kept per strip and added in the order of the strips, so that the number
/// of threads cannot show in a sum.
const STRIP_ROWS: i32 = 64;

/// Both scenes over the sampled cells, the bands in the order of the pair.
pub struct PairSample<'a> {
    strips: Vec<Strip<'a>>,
    /// Rows whose number on the grid is a multiple of this count.
    step: i32,
    before_bands: Vec<BandName>,
    after_bands: Vec<BandName>,
}

struct Strip<'a> {
    before: Vec<&'a BandPlane>,
    after: Vec<&'a BandPlane>,
    states: [&'a Plane<PixelState>; 2],
    rect: PixelRect,
}

/// The valid pixels of one row: `bands[k][i]` is band `k` (earlier scene's bands first) of the row's `i`-th pixel.
pub struct SampleRow {
    /// Row on the grid.
    pub row: i32,
    /// Columns on the grid.
    pub cols: Vec<i32>,
    /// Values by band.
    pub bands: Vec<Vec<f32>>,
}

impl<'a> PairSample<'a> {
    /// The sample of a pair. Cells are taken in row-major order, whatever the order of `samples`; windows whose bands
    /// are not those of the first are left out, as nothing can be compared there.
    #[must_use]
    pub fn new(samples: &'a [CellSample]) -> Self {
        let mut cells: Vec<&CellSample> = samples.iter().collect();
        cells.sort_by_key(|sample| sample.before.rect());
        let (before_bands, after_bands) =
            cells.first().map(|first| (first.before.bands.clone(), first.after.bands.clone())).unwrap_or_default();
        let mut strips = Vec::new();
        for sample in cells {
            if sample.before.bands != before_bands || sample.after.bands != after_bands {
                continue;
            }
            let Some(rect) = sample.before.rect().intersection(&sample.after.rect()) else { continue };
            let mut row0 = rect.row0;
            while row0 < rect.row1 {
                let row1 = ((row0.div_euclid(STRIP_ROWS) + 1) * STRIP_ROWS).min(rect.row1);
                strips.push(Strip {
                    before: sample.before.planes.iter().collect(),
                    after: sample.after.planes.iter().collect(),
                    states: [&sample.before.state, &sample.after.state],
                    rect: PixelRect { row0, row1, ..rect },
                });
                row0 = row1;
            }
        }
        Self { strips, step: 1, before_bands, after_bands }
    }

    /// The same, of which only every so many rows count: as many as hold about `most` pixels.
    #[must_use]
    pub fn thinned(self, most: u64) -> Self {
        let step = i32::try_from(self.pixels().div_ceil(most.max(1))).unwrap_or(i32::MAX);
        Self { step: self.step.saturating_mul(step.max(1)), ..self }
    }

    /// Bands of the earlier scene.
    #[must_use]
    pub fn before_bands(&self) -> &[BandName] {
        &self.before_bands
    }

    /// Bands of the later scene.
    #[must_use]
    pub fn after_bands(&self) -> &[BandName] {
        &self.after_bands
    }

    /// How many pixels it has.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        let count =
            |strip: &Strip| -> u64 { strip.rows(self.step).map(|row| strip.valid_cols(row).count() as u64).sum() };
        self.strips.par_iter().map(count).sum()
    }

    /// The values of its first pixel.
    #[must_use]
    pub fn first_pixel(&self) -> Option<Vec<f32>> {
        self.strips.iter().find_map(|strip| {
            let pixel = |row: i32| Some((row, strip.valid_cols(row).next()?));
            let (row, col) = strip.rows(self.step).find_map(pixel)?;
            let value = |plane: &&BandPlane| plane.run(Run { row, col0: col, col1: col + 1 }, &mut [0.0])[0];
            Some(strip.before.iter().chain(&strip.after).map(value).collect())
        })
    }

    /// One value per strip, in a fixed order, each made from the strip's rows in order. Strips run in parallel.
    pub fn by_strip<T: Send>(&self, start: impl Fn() -> T + Sync, take: impl Fn(&mut T, &SampleRow) + Sync) -> Vec<T> {
        let bands = self.before_bands.len() + self.after_bands.len();
        self.strips
            .par_iter()
            .map(|strip| {
                let mut value = start();
                let mut sample = SampleRow { row: 0, cols: Vec::new(), bands: vec![Vec::new(); bands] };
                for row in strip.rows(self.step) {
                    strip.gather(row, &mut sample);
                    take(&mut value, &sample);
                }
                value
            })
            .collect()
    }
}

impl Strip<'_> {
    /// The rows that are multiples of `step`.
    fn rows(&self, step: i32) -> impl Iterator<Item = i32> + use<> {
        let first = self.rect.row0 + (-self.rect.row0).rem_euclid(step);
        (first..self.rect.row1).step_by(step.unsigned_abs() as usize)
    }

    /// The columns of a row that are valid in both scenes.
    fn valid_cols(&self, row: i32) -> impl Iterator<Item = i32> {
        let run = Run { row, col0: self.rect.col0, col1: self.rect.col1 };
        let [before, after] = self.states.map(|plane| plane.run(run));
        let is_valid = |&(_, (&before, &after)): &(i32, (&PixelState, &PixelState))| {
            before == PixelState::Valid && after == PixelState::Valid
        };
        (run.col0..).zip(before.iter().zip(after)).filter(is_valid).map(|(col, _)| col)
    }

    fn gather(&self, row: i32, sample: &mut SampleRow) {
        sample.row = row;
        sample.cols.clear();
        sample.cols.extend(self.valid_cols(row));
        for (plane, values) in self.before.iter().chain(&self.after).zip(&mut sample.bands) {
            values.resize(self.rect.cols(), 0.0);
            plane.copy_to(Run { row, col0: self.rect.col0, col1: self.rect.col1 }, values);
            if sample.cols.len() < values.len() {
                for (to, &col) in sample.cols.iter().enumerate() {
                    values[to] = values[(col - self.rect.col0) as usize];
                }
                values.truncate(sample.cols.len());
            }
        }
    }
}
