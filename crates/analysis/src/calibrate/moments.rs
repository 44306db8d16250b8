//! Weighted first and second moments of the bands of both scenes.

use survey::wide::{Kernel, wide_kernel};

use super::linear::Matrix;
use super::sample::{PairSample, SampleRow};

/// Weighted mean and covariance of all bands, the earlier scene's first.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Pixels.
    pub pixels: u64,
    /// Sum of the weights.
    pub weight: f64,
    /// Weighted mean by band.
    pub mean: Vec<f64>,
    /// Weighted covariance.
    pub covariance: Matrix,
}

/// Lanes of the inner sums: fixed, so that a sum has one order of additions on every machine.
const LANES: usize = 8;

struct Sums {
    pixels: u64,
    weight: f64,
    first: Vec<f64>,
    /// Upper triangle, row by row.
    second: Vec<f64>,
}

/// Moments under `weigh(row bands, weights)`, which fills one weight per pixel. Deviations are taken from the first
/// pixel's values, so that large digital numbers do not cancel.
#[must_use]
pub fn moments(sample: &PairSample, weigh: impl Fn(&[Vec<f32>], &mut Vec<f64>) + Sync) -> Moments {
    let size = sample.before_bands().len() + sample.after_bands().len();
    let first = sample.first_pixel().unwrap_or_else(|| vec![0.0; size]);
    let origin: Vec<f64> = first.into_iter().map(f64::from).collect();
    let partial = sample.by_strip(
        || Sums { pixels: 0, weight: 0.0, first: vec![0.0; size], second: vec![0.0; size * (size + 1) / 2] },
        |sums, row| {
            let count = row.cols.len();
            let mut weights = Vec::with_capacity(count);
            weigh(&row.bands, &mut weights);
            wide_kernel(AddRow { sums, row, weights: &weights, origin: &origin });
        },
    );
    let mut total = Sums { pixels: 0, weight: 0.0, first: vec![0.0; size], second: vec![0.0; size * (size + 1) / 2] };
    for part in &partial {
        total.pixels += part.pixels;
        total.weight += part.weight;
        add(&mut total.first, &part.first);
        add(&mut total.second, &part.second);
    }
    let weight = if total.weight > 0.0 { total.weight } else { 1.0 };
    let shift: Vec<f64> = total.first.iter().map(|sum| sum / weight).collect();
    let upper = |i: usize, j: usize| {
        let (i, j) = (i.min(j), i.max(j));
        total.second[i * size - i * (i + 1) / 2 + j] / weight - shift[i] * shift[j]
    };
    Moments {
        pixels: total.pixels,
        weight: total.weight,
        mean: shift.iter().zip(&origin).map(|(shift, origin)| shift + origin).collect(),
        covariance: Matrix::from_fn(size, size, upper),
    }
}

/// A row that is to be added.
struct AddRow<'a> {
    sums: &'a mut Sums,
    row: &'a SampleRow,
    weights: &'a [f64],
    origin: &'a [f64],
}

impl Kernel for AddRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { sums, row, weights, origin } = self;
        let centred: Vec<Vec<f64>> = row
            .bands
            .iter()
            .zip(origin)
            .map(|(band, &origin)| band.iter().map(|&value| f64::from(value) - origin).collect())
            .collect();
        let weighted: Vec<Vec<f64>> = centred
            .iter()
            .map(|band| band.iter().zip(weights).map(|(value, weight)| value * weight).collect())
            .collect();
        sums.pixels += row.cols.len() as u64;
        sums.weight += sum(weights);
        let mut at = 0;
        for (i, weighted) in weighted.iter().enumerate() {
            sums.first[i] += sum(weighted);
            for band in &centred[i..] {
                sums.second[at] += dot(weighted, band);
                at += 1;
            }
        }
    }
}

fn add(total: &mut [f64], part: &[f64]) {
    for (total, part) in total.iter_mut().zip(part) {
        *total += part;
    }
}

#[inline(always)]
fn sum(values: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f64>() + rest
}
