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

/// Bands that are multiplied with one at a time.
const GROUP: usize = 4;

struct Sums {
    pixels: u64,
    weight: f64,
    first: Vec<f64>,
    /// Upper triangle, row by row.
    second: Vec<f64>,
    space: Space,
}

/// What a row needs on the way, by pixel, and by band after band.
#[derive(Default)]
struct Space {
    weights: Vec<f64>,
    centred: Vec<f64>,
    weighted: Vec<f64>,
}

impl Sums {
    fn of(size: usize) -> Self {
        let second = vec![0.0; size * (size + 1) / 2];
        Self { pixels: 0, weight: 0.0, first: vec![0.0; size], second, space: Space::default() }
    }
}

/// Moments under `weigh(row bands, weights)`, which says what each pixel weighs. Deviations are taken from the first
/// pixel's values, so that large digital numbers do not cancel.
#[must_use]
pub fn moments(sample: &PairSample, weigh: impl Fn(&[Vec<f32>], &mut [f64]) + Sync) -> Moments {
    let size = sample.before_bands().len() + sample.after_bands().len();
    let first = sample.first_pixel().unwrap_or_else(|| vec![0.0; size]);
    let origin: Vec<f64> = first.into_iter().map(f64::from).collect();
    let partial = sample.by_strip(
        || Sums::of(size),
        |sums, row| {
            sums.space.weights.resize(row.cols.len(), 0.0);
            weigh(&row.bands, &mut sums.space.weights);
            wide_kernel(AddRow { sums, row, origin: &origin });
        },
    );
    let mut total = Sums::of(size);
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

/// A row that is to be added, which has been weighed.
struct AddRow<'a> {
    sums: &'a mut Sums,
    row: &'a SampleRow,
    origin: &'a [f64],
}

impl Kernel for AddRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { sums: Sums { pixels, weight, first, second, space }, row, origin } = self;
        let Space { weights, centred, weighted } = space;
        let length = weights.len();
        *pixels += length as u64;
        *weight += sum(weights);
        if length == 0 {
            return;
        }
        for space in [&mut *centred, &mut *weighted] {
            space.resize(origin.len() * length, 0.0);
        }
        let rows = centred.chunks_exact_mut(length).zip(weighted.chunks_exact_mut(length));
        for ((band, &origin), (centred, weighted)) in row.bands.iter().zip(origin).zip(rows) {
            for (((centred, weighted), &value), weight) in centred.iter_mut().zip(weighted).zip(band).zip(&*weights) {
                *centred = f64::from(value) - origin;
                *weighted = *centred * weight;
            }
        }
        let mut second = second.iter_mut();
        for (i, (weighted, first)) in weighted.chunks_exact(length).zip(first).enumerate() {
            *first += sum(weighted);
            // Several at a time: each by itself would wait for its own last sum.
            let (groups, last) = centred[i * length..].split_at((origin.len() - i) / GROUP * GROUP * length);
            for group in groups.chunks_exact(GROUP * length) {
                let products = dots::<GROUP>(weighted, std::array::from_fn(|band| &group[band * length..][..length]));
                products.into_iter().zip(second.by_ref()).for_each(|(product, sum)| *sum += product);
            }
            for band in last.chunks_exact(length) {
                dots(weighted, [band]).into_iter().zip(second.by_ref()).for_each(|(product, sum)| *sum += product);
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

/// The products of `a` with some bands of the same length.
#[inline(always)]
fn dots<const N: usize>(a: &[f64], bands: [&[f64]; N]) -> [f64; N] {
    let mut lanes = [[0.0; LANES]; N];
    let (chunks, rest) = a.as_chunks::<LANES>();
    let parts = bands.map(|band| band.as_chunks::<LANES>());
    let rests = parts.map(|(_, band)| rest.iter().zip(band).map(|(a, b)| a * b).sum::<f64>());
    let bands = parts.map(|(band, _)| &band[..chunks.len()]);
    for (at, a) in chunks.iter().enumerate() {
        for (lanes, band) in lanes.iter_mut().zip(&bands) {
            for ((lane, a), b) in lanes.iter_mut().zip(a).zip(&band[at]) {
                *lane += a * b;
            }
        }
    }
    std::array::from_fn(|band| lanes[band].iter().sum::<f64>() + rests[band])
}
