//! A natural logarithm from a table: the same bits on every machine, and fast enough for every pixel.

use std::sync::LazyLock;

const MANTISSA_BITS: u32 = 11;

static MANTISSAS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let count = 1_u32 << MANTISSA_BITS;
    (0..count).map(|index| libm::log1p((f64::from(index) + 0.5) / f64::from(count)) as f32).collect()
});

/// `ln(x)` for a normal positive `x`, to 2.5e-4; what is not positive counts as the smallest normal number.
#[must_use]
pub fn ln(x: f32) -> f32 {
    let bits = x.max(f32::MIN_POSITIVE).to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    let mantissa = (bits >> (23 - MANTISSA_BITS)) & ((1 << MANTISSA_BITS) - 1);
    exponent as f32 * core::f32::consts::LN_2 + MANTISSAS[mantissa as usize]
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
