//! A natural logarithm from a table: the same bits on every machine, and fast enough for every pixel.

use std::sync::LazyLock;

const MANTISSA_BITS: u32 = 11;

const ENTRIES: usize = 1 << MANTISSA_BITS;

static MANTISSAS: LazyLock<[f32; ENTRIES]> =
    LazyLock::new(|| std::array::from_fn(|index| libm::log1p((index as f64 + 0.5) / ENTRIES as f64) as f32));

/// The logarithm with its table at hand, for loops over pixels.
#[derive(Clone, Copy)]
pub struct Logarithm(&'static [f32; ENTRIES]);

impl Logarithm {
    /// Looks the table up.
    #[must_use]
    pub fn new() -> Self {
        Self(&MANTISSAS)
    }

    /// `ln(x)` for a normal positive `x`, to 2.5e-4; what is not positive counts as the smallest normal number.
    #[must_use]
    #[inline(always)]
    pub fn of(self, x: f32) -> f32 {
        let bits = x.max(f32::MIN_POSITIVE).to_bits();
        let exponent = (bits >> 23) as i32 - 127;
        let mantissa = (bits >> (23 - MANTISSA_BITS)) as usize % ENTRIES;
        exponent as f32 * core::f32::consts::LN_2 + self.0[mantissa]
    }
}

/// [`Logarithm::of`] a single number.
#[must_use]
pub fn ln(x: f32) -> f32 {
    Logarithm::new().of(x)
}

#[cfg(test)]
mod tests {
    use super::ln;

    #[test]
    fn the_table_agrees_with_the_logarithm() {
        let mut x = 1e-6_f32;
        while x < 1e9 {
            assert!((f64::from(ln(x)) - f64::from(x).ln()).abs() < 2.6e-4, "{x}");
            x *= 1.003;
        }
        assert!(ln(0.0) < -87.0 && ln(-1.0) < -87.0 && ln(f32::NAN) < -87.0);
    }
}
