//! The resampling kernel: cubic interpolation, widened to match point spread and to average areas where it shrinks.
//!
//! One kernel per axis does all of it, so that pixels are resampled once. It is Keys' cubic (a = −1/2) convolved with up
//! to two boxes:
//!
//! * Where the source is not finer than the grid there is no box: plain cubic interpolation.
//! * Where it is finer, the variance that the kernel adds is the one that turns the point spread of the finer sensor
//!   into that of a sensor of the grid's pixel size (`V = ¼(s² − 1)` source pixels², `s` = source pixels per grid pixel,
//!   a point spread having σ = ½ pixel: method.md, S0). From s = √1.5 on, one of the boxes is exactly one grid pixel wide:
//!   the area average.
//!
//! Why this family, and not a sampled Gaussian: Keys' cubic reproduces quadratics, so at every phase the weights sum to
//! one, have no first moment and have the second moment `V` exactly, without a normalisation that would depend on the
//! phase; and a box of one grid pixel makes the kernel's translates over the grid sum to one, so that the integral of an
//! impulse is kept. (Keys 1981; both are checked in the tests.)

/// Positions are rounded to this many parts of a source pixel.
pub(crate) const PHASES: usize = 1 << PHASE_BITS;

/// `log2` of [`PHASES`].
pub(crate) const PHASE_BITS: u32 = 10;

/// More taps than any kernel has: a step is below 2 (see `Sampling`), and then 2 + (2 + √5)/2 < 5 to both sides.
pub(crate) const MAX_TAPS: usize = 16;

/// Boxes that are narrower than this are left out: their variance would be below 10⁻⁷ px².
const MIN_BOX: f64 = 1e-3;

/// The weights of one axis by phase.
#[derive(Debug)]
pub(crate) struct Kernel {
    taps: usize,
    interpolating: bool,
    /// `PHASES × taps`.
    weights: Vec<f32>,
}

impl Kernel {
    /// The kernel for `step` source pixels per grid pixel, whose source pixels are averages of `ratio` pixels of the
    /// full resolution each (an overview, or pixels that were averaged on reading).
    pub(crate) fn new(step: f64, ratio: f64) -> Self {
        let (wide, narrow) = boxes(step, ratio);
        let half = ((2.0 + (wide + narrow) / 2.0 - 1e-9).ceil() as usize).min(MAX_TAPS / 2);
        let taps = 2 * half;
        let mut weights = Vec::with_capacity(PHASES * taps);
        for phase in 0..PHASES {
            let position = phase as f64 / PHASES as f64;
            for tap in 0..taps {
                let at = position - (tap as f64 - (half - 1) as f64);
                weights.push(value(at, wide, narrow) as f32);
            }
        }
        let at_zero = weights.iter().take(taps).enumerate();
        let interpolating =
            at_zero.fold(true, |all, (tap, &weight)| all && weight == if tap + 1 == half { 1.0 } else { 0.0 });
        Self { taps, interpolating, weights }
    }

    /// Taps: source pixels `first .. first + taps` with `first = ⌊position⌋ − before()`.
    #[inline]
    pub(crate) fn taps(&self) -> usize {
        self.taps
    }

    /// Taps before the pixel whose centre lies at or before the position.
    #[inline]
    pub(crate) fn before(&self) -> i64 {
        self.taps as i64 / 2 - 1
    }

    /// Whether a pixel at phase 0 is the source pixel itself.
    #[inline]
    pub(crate) fn is_interpolating(&self) -> bool {
        self.interpolating
    }

    /// The weights of a phase (`0..PHASES`).
    #[inline]
    pub(crate) fn weights(&self, phase: usize) -> &[f32] {
        let start = (phase % PHASES) * self.taps;
        &self.weights[start..start + self.taps]
    }
}

/// Widths of the two boxes.
fn boxes(step: f64, ratio: f64) -> (f64, f64) {
    // 12 × the variance, px² of the source as it is read: V of the full resolution, less the average's own
    // (ratio² − 1)/12, in pixels that are `ratio` as wide.
    let twelve_v = 3.0 * step * step - 1.0 - 2.0 / (ratio * ratio);
    if twelve_v <= MIN_BOX * MIN_BOX {
        (0.0, 0.0)
    } else if twelve_v <= step * step {
        (twelve_v.sqrt(), 0.0)
    } else {
        let narrow = (twelve_v - step * step).sqrt();
        (step, if narrow < MIN_BOX { 0.0 } else { narrow })
    }
}

/// The kernel's value at `x` source pixels from its centre.
fn value(x: f64, wide: f64, narrow: f64) -> f64 {
    if wide == 0.0 {
        keys(x)
    } else if narrow == 0.0 {
        (keys_integral(x + wide / 2.0) - keys_integral(x - wide / 2.0)) / wide
    } else {
        let (sum, difference) = ((wide + narrow) / 2.0, (wide - narrow) / 2.0);
        let inner = keys_double_integral(x + difference) + keys_double_integral(x - difference);
        let outer = keys_double_integral(x + sum) + keys_double_integral(x - sum);
        (outer - inner) / (wide * narrow)
    }
}

/// Keys' cubic with a = −1/2.
fn keys(x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// `∫₀ˣ keys`.
fn keys_integral(x: f64) -> f64 {
    let a = x.abs();
    let integral = if a <= 1.0 {
        ((0.375 * a - 5.0 / 6.0) * a * a + 1.0) * a
    } else if a < 2.0 {
        (((-0.125 * a + 5.0 / 6.0) * a - 2.0) * a + 2.0) * a - 1.0 / 6.0
    } else {
        0.5
    };
    if x < 0.0 { -integral } else { integral }
}

/// `∫₀ˣ keys_integral`.
fn keys_double_integral(x: f64) -> f64 {
    let a = x.abs();
    if a <= 1.0 {
        ((0.075 * a - 5.0 / 24.0) * a * a + 0.5) * a * a
    } else if a < 2.0 {
        ((((-0.025 * a + 5.0 / 24.0) * a - 2.0 / 3.0) * a + 1.0) * a - 1.0 / 6.0) * a + 1.0 / 60.0
    } else {
        0.5 * a - 7.0 / 60.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments of the weights about the position, by phase.
    fn moments(kernel: &Kernel, phase: usize) -> [f64; 3] {
        let position = phase as f64 / PHASES as f64;
        let mut sums = [0.0; 3];
        for (tap, &weight) in kernel.weights(phase).iter().enumerate() {
            let at = tap as f64 - kernel.before() as f64 - position;
            for (power, sum) in sums.iter_mut().enumerate() {
                *sum += f64::from(weight) * at.powi(power as i32);
            }
        }
        sums
    }

    #[test]
    fn at_every_phase_the_weights_sum_to_one_and_have_the_analytic_variance() {
        for (step, ratio) in [(0.4, 1.0), (1.0, 1.0), (1.1, 1.0), (1.5, 1.0), (1.99, 1.0), (1.0, 2.0), (1.67, 4.0)] {
            let kernel = Kernel::new(step, ratio);
            // What is left to add, from the point spreads: ¼(s² − 1) full-resolution pixels² in all.
            let whole = 0.25 * ((step * ratio).powi(2) - 1.0);
            let variance = ((whole - (ratio * ratio - 1.0) / 12.0) / (ratio * ratio)).max(0.0);
            for phase in [0, 1, 137, 512, 1023] {
                let [sum, mean, second] = moments(&kernel, phase);
                assert!((sum - 1.0).abs() < 1e-6, "{step} {ratio} {phase}: {sum}");
                assert!(mean.abs() < 2e-6, "{step} {ratio} {phase}: {mean}");
                assert!((second - variance).abs() < 1e-5, "{step} {ratio} {phase}: {second} != {variance}");
            }
        }
    }

    #[test]
    fn an_impulse_keeps_its_integral_when_shrinking() {
        // Over all grid pixels the weights of one source pixel sum to 1/step: the grid pixel's area in source pixels.
        for step in [1.0, 1.25, 1.5, 1.75, 1.9375] {
            let kernel = Kernel::new(step, 1.0);
            for source in [0_i64, 1, 2, 5] {
                let mut sum = 0.0;
                for pixel in -40_i64..40 {
                    let position = (pixel as f64 * step * 1024.0).round() as i64;
                    let (whole, phase) = (position.div_euclid(1024), position.rem_euclid(1024) as usize);
                    let tap = source - (whole - kernel.before());
                    if (0..kernel.taps() as i64).contains(&tap) {
                        sum += f64::from(kernel.weights(phase)[tap as usize]);
                    }
                }
                assert!((sum * step - 1.0).abs() < 1e-6, "step {step}, source pixel {source}: {}", sum * step);
            }
        }
    }

    #[test]
    fn at_phase_zero_without_shrinking_only_the_pixel_itself_counts() {
        assert_eq!(Kernel::new(1.0, 1.0).weights(0), [0.0, 1.0, 0.0, 0.0]);
    }
}
