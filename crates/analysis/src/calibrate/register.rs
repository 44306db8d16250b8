//! Where the later scene lies against the earlier one: tie points by phase correlation, then a robust affine.

use rayon::prelude::*;
use survey::calibration::Registration;
use survey::findings::Run;
use survey::grid::PixelRect;
use survey::raster::{PixelState, SceneWindow};

use super::CellSample;
use super::phase::{Correlator, WindowPair};
use crate::bands::BandRoles;

/// Side of a correlation window, px.
const WINDOW: i32 = 256;
/// Side of the windows of a sample too small for several large ones, px.
const SMALL_WINDOW: i32 = 128;
/// Tie points that a shift needs, and those that a linear part needs.
const LEAST_FOR_SHIFT: usize = 3;
const LEAST_FOR_AFFINE: usize = 12;
/// Tie points must be spread over this many pixels in both directions before a linear part is believed.
const LEAST_SPREAD: f64 = 1024.0;
/// Residual above which the tie points contradict each other and the scenes are compared as they lie, px.
const LARGEST_RESIDUAL: f64 = 1.5;
/// Tukey's biweight: 95 % efficiency.
const TUKEY: f64 = 4.685;
const ROUNDS: usize = 20;

/// A tie point: place in the earlier scene and what to add to it, px.
#[derive(Clone, Copy, Debug)]
struct Tie {
    row: f64,
    col: f64,
    shift: [f64; 2],
}

/// The correction of the later scene's place. Deterministic: windows in a fixed order, and iteratively reweighted least
/// squares (Tukey's biweight, start at the median) in place of random sampling.
///
/// With too few tie points it is the identity with `tie_points` 0; with ones that contradict each other it is the
/// identity with the residual that says so.
#[must_use]
pub fn register(samples: &[CellSample]) -> Registration {
    let mut cells: Vec<&CellSample> = samples.iter().collect();
    cells.sort_by_key(|sample| sample.before.rect());
    let mut ties = ties(&cells, WINDOW, WINDOW);
    if ties.len() < LEAST_FOR_SHIFT && cells.len() <= 4 {
        ties = self::ties(&cells, SMALL_WINDOW, SMALL_WINDOW / 2);
    }
    if ties.len() < LEAST_FOR_SHIFT {
        return Registration::default();
    }
    let bounds = cells.iter().map(|sample| sample.before.rect()).reduce(|a, b| a.union(&b));
    let centre = bounds.map_or((0, 0), |rect| (midpoint(rect.row0, rect.row1), midpoint(rect.col0, rect.col1)));
    let fit = robust_affine(&ties, (f64::from(centre.0), f64::from(centre.1)));
    let fixed = |value: f64, unit: f64| (value * unit).round().clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32;
    let mut registration = Registration {
        centre_row: centre.0,
        centre_col: centre.1,
        tie_points: fit.used as u32,
        residual: fixed(fit.residual, 1024.0),
        ..Registration::default()
    };
    if fit.used >= LEAST_FOR_SHIFT && fit.residual <= LARGEST_RESIDUAL {
        const LINEAR: f64 = (1_u64 << 30) as f64;
        registration.shift_row = fixed(fit.rows[0], 1024.0);
        registration.shift_col = fixed(fit.cols[0], 1024.0);
        registration.linear = [fit.rows[1], fit.rows[2], fit.cols[1], fit.cols[2]].map(|value| fixed(value, LINEAR));
    }
    registration
}

fn midpoint(from: i32, to: i32) -> i32 {
    ((i64::from(from) + i64::from(to)) / 2) as i32
}

fn ties(cells: &[&CellSample], side: i32, step: i32) -> Vec<Tie> {
    let correlator = Correlator::new(side as usize);
    let windows: Vec<(&CellSample, PixelRect)> = cells
        .iter()
        .flat_map(|&sample| {
            let rect = sample.before.rect();
            let starts = move |from: i32, to: i32| (from..=to - side).step_by(step.max(1) as usize);
            starts(rect.row0, rect.row1).flat_map(move |row0| {
                starts(rect.col0, rect.col1)
                    .map(move |col0| (sample, PixelRect { row0, col0, row1: row0 + side, col1: col0 + side }))
            })
        })
        .collect();
    windows
        .par_iter()
        .map(|(sample, rect)| {
            let (before, after) = (brightness(&sample.before, *rect), brightness(&sample.after, *rect));
            let shift = correlator.shift(&WindowPair { before: &before, after: &after })?;
            let half = f64::from(side) / 2.0;
            Some(Tie { row: f64::from(rect.row0) + half, col: f64::from(rect.col0) + half, shift: [shift.0, shift.1] })
        })
        .collect::<Vec<_>>()
        .into_iter()
        .flatten()
        .collect()
}

fn brightness(window: &SceneWindow, rect: PixelRect) -> Vec<f64> {
    let bright = BandRoles::of(&window.bands).bright;
    let mut values = vec![f64::NAN; rect.pixels()];
    let (Some(part), false) = (rect.intersection(&window.rect()), bright.is_empty()) else { return values };
    let mut space = Vec::new();
    for row in part.row0..part.row1 {
        let run = Run { row, col0: part.col0, col1: part.col1 };
        let bands = window.run(run, &mut space);
        let start = (row - rect.row0) as usize * rect.cols() + (part.col0 - rect.col0) as usize;
        for (at, (value, &state)) in values[start..].iter_mut().zip(window.state.run(run)).enumerate() {
            if state == PixelState::Valid {
                *value = bright.iter().map(|&band| f64::from(bands[band][at])).sum::<f64>() / bright.len() as f64;
            }
        }
    }
    values
}

struct Affine {
    rows: [f64; 3],
    cols: [f64; 3],
    residual: f64,
    used: usize,
}

fn robust_affine(ties: &[Tie], centre: (f64, f64)) -> Affine {
    let spread = |at: fn(&Tie) -> f64| {
        let (least, most) =
            ties.iter().map(at).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        most - least
    };
    let linear = ties.len() >= LEAST_FOR_AFFINE
        && spread(|tie| tie.row) >= LEAST_SPREAD
        && spread(|tie| tie.col) >= LEAST_SPREAD;
    let start = [0, 1].map(|axis| median(ties.iter().map(|tie| tie.shift[axis]).collect()));
    let mut model = [[start[0], 0.0, 0.0], [start[1], 0.0, 0.0]];
    let terms = |tie: &Tie| [1.0, tie.row - centre.0, tie.col - centre.1];
    let distances = |model: &[[f64; 3]; 2]| -> Vec<f64> {
        ties.iter()
            .map(|tie| {
                let terms = terms(tie);
                let off = [0, 1].map(|axis| {
                    tie.shift[axis] - model[axis].iter().zip(terms).map(|(value, term)| value * term).sum::<f64>()
                });
                (off[0] * off[0] + off[1] * off[1]).sqrt()
            })
            .collect()
    };
    for _ in 0..ROUNDS {
        let distances = distances(&model);
        let scale = (1.4826 * median(distances.clone())).max(0.02) * TUKEY;
        let weights: Vec<f64> = distances
            .iter()
            .map(|distance| {
                let u = distance / scale;
                if u < 1.0 { (1.0 - u * u) * (1.0 - u * u) } else { 0.0 }
            })
            .collect();
        for (axis, model) in model.iter_mut().enumerate() {
            if let Some(solved) = weighted_fit(ties, &weights, axis, linear, &terms) {
                *model = solved;
            }
        }
    }
    let distances = distances(&model);
    let residual = median(distances.clone());
    let limit = (1.4826 * residual).max(0.02) * TUKEY;
    let used = distances.iter().filter(|&&distance| distance < limit).count();
    Affine { rows: model[0], cols: model[1], residual, used }
}

/// Weighted least squares of one axis: the constant, or the constant and the linear part.
fn weighted_fit(
    ties: &[Tie],
    weights: &[f64],
    axis: usize,
    linear: bool,
    terms: &impl Fn(&Tie) -> [f64; 3],
) -> Option<[f64; 3]> {
    use super::linear::{Matrix, cholesky, solve_lower, solve_lower_transposed};
    let size = if linear { 3 } else { 1 };
    let sum = |i: usize, j: Option<usize>| -> f64 {
        ties.iter()
            .zip(weights)
            .map(|(tie, weight)| {
                let terms = terms(tie);
                weight * terms[i] * j.map_or(tie.shift[axis], |j| terms[j])
            })
            .sum()
    };
    let lower = cholesky(&Matrix::from_fn(size, size, |i, j| sum(i, Some(j))))?;
    let right = Matrix::from_fn(size, 1, |i, _| sum(i, None));
    let solution = solve_lower_transposed(&lower, &solve_lower(&lower, &right));
    let mut model = [0.0; 3];
    for (index, value) in model.iter_mut().take(size).enumerate() {
        *value = solution.at(index, 0);
    }
    Some(model)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
