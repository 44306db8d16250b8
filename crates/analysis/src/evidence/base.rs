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
    let valid = state.map(|state| i16::from(state == PixelState::Valid));
    let [earlier, later] = [DateLooks::new(before, calibration, 0), DateLooks::new(after, calibration, 1)];
    BasePlanes {
        rect: state.rect(),
        is_whole: valid.data().iter().fold(true, |all, &valid| all & (valid == 1)),
        score: score_plane(before, after, state, calibration),
        before: date_planes(&earlier, &valid, &calibration.irmad.mean_before),
        after: date_planes(&later, &valid, &calibration.irmad.mean_after),
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
    let scorer = Scorer::new(&calibration.irmad);
    let threshold = calibration.threshold as f32;
    let limit = libm::expm1(calibration.threshold);
    let limit = limit * limit;
    let ln = Logarithm::new();
    let mut score = Plane::filled(rect, 0_i16);
    rows_mut(&mut score).for_each(|(row, out)| {
        let bands: Vec<&[f32]> =
            before.planes.iter().chain(&after.planes).map(|plane| plane.run(whole_row(rect, row))).collect();
        wide_kernel(ScoreRow { scorer: &scorer, threshold, limit, ln, bands, states: state.row(row), out });
    });
    score
}

/// A row of scores that is to be computed.
struct ScoreRow<'a> {
    scorer: &'a Scorer,
    threshold: f32,
    /// The score at the threshold.
    limit: f64,
    ln: Logarithm,
    bands: Vec<&'a [f32]>,
    states: &'a [PixelState],
    out: &'a mut [i16],
}

impl Kernel for ScoreRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { scorer, threshold, limit, ln, bands, states, out } = self;
        scorer.score_blocks(&bands, |pixels, scores| {
            let (out, states) = (&mut out[pixels.clone()], &states[pixels]);
            for (out, &t) in out.iter_mut().zip(scores) {
                *out = quantise((ln.of(1.0 + (t as f32).sqrt()) - threshold).clamp(-LIMIT, LIMIT));
            }
            // The sign is that of the exact comparison, not of the rounded difference, which is 0 or next to it where they differ.
            if out.iter().fold(false, |any, above| any | (-1..=1).contains(above)) {
                for (above, &t) in out.iter_mut().zip(scores) {
                    *above = if t > limit { (*above).max(1) } else { (*above).min(0) };
                }
            }
            for (out, &state) in out.iter_mut().zip(states) {
                *out = if state == PixelState::Valid { *out } else { 0 };
            }
        });
    }
}

/// How the pixels of one date look, against the pair's sample.
pub struct DateLooks<'a> {
    window: &'a SceneWindow,
    roles: BandRoles,
    bright: Standard,
    green: Standard,
}

impl<'a> DateLooks<'a> {
    /// Of the earlier (0) or the later (1) date.
    pub fn new(window: &'a SceneWindow, calibration: &Calibration, date: usize) -> Self {
        let statistics = &calibration.statistics;
        let quantiles = if date == 0 { &statistics.vegetation_before } else { &statistics.vegetation_after };
        Self {
            window,
            roles: BandRoles::of(&window.bands),
            bright: Standard::new(statistics.brightness_median[date], statistics.brightness_sd[date]),
            green: Standard::new(quantiles[2], (quantiles[4] - quantiles[1]) / QUARTILES_PER_SD),
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

    /// The bands' values in a run of pixels.
    fn values(&self, run: Run) -> Vec<&'a [f32]> {
        self.window.planes.iter().map(|plane| plane.run(run)).collect()
    }

    /// Brightness along a run, robust z.
    pub fn brightness(&self, run: Run, out: &mut [i16]) {
        let bands = self.values(run);
        let share = 1.0 / self.roles.bright.len().max(1) as f32;
        let bright: Vec<&[f32]> = self.roles.bright.iter().map(|&band| &bands[band][..out.len()]).collect();
        wide(|| {
            let mut sums = [0.0_f32; BLOCK];
            for (block, out) in out.chunks_mut(BLOCK).enumerate() {
                let sums = &mut sums[..out.len()];
                // The sum of none is −0.
                sums.fill(-0.0);
                for band in &bright {
                    let values = &band[block * BLOCK..];
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = quantise(self.bright.z(*sum * share));
                }
            }
        });
    }

    /// The vegetation index along a run, robust z and raw; 0 where there is none.
    pub fn vegetation(&self, run: Run, standardised: &mut [i16], raw: &mut [i16]) {
        if !self.has_colour() {
            standardised.fill(0);
            raw.fill(0);
            return;
        }
        let bands = self.values(run);
        wide_kernel(VegetationRow { looks: self, bands: &bands, standardised, raw });
    }
}

/// A row of vegetation indices that is to be computed.
struct VegetationRow<'a> {
    looks: &'a DateLooks<'a>,
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

fn keep_valid(out: &mut [i16], valid: &[i16]) {
    out.iter_mut().zip(valid).for_each(|(out, valid)| *out *= valid);
}

fn date_planes(looks: &DateLooks, valid: &Plane<i16>, means: &[f64]) -> DatePlanes {
    let rect = valid.rect();
    let plane = || Plane::filled(rect, 0_i16);
    let (mut brightness, mut vegetation, mut index, mut hue) = (plane(), plane(), plane(), plane());
    rows_mut(&mut brightness).for_each(|(row, out)| {
        looks.brightness(whole_row(rect, row), out);
        keep_valid(out, valid.row(row));
    });
    if looks.has_colour() {
        rows_mut(&mut vegetation).zip(rows_mut(&mut index)).for_each(|((row, out), (_, raw))| {
            looks.vegetation(whole_row(rect, row), out, raw);
            keep_valid(out, valid.row(row));
            keep_valid(raw, valid.row(row));
        });
        let find = |name: &str| looks.window.bands.iter().position(|band| band.as_str() == name);
        let relative = |band: usize| means.get(band).filter(|mean| **mean > 0.0).map(|mean| 1.0 / *mean as f32);
        // Green stands in for blue where a scene has none.
        if let (Some(blue), Some(red)) = (find("blue").or_else(|| find("green")), find("red"))
            && let (Some(per_blue), Some(per_red)) = (relative(blue), relative(red))
        {
            rows_mut(&mut hue).for_each(|(row, out)| {
                let bands = looks.values(whole_row(rect, row));
                let pixels = out.iter_mut().zip(valid.row(row)).zip(bands[blue].iter().zip(bands[red]));
                wide(|| {
                    pixels.for_each(|((out, &valid), (&blue, &red))| {
                        let (b, r) = (blue * per_blue, red * per_red);
                        let hue = if b + r > 0.0 { (b - r) / (b + r) } else { 0.0 };
                        *out = quantise((8.0 * hue).clamp(-LIMIT, LIMIT)) * valid;
                    });
                });
            });
        }
    }
    let gradient = gradient_plane(&brightness, valid);
    DatePlanes { brightness, vegetation, index, hue, gradient }
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
