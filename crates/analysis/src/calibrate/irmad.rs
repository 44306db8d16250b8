//! Iteratively reweighted multivariate alteration detection (Nielsen 2007).
//!
//! Canonical variates of the two scenes' bands; `T = Σ (aᵢᵀ(x − x̄) − bᵢᵀ(y − ȳ))² / var_i` is about χ² distributed where
//! nothing changed. Each round weighs pixels by how little they changed. Invariant to any invertible affine radiometry
//! of either scene, and the scenes may differ in number and kind of bands.

use survey::calibration::IrMad;
use survey::wide::{Kernel, wide_kernel};

use super::chi_squared::upper_tails;
use super::linear::{Matrix, cholesky, solve_lower, solve_lower_transposed, svd};
use super::moments::{Moments, moments};
use super::sample::PairSample;
use super::start::SteadyHalf;

/// How the rounds are run.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Reweighting rounds at most, after the first unweighted fit.
    pub max: u32,
    /// Smallest variance of a MAD variate: without it a perfectly correlated variate drowns the others.
    pub variance_floor: f64,
    /// Ridge on the covariances, as a share of their mean variance.
    pub ridge: f64,
    /// The mean weight at which a round is taken back; 0 never does.
    pub least_mean_weight: f64,
    /// The change of all correlations at which the rounds end; 0 never does.
    pub settled: f64,
}

impl Rounds {
    /// The defaults: measured in `docs/decisions/0004-threshold-and-evidence.md`.
    pub const DEFAULT: Self =
        Self { max: 3, variance_floor: 0.05, ridge: 1e-6, least_mean_weight: 0.15, settled: 1e-3 };
    /// What the compared pipelines do: three rounds, no floor but that of rounding (`ρ ≤ 1 − 1e-9`), no ridge.
    pub const PEERS: Self = Self { max: 3, variance_floor: 2e-9, ridge: 0.0, least_mean_weight: 0.0, settled: 0.0 };
}

/// A fit and how it ended.
pub struct Fit {
    /// The transform.
    pub irmad: IrMad,
    /// Pixels in the sample.
    pub pixels: u64,
    /// The mean weight fell below its limit, and the last round was taken back.
    pub collapsed: bool,
}

/// Fits the transform to a sample, all of whose pixels count alike at first.
#[must_use]
pub fn fit(sample: &PairSample, rounds: Rounds) -> Fit {
    fit_from(sample, rounds, None)
}

/// Fits the transform to a sample, of which only the pixels of `start` count at first.
#[must_use]
pub fn fit_from(sample: &PairSample, rounds: Rounds, start: Option<SteadyHalf>) -> Fit {
    let before = sample.before_bands().len();
    let start = moments(sample, |bands, weights| match &start {
        Some(half) => half.weigh(bands, weights),
        None => weights.fill(1.0),
    });
    let mut solutions = vec![solve(&start, before, rounds)];
    let mut collapsed = false;
    for round in 1..=rounds.max {
        let Some(last) = solutions.last() else { break };
        let scorer = Scorer::new(last);
        let degrees = last.rho.len();
        let weighted = moments(sample, |bands, weights| {
            scorer.score_row(bands, weights);
            upper_tails(degrees, weights);
        });
        if weighted.weight < rounds.least_mean_weight * weighted.pixels as f64 || weighted.weight <= 0.0 {
            collapsed = true;
            if solutions.len() > 1 {
                solutions.pop();
            }
            break;
        }
        let mut next = solve(&weighted, before, rounds);
        next.rounds = round;
        let moved = last.rho.iter().zip(&next.rho).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        solutions.push(next);
        if moved < rounds.settled {
            break;
        }
    }
    let irmad = solutions.pop().unwrap_or_else(|| solve(&start, before, rounds));
    Fit { irmad, pixels: start.pixels, collapsed }
}

/// Canonical correlation by whitening with Cholesky factors and a singular value decomposition, which keeps the sign of
/// `aᵀ Σxy b` positive.
fn solve(moments: &Moments, before: usize, rounds: Rounds) -> IrMad {
    let size = moments.mean.len();
    let after = size - before;
    let part = |row0: usize, col0: usize, rows: usize, cols: usize| {
        Matrix::from_fn(rows, cols, |row, col| moments.covariance.at(row0 + row, col0 + col))
    };
    let (sxx, syy, sxy) =
        (part(0, 0, before, before), part(before, before, after, after), part(0, before, before, after));
    let (lower_x, lower_y) = (factor(&sxx, rounds.ridge), factor(&syy, rounds.ridge));
    let (a, b, rho) = match (lower_x, lower_y) {
        (Some(lower_x), Some(lower_y)) => {
            let half = solve_lower(&lower_x, &sxy);
            let whitened = solve_lower(&lower_y, &half.transposed()).transposed();
            let parts = svd(&whitened);
            let a = solve_lower_transposed(&lower_x, &parts.u);
            let b = solve_lower_transposed(&lower_y, &parts.v);
            let columns = |matrix: &Matrix| (0..matrix.cols()).map(|col| matrix.column(col)).collect::<Vec<_>>();
            (columns(&a), columns(&b), parts.values)
        }
        // A scene without any variation says nothing about change: all scores are 0.
        _ => {
            let count = before.min(after);
            (vec![vec![0.0; before]; count], vec![vec![0.0; after]; count], vec![0.0; count])
        }
    };
    let rho: Vec<f64> = rho.iter().map(|&rho| rho.clamp(0.0, 1.0)).collect();
    IrMad {
        mean_before: moments.mean[..before].to_vec(),
        mean_after: moments.mean[before..].to_vec(),
        a,
        b,
        variance: rho.iter().map(|rho| (2.0 * (1.0 - rho)).max(rounds.variance_floor)).collect(),
        rho,
        rounds: 0,
    }
}

/// The Cholesky factor, with as little of a ridge beyond the configured one as a dependent band needs.
fn factor(covariance: &Matrix, ridge: f64) -> Option<Matrix> {
    let size = covariance.rows();
    let mean_variance = (0..size).map(|k| covariance.at(k, k)).sum::<f64>() / size.max(1) as f64;
    if !(mean_variance > 0.0 && mean_variance.is_finite()) {
        return None;
    }
    [ridge, 1e-9, 1e-6, 1e-3].into_iter().filter(|&candidate| candidate >= ridge).find_map(|ridge| {
        let added = ridge * mean_variance;
        cholesky(&Matrix::from_fn(size, size, |row, col| {
            covariance.at(row, col) + if row == col { added } else { 0.0 }
        }))
    })
}

/// Variates, and pixels of a row, that are computed together: as many as sixteen registers of 256 bits hold beside what they are
/// multiplied with.
const VARIATES: usize = 4;
const LANES: usize = 8;

/// The score `T` of pixels, with the transform laid out for it.
#[derive(Clone, Debug)]
pub struct Scorer {
    groups: Vec<Group>,
}

/// A few variates. Where there are fewer, the others weigh nothing.
#[derive(Clone, Debug)]
struct Group {
    /// By band of both scenes its weight in each variate, scaled by 1/√variance.
    weights: Vec<[f64; VARIATES]>,
    constants: [f64; VARIATES],
}

impl Scorer {
    /// Prepares a transform.
    #[must_use]
    pub fn new(irmad: &IrMad) -> Self {
        let variates: Vec<(Vec<f64>, f64)> = irmad
            .a
            .iter()
            .zip(&irmad.b)
            .zip(&irmad.variance)
            .map(|((a, b), variance)| {
                let scale = 1.0 / variance.sqrt();
                let weights: Vec<f64> = a.iter().map(|a| a * scale).chain(b.iter().map(|b| -b * scale)).collect();
                let means = irmad.mean_before.iter().chain(&irmad.mean_after);
                let constant = -weights.iter().zip(means).map(|(weight, mean)| weight * mean).sum::<f64>();
                (weights, constant)
            })
            .collect();
        let bands = variates.first().map_or(0, |(weights, _)| weights.len());
        let groups = variates
            .chunks(VARIATES)
            .map(|variates| {
                let mut group = Group { weights: vec![[0.0; VARIATES]; bands], constants: [0.0; VARIATES] };
                for (at, (weights, constant)) in variates.iter().enumerate() {
                    group.constants[at] = *constant;
                    group.weights.iter_mut().zip(weights).for_each(|(of_band, weight)| of_band[at] = *weight);
                }
                group
            })
            .collect();
        Self { groups }
    }

    /// The score of each pixel of a row, the earlier scene's bands first.
    pub fn score_row(&self, bands: &[Vec<f32>], scores: &mut [f64]) {
        let bands: Vec<&[f32]> = bands.iter().map(Vec::as_slice).collect();
        wide_kernel(RowOfScores { scorer: self, bands: &bands, scores });
    }

    /// The same for some pixels, from the `first` on: as many as there is room for in `scores`. To be called from a [`Kernel`].
    #[inline(always)]
    pub fn score_from(&self, bands: &[&[f32]], first: usize, scores: &mut [f64]) {
        let (whole, last) = scores.as_chunks_mut::<LANES>();
        let mut at = first;
        for scores in whole {
            *scores = [0.0; LANES];
            for group in &self.groups {
                group.add_squares(|band| bands.get(band)?.get(at..)?.first_chunk(), scores);
            }
            at += LANES;
        }
        if !last.is_empty() {
            let mut pixels = vec![[0.0; LANES]; bands.len()];
            for (pixels, band) in pixels.iter_mut().zip(bands) {
                let band = band.get(at..).unwrap_or_default();
                pixels.iter_mut().zip(band).for_each(|(pixel, &value)| *pixel = value);
            }
            let mut sums = [0.0; LANES];
            for group in &self.groups {
                group.add_squares(|band| pixels.get(band), &mut sums);
            }
            last.copy_from_slice(&sums[..last.len()]);
        }
    }
}

/// A row whose scores are wanted.
struct RowOfScores<'a> {
    scorer: &'a Scorer,
    bands: &'a [&'a [f32]],
    scores: &'a mut [f64],
}

impl Kernel for RowOfScores<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.scorer.score_from(self.bands, 0, self.scores);
    }
}

impl Group {
    /// Adds the squares of the variates of some pixels, of which each band is asked for once.
    #[inline(always)]
    fn add_squares<'a>(&self, band: impl Fn(usize) -> Option<&'a [f32; LANES]>, total: &mut [f64; LANES]) {
        let mut variates: [[f64; LANES]; VARIATES] = std::array::from_fn(|at| [self.constants[at]; LANES]);
        for (at, weights) in self.weights.iter().enumerate() {
            let Some(pixels) = band(at) else { continue };
            let values = pixels.map(f64::from);
            for (variate, weight) in variates.iter_mut().zip(weights) {
                for (variate, value) in variate.iter_mut().zip(&values) {
                    *variate += weight * value;
                }
            }
        }
        for variate in &variates {
            for (total, variate) in total.iter_mut().zip(variate) {
                *total += variate * variate;
            }
        }
    }
}
