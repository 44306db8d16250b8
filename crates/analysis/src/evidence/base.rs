//! What the windows of the evidence are taken over: per-pixel planes in fixed point, 1/256.

use std::ops::Range;

use rayon::prelude::*;
use survey::calibration::Calibration;
use survey::grid::PixelRect;
use survey::raster::{PixelState, Plane, SceneWindow};

use super::logarithm::ln;
use crate::bands::{BandRoles, Vegetation};
use crate::calibrate::Scorer;
use crate::detect::Detector;

/// Values are quantised to this part of one.
pub const UNIT: f32 = 256.0;

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

/// The planes of a pair. Only the default detector looks at hue and gradient: for others these are 0.
pub struct BasePlanes {
    /// What they cover.
    pub rect: PixelRect,
    /// Whether a pixel is valid on both dates: 1 or 0.
    pub valid: Plane<i16>,
    /// `ln(1 + √T) − threshold`.
    pub score: Plane<i16>,
    /// Earlier scene.
    pub before: DatePlanes,
    /// Later scene.
    pub after: DatePlanes,
    /// Both scenes have the bands for vegetation and hue.
    pub has_colour: bool,
}

impl BasePlanes {
    /// The values of `rows`, counted from the first.
    pub fn rows<'a>(&self, plane: &'a Plane<i16>, rows: &Range<usize>) -> &'a [i16] {
        let cols = self.rect.cols();
        &plane.data()[rows.start * cols..rows.end * cols]
    }
}

/// Quantises to 1/256, saturating.
#[must_use]
pub fn quantise(value: f32) -> i16 {
    // Truncation after a shift into the positive numbers rounds to nearest on every machine in one instruction.
    let shifted = (value * UNIT).clamp(-32767.0, 32767.0) + 32768.5;
    (shifted as i32 - 32768) as i16
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
    detector: Detector,
) -> BasePlanes {
    let rect = state.rect();
    let valid = state.map(|state| i16::from(state == PixelState::Valid));
    let statistics = &calibration.statistics;
    let planes_of = |window: &SceneWindow, date: usize| {
        let roles = BandRoles::of(&window.bands);
        let quantiles = if date == 0 { &statistics.vegetation_before } else { &statistics.vegetation_after };
        let means = if date == 0 { &calibration.irmad.mean_before } else { &calibration.irmad.mean_after };
        date_planes(
            window,
            &valid,
            &roles,
            &Standard::new(statistics.brightness_median[date], statistics.brightness_sd[date]),
            &Standard::new(quantiles[2], (quantiles[4] - quantiles[1]) / QUARTILES_PER_SD),
            means,
            detector,
        )
    };
    let has_colour = [before, after].iter().all(|window| BandRoles::of(&window.bands).vegetation != Vegetation::None);
    BasePlanes {
        rect,
        score: score_plane(before, after, &valid, calibration),
        before: planes_of(before, 0),
        after: planes_of(after, 1),
        valid,
        has_colour,
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

fn part<T: Copy>(plane: &Plane<T>, row: i32, rect: PixelRect) -> &[T] {
    let from = (rect.col0 - plane.rect().col0) as usize;
    &plane.row(row)[from..from + rect.cols()]
}

fn score_plane(before: &SceneWindow, after: &SceneWindow, valid: &Plane<i16>, calibration: &Calibration) -> Plane<i16> {
    let rect = valid.rect();
    let scorer = Scorer::new(&calibration.irmad);
    let threshold = calibration.threshold as f32;
    let limit = libm::expm1(calibration.threshold);
    let limit = limit * limit;
    let mut score = Plane::filled(rect, 0_i16);
    rows_mut(&mut score).for_each(|(row, out)| {
        let bands: Vec<&[f32]> =
            before.planes.iter().chain(&after.planes).map(|plane| part(plane, row, rect)).collect();
        let mut pixels = out.iter_mut().zip(valid.row(row));
        scorer.score_slices(&bands, |t| {
            let Some((out, valid)) = pixels.next() else { return };
            if *valid != 0 {
                let above = quantise((ln(1.0 + (t as f32).sqrt()) - threshold).clamp(-LIMIT, LIMIT));
                // The sign is that of the exact comparison, not of the rounded difference.
                *out = if t > limit { above.max(1) } else { above.min(0) };
            }
        });
    });
    score
}

fn date_planes(
    window: &SceneWindow,
    valid: &Plane<i16>,
    roles: &BandRoles,
    bright: &Standard,
    green: &Standard,
    means: &[f64],
    detector: Detector,
) -> DatePlanes {
    let rect = valid.rect();
    let plane = || Plane::filled(rect, 0_i16);
    let (mut brightness, mut vegetation, mut index, mut hue) = (plane(), plane(), plane(), plane());
    let share = 1.0 / roles.bright.len().max(1) as f32;
    let bands_at = |row: i32| -> Vec<&[f32]> { window.planes.iter().map(|plane| part(plane, row, rect)).collect() };
    rows_mut(&mut brightness).for_each(|(row, out)| {
        let bands = bands_at(row);
        for (col, (out, &valid)) in out.iter_mut().zip(valid.row(row)).enumerate() {
            let sum: f32 = roles.bright.iter().map(|&band| bands[band][col]).sum();
            *out = quantise(bright.z(sum * share)) * valid;
        }
    });
    if roles.vegetation != Vegetation::None {
        rows_mut(&mut vegetation).zip(rows_mut(&mut index)).for_each(|((row, out), (_, raw))| {
            let bands = bands_at(row);
            for (col, ((out, raw), &valid)) in out.iter_mut().zip(raw).zip(valid.row(row)).enumerate() {
                let index = roles.vegetation.index(|band| bands[band][col]);
                *out = quantise(green.z(index)) * valid;
                *raw = quantise(index) * valid;
            }
        });
        let find = |name: &str| window.bands.iter().position(|band| band.as_str() == name);
        let relative = |band: usize| means.get(band).filter(|mean| **mean > 0.0).map(|mean| 1.0 / *mean as f32);
        // Green stands in for blue where a scene has none.
        if detector == Detector::Default
            && let (Some(blue), Some(red)) = (find("blue").or_else(|| find("green")), find("red"))
            && let (Some(per_blue), Some(per_red)) = (relative(blue), relative(red))
        {
            rows_mut(&mut hue).for_each(|(row, out)| {
                let (blue, red) = (bands_at(row)[blue], bands_at(row)[red]);
                for (col, (out, &valid)) in out.iter_mut().zip(valid.row(row)).enumerate() {
                    let (b, r) = (blue[col] * per_blue, red[col] * per_red);
                    let hue = if b + r > 0.0 { (b - r) / (b + r) } else { 0.0 };
                    *out = quantise((8.0 * hue).clamp(-LIMIT, LIMIT)) * valid;
                }
            });
        }
    }
    let gradient = if detector == Detector::Default { gradient_plane(&brightness, valid) } else { plane() };
    DatePlanes { brightness, vegetation, index, hue, gradient }
}

/// Magnitude of the central differences; a neighbour that is not valid counts as the pixel itself.
fn gradient_plane(brightness: &Plane<i16>, valid: &Plane<i16>) -> Plane<i16> {
    let rect = brightness.rect();
    let mut gradient = Plane::filled(rect, 0_i16);
    rows_mut(&mut gradient).for_each(|(row, out)| {
        let (here, ok) = (brightness.row(row), valid.row(row));
        let beside =
            |other: i32| (other >= rect.row0 && other < rect.row1).then(|| (brightness.row(other), valid.row(other)));
        let (up, down) = (beside(row - 1), beside(row + 1));
        for col in 0..out.len() {
            if ok[col] == 0 {
                continue;
            }
            let centre = here[col];
            let vertical = |line: Option<(&[i16], &[i16])>| match line {
                Some((values, ok)) if ok[col] != 0 => values[col],
                _ => centre,
            };
            let horizontal = |at: Option<usize>| match at {
                Some(at) if at < here.len() && ok[at] != 0 => here[at],
                _ => centre,
            };
            let dy = f32::from(vertical(down)) - f32::from(vertical(up));
            let dx = f32::from(horizontal(Some(col + 1))) - f32::from(horizontal(col.checked_sub(1)));
            out[col] = ((dx * dx + dy * dy).sqrt() * 0.5 + 0.5) as i16;
        }
    });
    gradient
}
