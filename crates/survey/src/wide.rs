//! Loops over pixels, compiled for the widest registers that a machine has.
//!
//! The binary runs on any 64-bit processor; what stands inside [`wide`] is there several times, once for each kind of vector
//! register, and the machine's is taken at run time. That cannot show in a result: additions, products, quotients, square
//! roots, comparisons and conversions are those of IEEE 754 in registers of any width, and the compiler neither fuses two of
//! them nor changes their order.

/// Runs a short loop with the widest registers that this machine has. What it calls must be inlined into it to gain. To ask
/// costs a few nanoseconds, so a row of pixels is work enough.
#[inline]
pub fn wide<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

/// Work that is more than a short loop. Of a closure or a function, the compiler would make one of its own, which knows no
/// wide registers.
pub trait Kernel {
    /// What comes out.
    type Output;

    /// Does the work. To be marked `#[inline(always)]`, as all that it calls.
    fn run(self) -> Self::Output;
}

/// Runs a kernel with the widest registers that this machine has.
#[inline]
pub fn wide_kernel<K: Kernel>(kernel: K) -> K::Output {
    pulp::Arch::new().dispatch(Dispatched(kernel))
}

/// The integer part of a number from 0 to below 2²². The compiler has wide instructions for this, and none for `as i32`, which
/// must also say something of numbers that are too large and of those that are none (here: anything).
#[must_use]
#[inline(always)]
pub fn integer_part(value: f32) -> i32 {
    // From here on the last bit of a number is worth one, and its bits count up.
    const ONES: f32 = 8_388_608.0;
    let rounded = value + ONES;
    let is_above = rounded - ONES > value;
    (rounded.to_bits() as i32).wrapping_sub(ONES.to_bits() as i32).wrapping_sub(i32::from(is_above))
}

struct Dispatched<K>(K);

impl<K: Kernel> pulp::WithSimd for Dispatched<K> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> K::Output {
        self.0.run()
    }
}

#[cfg(test)]
mod tests {
    use super::{Kernel, integer_part, wide, wide_kernel};

    #[test]
    fn the_integer_part_is_that_of_a_conversion() {
        let around = |value: f32| [value.next_down(), value, value.next_up()];
        let steps =
            (0..65_536_u32).flat_map(|step| around(step as f32 / 2.0).into_iter().chain(around(step as f32 * 64.0)));
        for value in steps.filter(|value| *value >= 0.0) {
            assert_eq!(integer_part(value), value as i32, "{value}");
        }
    }

    /// Everything that the kernels are made of, on numbers whose roundings are many.
    struct Rounding<'a>(&'a [f32], &'a mut [f32]);

    impl Kernel for Rounding<'_> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            for (out, &value) in self.1.iter_mut().zip(self.0) {
                let double = f64::from(value) * 1.1 + f64::from(value).sqrt();
                *out = (value * 0.3 + 7.7) * value - double as f32 / (value + 0.1).max(0.5);
                *out += f32::from((*out).clamp(-300.0, 300.0) as i16);
            }
        }
    }

    #[test]
    fn registers_of_any_width_give_the_same_bits() {
        let values: Vec<f32> = (0..10_007_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e4).collect();
        let (mut narrow, mut broad) = (vec![0.0; values.len()], vec![0.0; values.len()]);
        Rounding(&values, &mut narrow).run();
        wide_kernel(Rounding(&values, &mut broad));
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&narrow), bits(&broad));
        let sum = |values: &[f32]| values.iter().fold(0.0_f32, |sum, value| sum + value);
        assert_eq!(sum(&narrow).to_bits(), wide(|| sum(&broad)).to_bits());
    }
}
