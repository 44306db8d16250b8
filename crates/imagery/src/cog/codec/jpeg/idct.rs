//! The inverse discrete cosine transform in whole numbers: 8 points by the method of Loeffler, Ligtenberg and Moschytz
//! (1989) with the precision of libjpeg's default, and 16 points for chroma of half the size.
//!
//! Taking a block's 8 × 8 coefficients as the lowest of 16 × 16 upsamples it in the frequency domain. IJG's libjpeg has
//! done so since version 7, and with it the GDAL that comes with rasterio.

use std::num::Wrapping;

/// Numbers wrap: a damaged stream may hold any coefficients.
type Number = Wrapping<i32>;

const fn number(value: i32) -> Number {
    Wrapping(value)
}

/// Fraction bits of the constants, and of what the first pass leaves.
const CONST_BITS: usize = 13;
const PASS1_BITS: usize = 2;

/// Output samples per input coefficient of one dimension.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// 8 points.
    Once,
    /// 16 points.
    Twice,
}

impl Scale {
    pub(super) fn points(self) -> usize {
        match self {
            Self::Once => 8,
            Self::Twice => 16,
        }
    }
}

/// Transforms 8 × 8 coefficients (row by row) and writes the samples into rows that are `stride` apart.
pub(super) fn inverse(coefficients: &[i32; 64], down: Scale, across: Scale, samples: &mut [u8], stride: usize) {
    let (rows, _) = coefficients.as_chunks::<8>();
    let rows: [[i32; 8]; 8] = rows.try_into().unwrap_or_default();
    let mut columns = [[number(0); 16]; 8];
    for (col, column) in columns.iter_mut().enumerate() {
        let input = rows.map(|row| number(row.get(col).copied().unwrap_or_default()));
        *column = transform(input, down, CONST_BITS - PASS1_BITS);
    }
    for (row, line) in samples.chunks_mut(stride).take(down.points()).enumerate() {
        let input = columns.map(|column| column.get(row).copied().unwrap_or_default());
        let output = transform(input, across, CONST_BITS + PASS1_BITS + 3);
        for (sample, value) in line.iter_mut().zip(output).take(across.points()) {
            *sample = u8::try_from(value.0.saturating_add(128).clamp(0, 255)).unwrap_or_default();
        }
    }
}

/// One dimension; the result is rounded half up and shifted right by `shift`.
fn transform(input: [Number; 8], scale: Scale, shift: usize) -> [Number; 16] {
    let half = number(1) << (shift - 1);
    let output = match scale {
        Scale::Once => eight(input),
        Scale::Twice => sixteen(input),
    };
    output.map(|value| (value + half) >> shift)
}

/// 8 points; the other 8 numbers are 0.
fn eight(input: [Number; 8]) -> [Number; 16] {
    let [in0, in1, in2, in3, in4, in5, in6, in7] = input;
    // Even part: rotation by 6/16 π. Constants are sums of √2 cos(kπ/16) in 13 fraction bits.
    let turned = (in2 + in6) * number(4433);
    let (low, high) = (turned - in6 * number(15137), turned + in2 * number(6270));
    let (sum, difference) = ((in0 + in4) << CONST_BITS, (in0 - in4) << CONST_BITS);
    let even = [sum + high, difference + low, difference - low, sum - high];
    // Odd part.
    let both = (in7 + in3 + in5 + in1) * number(9633);
    let (a, b) = ((in7 + in1) * number(7373), (in5 + in3) * number(20995));
    let (c, d) = (both - (in7 + in3) * number(16069), both - (in5 + in1) * number(3196));
    let odd = [
        in1 * number(12299) - a + d,
        in3 * number(25172) - b + c,
        in5 * number(16819) - b + d,
        in7 * number(2446) - a + c,
    ];
    let mut output = [number(0); 16];
    let (first, _) = output.split_at_mut(8);
    butterfly(&even, &odd, first);
    output
}

/// √2 cos(kπ/32) in 13 fraction bits, for k from 0 to 16.
const COSINES: [i32; 17] =
    [11585, 11529, 11363, 11086, 10703, 10217, 9633, 8956, 8192, 7350, 6436, 5461, 4433, 3363, 2260, 1136, 0];

/// √2 cos((2x + 1)uπ/32) in 13 fraction bits, for the first 8 points x and the coefficients u (1 for u = 0).
const KERNEL: [[i32; 8]; 8] = kernel();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, where an index that is out of bounds is an error"
)]
const fn kernel() -> [[i32; 8]; 8] {
    let mut kernel = [[1 << CONST_BITS; 8]; 8];
    let mut x = 0;
    while x < 8 {
        let mut u = 1;
        while u < 8 {
            let k = (2 * x + 1) * u % 64;
            let k = if k > 32 { 64 - k } else { k };
            kernel[x][u] = if k > 16 { -COSINES[32 - k] } else { COSINES[k] };
            u += 1;
        }
        x += 1;
    }
    kernel
}

/// 16 points, by definition.
fn sixteen(input: [Number; 8]) -> [Number; 16] {
    let sum = |row: &[i32; 8], parity: usize| {
        let terms = input.iter().zip(row).skip(parity).step_by(2);
        terms.fold(number(0), |sum, (&coefficient, &weight)| sum + coefficient * number(weight))
    };
    let even = KERNEL.each_ref().map(|row| sum(row, 0));
    let odd = KERNEL.each_ref().map(|row| sum(row, 1));
    let mut output = [number(0); 16];
    butterfly(&even, &odd, &mut output);
    output
}

/// Cosines of even order are symmetric about the middle, those of odd order antisymmetric.
fn butterfly(even: &[Number], odd: &[Number], output: &mut [Number]) {
    let (first, second) = output.split_at_mut(even.len());
    let ends = first.iter_mut().zip(second.iter_mut().rev());
    for ((left, right), (&even, &odd)) in ends.zip(even.iter().zip(odd)) {
        (*left, *right) = (even + odd, even - odd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T.81, A.3.3, in floating point, at `scale` times the size.
    fn definition(coefficients: &[i32; 64], x: usize, y: usize, across: usize, down: usize) -> f64 {
        let c = |k: usize| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
        let cosine = |x: usize, u: usize, points: usize| {
            ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / (2 * points) as f64).cos()
        };
        let terms = coefficients.iter().enumerate().map(|(index, &coefficient)| {
            let (v, u) = (index / 8, index % 8);
            c(u) * c(v) * f64::from(coefficient) * cosine(x, u, across) * cosine(y, v, down) / 4.0
        });
        (terms.sum::<f64>() + 128.0).clamp(0.0, 255.0)
    }

    #[test]
    fn a_block_is_within_one_level_of_the_definition() {
        let mut coefficients = [0; 64];
        for (index, coefficient) in coefficients.iter_mut().enumerate() {
            *coefficient = (index as i32 * 7919 % 61) - 30;
        }
        coefficients[0] = 200;
        for (down, across) in [(Scale::Once, Scale::Once), (Scale::Once, Scale::Twice), (Scale::Twice, Scale::Twice)] {
            let mut samples = [0_u8; 256];
            inverse(&coefficients, down, across, &mut samples, 16);
            for (y, x) in (0..down.points()).flat_map(|y| (0..across.points()).map(move |x| (y, x))) {
                let expected = definition(&coefficients, x, y, across.points(), down.points());
                assert!((f64::from(samples[y * 16 + x]) - expected).abs() < 1.0, "{x} {y}");
            }
        }
    }
}
