//! What the windows of the evidence are taken over: per-pixel planes in fixed point, 1/256.

use rayon::prelude::*;
use survey::calibration::Calibration;
use survey::findings::Run;
use survey::grid::PixelRect;
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::wide::{Kernel, integer_part, wide, wide_kernel};

use super::cover::Colours;
use super::logarithm::Logarithm;
use crate::bands::{BandRoles, Vegetation};
use crate::calibrate::Scorer;

/// Values are quantised to this part of one.
pub const UNIT: f32 = 256.0;

/// Pixels of a row that are computed together.
const BLOCK: usize = 256;
/// Of these, as many as a register holds.
const GROUP: usize = 16;

/// Largest magnitude of a standardised value.
const LIMIT: f32 = 8.0;

/// The planes of one date. Not valid pixels are 0.
pub struct DatePlanes {
    /// Brightness, robust z over the pair's sample.
    pub brightness: Plane<i16>,
    /// Vegetation index, robust z over the pair's sample.
    pub vegetation: Plane<i16>,
    /// Vegetation index, −1 to 1.
    pub index: Plane<i16>,
    /// Blue against red, each relative to its mean over what did not change: blue roofs above 0, soil and tiles below.
    pub hue: Plane<i16>,
    /// Magnitude of the gradient of `brightness`, per pixel.
    pub gradient: Plane<i16>,
}

/// A row of [`DatePlanes`], but the gradient.
struct DateRow<'a> {
    brightness: &'a mut [i16],
    vegetation: &'a mut [i16],
    index: &'a mut [i16],
    hue: &'a mut [i16],
}

impl DatePlanes {
    fn nothing(rect: PixelRect) -> Self {
        let plane = || Plane::filled(rect, 0_i16);
        let gradient = Plane::filled(PixelRect { row1: rect.row0, ..rect }, 0_i16);
        Self { brightness: plane(), vegetation: plane(), index: plane(), hue: plane(), gradient }
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = DateRow<'_>> {
        let cols = self.brightness.rect().cols().max(1);
        let [mut vegetation, mut index, mut hue] =
            [&mut self.vegetation, &mut self.index, &mut self.hue].map(|plane| plane.data_mut().chunks_mut(cols));
        self.brightness.data_mut().chunks_mut(cols).filter_map(move |brightness| {
            Some(DateRow { brightness, vegetation: vegetation.next()?, index: index.next()?, hue: hue.next()? })
        })
    }
}

/// The planes of a pair.
pub struct BasePlanes {
    /// What they cover.
    pub rect: PixelRect,
    /// Whether a pixel is valid on both dates: 1 or 0.
    pub valid: Plane<i16>,
    /// Whether all are.
    pub is_whole: bool,
    /// `ln(1 + √T) − threshold`.
    pub score: Plane<i16>,
    /// Earlier scene.
    pub before: DatePlanes,
    /// Later scene.
    pub after: DatePlanes,
    /// What the bands of both scenes can say.
    pub colours: Colours,
}

/// Quantises to 1/256, saturating.
#[must_use]
#[inline(always)]
pub fn quantise(value: f32) -> i16 {
    // The integer part after a shift into the positive numbers is the nearest integer.
    let shifted = (value * UNIT).clamp(-32767.0, 32767.0) + 32768.5;
    (integer_part(shifted) - 32768) as i16
}

struct Standard {
    centre: f32,
    inverse: f32,
}

impl Standard {
    fn new(centre: f64, sd: f64) -> Self {
        let inverse = if sd > 0.0 && sd.is_finite() { 1.0 / sd } else { 0.0 };
        Self { centre: centre as f32, inverse: inverse as f32 }
    }

    #[inline(always)]
    fn z(&self, value: f32) -> f32 {
        ((value - self.centre) * self.inverse).clamp(-LIMIT, LIMIT)
    }
}

/// Interquartile range of a normal distribution in standard deviations.
const QUARTILES_PER_SD: f64 = 1.349;

/// The planes of a pair over the rectangle of its windows; `state` says where both dates are valid.
#[must_use]
pub fn base_planes(
    before: &SceneWindow,
    after: &SceneWindow,
    state: &Plane<PixelState>,
    calibration: &Calibration,
) -> BasePlanes {
    let rect = state.rect();
    let valid = state.map(|state| i16::from(state == PixelState::Valid));
    let scores = Scores::new(calibration);
    let [earlier, later] = [DateLooks::new(before, calibration, 0), DateLooks::new(after, calibration, 1)];
    let mut score = Plane::filled(rect, 0_i16);
    let [mut of_before, mut of_after] = [DatePlanes::nothing(rect), DatePlanes::nothing(rect)];
    // All of a row at once: its values are in the nearest cache.
    let rows: Vec<_> = score
        .data_mut()
        .chunks_mut(rect.cols().max(1))
        .zip(of_before.rows_mut().zip(of_after.rows_mut()))
        .zip(rect.row0..)
        .collect();
    rows.into_par_iter().for_each_init(Default::default, |[before_space, after_space]: &mut [Vec<f32>; 2], row| {
        let ((score, (of_before, of_after)), row) = row;
        let run = whole_row(rect, row);
        let (before, after) = (before.run(run, before_space), after.run(run, after_space));
        earlier.row(&before, valid.row(row), of_before);
        later.row(&after, valid.row(row), of_after);
        scores.row(&[before, after].concat(), state.row(row), score);
    });
    for date in [&mut of_before, &mut of_after] {
        date.gradient = gradient_plane(&date.brightness, &valid);
    }
    BasePlanes {
        rect,
        is_whole: valid.data().iter().fold(true, |all, &valid| all & (valid == 1)),
        score,
        before: of_before,
        after: of_after,
        colours: Colours {
            is_normalised: earlier.is_normalised(),
            has_colour: earlier.has_colour() && later.has_colour(),
        },
        valid,
    }
}

/// Rows of a plane, in parallel.
fn rows_mut(plane: &mut Plane<i16>) -> impl IndexedParallelIterator<Item = (i32, &mut [i16])> {
    let rect = plane.rect();
    plane
        .data_mut()
        .par_chunks_mut(rect.cols().max(1))
        .enumerate()
        .map(move |(index, row)| (rect.row0 + index as i32, row))
}

/// The score over a rectangle in which `state` says where both dates are valid; 0 elsewhere.
pub fn score_plane(
    before: &SceneWindow,
    after: &SceneWindow,
    state: &Plane<PixelState>,
    calibration: &Calibration,
) -> Plane<i16> {
    let rect = state.rect();
    let scores = Scores::new(calibration);
    let mut score = Plane::filled(rect, 0_i16);
    rows_mut(&mut score).for_each_init(Default::default, |[of_before, of_after]: &mut [Vec<f32>; 2], (row, out)| {
        let run = whole_row(rect, row);
        let bands = [before.run(run, of_before), after.run(run, of_after)].concat();
        scores.row(&bands, state.row(row), out);
    });
    score
}

/// What the scores of a pair are computed with.
struct Scores {
    scorer: Scorer,
    threshold: f32,
    /// The score at the threshold.
    limit: f64,
    ln: Logarithm,
}

impl Scores {
    fn new(calibration: &Calibration) -> Self {
        let root = libm::expm1(calibration.threshold);
        Self {
            scorer: Scorer::new(&calibration.irmad),
            threshold: calibration.threshold as f32,
            limit: root * root,
            ln: Logarithm::new(),
        }
    }

    /// The scores of a row, of the values of the bands of both dates.
    fn row(&self, bands: &[&[f32]], states: &[PixelState], out: &mut [i16]) {
        wide_kernel(ScoreRow { of: self, bands, states, out });
    }
}

/// A row of scores that is to be computed.
struct ScoreRow<'a> {
    of: &'a Scores,
    bands: &'a [&'a [f32]],
    states: &'a [PixelState],
    out: &'a mut [i16],
}

impl Kernel for ScoreRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { of: &Scores { ref scorer, threshold, limit, ln }, bands, states, out } = self;
        if bands.is_empty() {
            return;
        }
        let mut scores = [0.0; BLOCK];
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            scorer.score_from(bands, block * BLOCK, &mut scores[..out.len()]);
            // Groups of one size, in arrays of their own: the compiler sees that nothing else can change them.
            let (groups, _) = scores.as_chunks::<GROUP>();
            for (out, group) in out.chunks_mut(GROUP).zip(groups) {
                let mut above: [i16; GROUP] =
                    group.map(|t| quantise((ln.of(1.0 + (t as f32).sqrt()) - threshold).clamp(-LIMIT, LIMIT)));
                // The sign is that of the exact comparison, not of the rounded difference, which is 0 or next to it where they
                // differ.
                if above.iter().fold(false, |any, above| any | (-1..=1).contains(above)) {
                    for (above, &t) in above.iter_mut().zip(group) {
                        *above = if t > limit { (*above).max(1) } else { (*above).min(0) };
                    }
                }
                match out.first_chunk_mut() {
                    Some(out) => *out = above,
                    None => out.copy_from_slice(&above[..out.len()]),
                }
            }
        }
        for (out, &state) in out.iter_mut().zip(states) {
            *out = if state == PixelState::Valid { *out } else { 0 };
        }
    }
}

/// How the pixels of one date look, against the pair's sample.
pub struct DateLooks {
    roles: BandRoles,
    bright: Standard,
    green: Standard,
    hue: Option<Hue>,
}

/// The bands of the hue, and what makes their values relative to their means over what did not change.
struct Hue {
    blue: (usize, f32),
    red: (usize, f32),
}

impl DateLooks {
    /// Of the earlier (0) or the later (1) date.
    pub fn new(window: &SceneWindow, calibration: &Calibration, date: usize) -> Self {
        let (statistics, irmad) = (&calibration.statistics, &calibration.irmad);
        let (quantiles, means) = match date {
            0 => (&statistics.vegetation_before, &irmad.mean_before),
            _ => (&statistics.vegetation_after, &irmad.mean_after),
        };
        let relative = |name: &str| {
            let band = window.bands.iter().position(|band| band.as_str() == name)?;
            Some((band, means.get(band).filter(|mean| **mean > 0.0).map(|mean| 1.0 / *mean as f32)))
        };
        // Green stands in for blue where a scene has none.
        let hue = relative("blue").or_else(|| relative("green")).zip(relative("red"));
        let hue = hue
            .and_then(|((blue, per_blue), (red, per_red))| Some(Hue { blue: (blue, per_blue?), red: (red, per_red?) }));
        Self {
            roles: BandRoles::of(&window.bands),
            bright: Standard::new(statistics.brightness_median[date], statistics.brightness_sd[date]),
            green: Standard::new(quantiles[2], (quantiles[4] - quantiles[1]) / QUARTILES_PER_SD),
            hue,
        }
    }

    /// Whether there is a vegetation index.
    pub fn has_colour(&self) -> bool {
        self.roles.vegetation != Vegetation::None
    }

    /// Whether the index is the normalised difference.
    pub fn is_normalised(&self) -> bool {
        matches!(self.roles.vegetation, Vegetation::Normalised { .. })
    }

    /// Brightness of pixels with these values by band, robust z.
    pub fn brightness(&self, bands: &[&[f32]], out: &mut [i16]) {
        wide_kernel(BrightnessRow { looks: self, bands, out });
    }

    /// The vegetation index of pixels with these values by band, robust z and raw; 0 where there is none.
    pub fn vegetation(&self, bands: &[&[f32]], standardised: &mut [i16], raw: &mut [i16]) {
        if !self.has_colour() {
            standardised.fill(0);
            raw.fill(0);
            return;
        }
        wide_kernel(VegetationRow { looks: self, bands, standardised, raw });
    }

    /// Blue against red.
    fn hue(&self, bands: &[&[f32]], out: &mut [i16]) {
        let Some(Hue { blue: (blue, per_blue), red: (red, per_red) }) = self.hue else { return };
        let pixels = out.iter_mut().zip(bands[blue].iter().zip(bands[red]));
        wide(|| {
            pixels.for_each(|(out, (&blue, &red))| {
                let (b, r) = (blue * per_blue, red * per_red);
                let hue = if b + r > 0.0 { (b - r) / (b + r) } else { 0.0 };
                *out = quantise((8.0 * hue).clamp(-LIMIT, LIMIT));
            });
        });
    }

    /// A row of each plane but the gradient.
    fn row(&self, bands: &[&[f32]], valid: &[i16], out: DateRow) {
        let DateRow { brightness, vegetation, index, hue } = out;
        self.brightness(bands, brightness);
        if self.has_colour() {
            self.vegetation(bands, vegetation, index);
            self.hue(bands, hue);
        }
        for out in [brightness, vegetation, index, hue] {
            out.iter_mut().zip(valid).for_each(|(out, valid)| *out *= valid);
        }
    }
}

/// A row of brightness that is to be computed.
struct BrightnessRow<'a> {
    looks: &'a DateLooks,
    bands: &'a [&'a [f32]],
    out: &'a mut [i16],
}

impl Kernel for BrightnessRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { looks, bands, out } = self;
        let share = 1.0 / looks.roles.bright.len().max(1) as f32;
        let mut sums = [0.0_f32; BLOCK];
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let sums = &mut sums[..out.len()];
            // The sum of none is −0.
            sums.fill(-0.0);
            for &band in &looks.roles.bright {
                let values = &bands[band][block * BLOCK..];
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += value;
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = quantise(looks.bright.z(*sum * share));
            }
        }
    }
}

/// A row of vegetation indices that is to be computed.
struct VegetationRow<'a> {
    looks: &'a DateLooks,
    bands: &'a [&'a [f32]],
    standardised: &'a mut [i16],
    raw: &'a mut [i16],
}

impl Kernel for VegetationRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { looks, bands, standardised, raw } = self;
        let put = |standardised: &mut i16, raw: &mut i16, index: f32| {
            *standardised = quantise(looks.green.z(index));
            *raw = quantise(index);
        };
        let vegetation = looks.roles.vegetation;
        if let Vegetation::Normalised { nir, red } = vegetation {
            for (((standardised, raw), &nir), &red) in standardised.iter_mut().zip(raw).zip(bands[nir]).zip(bands[red])
            {
                put(standardised, raw, Vegetation::normalised(nir, red));
            }
        } else {
            for (at, (standardised, raw)) in standardised.iter_mut().zip(raw).enumerate() {
                put(standardised, raw, vegetation.index(|band| bands[band][at]));
            }
        }
    }
}

/// The whole of a row of a rectangle.
pub fn whole_row(rect: PixelRect, row: i32) -> Run {
    Run { row, col0: rect.col0, col1: rect.col1 }
}

/// Magnitude of the central differences; a neighbour that is not valid counts as the pixel itself.
pub(super) fn gradient_plane(brightness: &Plane<i16>, valid: &Plane<i16>) -> Plane<i16> {
    let rect = brightness.rect();
    let mut gradient = Plane::filled(rect, 0_i16);
    rows_mut(&mut gradient).for_each(|(row, out)| {
        // Beyond the first and the last row there is the row itself.
        let line = |row: i32| {
            let row = row.clamp(rect.row0, rect.row1 - 1);
            [brightness.row(row), valid.row(row)]
        };
        wide_kernel(GradientRow { up: line(row - 1), here: line(row), down: line(row + 1), out });
    });
    gradient
}

/// A row of gradients that is to be computed, of rows of values and of whether they are valid.
struct GradientRow<'a> {
    up: [&'a [i16]; 2],
    here: [&'a [i16]; 2],
    down: [&'a [i16]; 2],
    out: &'a mut [i16],
}

impl Kernel for GradientRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { up: [up, up_valid], here: [here, valid], down: [down, down_valid], out } = self;
        let last = out.len().saturating_sub(1);
        let or = |centre: i16, value: i16, valid: i16| f32::from(if valid == 0 { centre } else { value });
        let magnitude = |dx: f32, dy: f32| integer_part((dx * dx + dy * dy).sqrt() * 0.5 + 0.5) as i16;
        for col in [0, last] {
            let Some(out) = out.get_mut(col) else { return };
            let (centre, left, right) = (here[col], col.saturating_sub(1), (col + 1).min(last));
            let dx = or(centre, here[right], valid[right]) - or(centre, here[left], valid[left]);
            let dy = or(centre, down[col], down_valid[col]) - or(centre, up[col], up_valid[col]);
            *out = magnitude(dx, dy) * valid[col];
        }
        // Slices of one length each, so that the compiler sees that no index is beyond them.
        let Some(inner) = last.checked_sub(1) else { return };
        let [up, up_valid, down, down_valid] = [up, up_valid, down, down_valid].map(|line| &line[1..][..inner]);
        let [left, left_valid, right, right_valid] =
            [&here[..inner], &valid[..inner], &here[2..][..inner], &valid[2..][..inner]];
        let (centre, valid, out) = (&here[1..][..inner], &valid[1..][..inner], &mut out[1..][..inner]);
        for col in 0..inner {
            let dx = or(centre[col], right[col], right_valid[col]) - or(centre[col], left[col], left_valid[col]);
            let dy = or(centre[col], down[col], down_valid[col]) - or(centre[col], up[col], up_valid[col]);
            out[col] = magnitude(dx, dy) * valid[col];
        }
    }
}
