//! The upper tail of the χ² distribution in closed form.

use core::f64::consts::PI;

use survey::wide::{Kernel, wide_kernel};

/// Numbers that are computed side by side.
const LANES: usize = 8;

/// `P(χ²_k > t)` for `k` degrees of freedom, for each `t`: the recurrence `Q(k + 2) = Q(k) + h^(k/2) e^(−h) / Γ(k/2 + 1)` with
/// `h = t / 2`, from `Q(1) = erfc(√h)` or `Q(2) = e^(−h)` (Abramowitz & Stegun 26.4.4, 26.4.5). What is not above 0 has the tail 1.
pub fn upper_tails(degrees: usize, scores: &mut [f64]) {
    wide_kernel(Tails { degrees, scores });
}

/// Scores whose tails are wanted in their place.
struct Tails<'a> {
    degrees: usize,
    scores: &'a mut [f64],
}

impl Kernel for Tails<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { degrees, scores } = self;
        let (whole, last) = scores.as_chunks_mut::<LANES>();
        whole.iter_mut().for_each(|scores| *scores = tails(degrees, *scores));
        if !last.is_empty() {
            let mut scores = [0.0; LANES];
            scores[..last.len()].copy_from_slice(last);
            last.copy_from_slice(&tails(degrees, scores)[..last.len()]);
        }
    }
}

#[inline(always)]
fn tails(degrees: usize, scores: [f64; LANES]) -> [f64; LANES] {
    if degrees == 0 {
        return [0.0; LANES];
    }
    let halves = scores.map(|t| if t > 0.0 { t / 2.0 } else { 0.0 });
    let decays = halves.map(decay);
    // The term of order 1/2 is √h e^(−h) / Γ(3/2).
    let (mut tails, mut terms, mut order): ([f64; LANES], [f64; LANES], f64) = if degrees % 2 == 1 {
        let term = |at: usize| decays[at] * halves[at].sqrt() * 2.0 / PI.sqrt();
        (halves.map(|half| libm::erfc(half.sqrt())), std::array::from_fn(term), 1.5)
    } else {
        (decays, std::array::from_fn(|at| decays[at] * halves[at]), 2.0)
    };
    let mut at = if degrees % 2 == 1 { 1 } else { 2 };
    while at < degrees {
        for ((tail, term), half) in tails.iter_mut().zip(&mut terms).zip(&halves) {
            *tail += *term;
            *term *= half / order;
        }
        order += 1.0;
        at += 2;
    }
    tails.map(|tail| if tail < 1.0 { tail } else { 1.0 })
}

/// Of the series of e^x, 1 / k!: up to ln 2 / 2, the next is 4e-18.
const TERMS: [f64; 14] = {
    let (mut terms, mut k) = ([1.0; 14], 1);
    while k < terms.len() {
        terms[k] = terms[k - 1] / k as f64;
        k += 1;
    }
    terms
};

/// `e^(−h)` for `h ≥ 0`, within 4e-16 of it and the same bits on every machine: a polynomial around the nearest multiple of
/// ln 2. 0 from h = 707 on, where it is below 1e-307.
#[inline(always)]
fn decay(h: f64) -> f64 {
    /// From here on the last bit of a number is worth one, and its bits count up.
    const ONES: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts, the first of which times a small integer is exact (fdlibm).
    const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
    const LARGEST: f64 = 707.0;
    let bounded = if h < LARGEST { h } else { LARGEST };
    let shifted = bounded * core::f64::consts::LOG2_E + ONES;
    let count = shifted - ONES;
    let rest = (count * LN_2[0] - bounded) + count * LN_2[1];
    let sum = TERMS.into_iter().rev().fold(0.0, |sum, term| sum * rest + term);
    let halvings = shifted.to_bits().wrapping_sub(ONES.to_bits());
    let power = f64::from_bits(1023_u64.wrapping_sub(halvings) << 52);
    if h < LARGEST { sum * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::{decay, upper_tails};

    fn upper_tail(degrees: usize, t: f64) -> f64 {
        let mut tail = [t];
        upper_tails(degrees, &mut tail);
        tail[0]
    }

    #[test]
    fn the_decay_is_the_exponential() {
        let mut worst = 0.0_f64;
        for step in 0..200_000 {
            let h = f64::from(step) * 0.003_517;
            let exact = libm::exp(-h);
            worst = worst.max((decay(h) / exact - 1.0).abs());
        }
        assert!(worst < 4e-16, "{worst:e}");
        assert_eq!((decay(0.0), decay(707.0), decay(f64::INFINITY)), (1.0, 0.0, 0.0));
    }

    #[test]
    fn tails_of_many_scores_are_those_of_each() {
        for degrees in [0, 1, 4, 7] {
            let scores: Vec<f64> = (0..27).map(|at| f64::from(at) * 1.7 - 3.0).chain([f64::NAN]).collect();
            let mut tails = scores.clone();
            upper_tails(degrees, &mut tails);
            for (t, tail) in scores.into_iter().zip(tails) {
                assert_eq!(upper_tail(degrees, t).to_bits(), tail.to_bits(), "chi2({degrees}) > {t}");
                assert!(tail == if degrees == 0 { 0.0 } else { 1.0 } || t > 0.0);
            }
        }
    }

    #[test]
    fn the_tail_agrees_with_scipy() {
        // scipy 1.17.1: scipy.stats.chi2.sf(t, k).
        let known = [
            (1, 1.0, 0.317_310_507_862_911_15),
            (2, 3.0, 0.223_130_160_148_429_82),
            (3, 0.5, 0.918_891_411_654_675_9),
            (3, 7.81, 0.050_106_056_350_005_89),
            (4, 13.3, 0.009_899_269_106_813_737),
            (6, 5.0, 0.543_813_115_883_332_7),
            (7, 30.0, 9.495_972_508_134_177e-05),
            (10, 40.0, 1.694_474_393_006_737e-05),
        ];
        for (degrees, t, expected) in known {
            let found = upper_tail(degrees, t);
            assert!((found - expected).abs() < 1e-6 * expected.max(1e-3), "chi2({degrees}) > {t}: {found} {expected}");
        }
    }

    #[test]
    fn the_tail_starts_at_one_falls_and_ends_at_nought() {
        for degrees in 1..=12 {
            assert_eq!(upper_tail(degrees, 0.0), 1.0);
            let tails: Vec<f64> = (0..4000).map(|step| upper_tail(degrees, f64::from(step) * 0.1)).collect();
            assert!(tails.is_sorted_by(|a, b| a >= b));
            assert!(upper_tail(degrees, 1e9) == 0.0);
        }
    }
}
