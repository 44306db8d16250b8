//! From the decompressed bytes of a block to one vector of samples per band: predictor, byte order and interleaving.

use crate::cog::fault::{Checked, Fault};
use crate::cog::header::{ByteOrder, Layout, Predictor};
use crate::cog::samples::{Bounds, DataType, Extremes, Sample, Samples};

/// The unsigned integer that holds a sample's bits.
trait Bits: Copy + Default {
    const SIZE: usize;
    fn from_le(bytes: &[u8]) -> Self;
    fn from_be(bytes: &[u8]) -> Self;
    fn plus(self, other: Self) -> Self;
}

macro_rules! bits {
    ($($type:ty),*) => {$(
        impl Bits for $type {
            const SIZE: usize = size_of::<$type>();
            #[inline]
            fn from_le(bytes: &[u8]) -> Self {
                // Always as long as the type: the rows are cut into chunks of this size.
                bytes.first_chunk().map_or(0, |&bytes| Self::from_le_bytes(bytes))
            }
            #[inline]
            fn from_be(bytes: &[u8]) -> Self {
                bytes.first_chunk().map_or(0, |&bytes| Self::from_be_bytes(bytes))
            }
            #[inline]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
        }
    )*};
}
bits!(u8, u16, u32, u64);

/// The samples of a band, and between what they lie.
pub(crate) type Unpacked = (Samples, Option<Bounds>);

/// Cuts the samples of `rows × cols` pixels out of a block's bytes.
pub(super) fn unpack(layout: &Layout, raw: &[u8], rows: u32, cols: u32) -> Checked<Vec<Unpacked>> {
    let shape = Shape {
        rows: rows as usize,
        cols: cols as usize,
        bands: layout.bands_per_plane(),
        row_bytes: usize::try_from(layout.row_bytes()).map_err(|_| Fault::corrupt("a block is too large"))?,
        order: layout.order,
        predictor: layout.predictor,
    };
    let needed = shape.rows.saturating_mul(shape.row_bytes);
    if raw.len() < needed {
        return Err(Fault::corrupt(format!("it has {} bytes instead of {needed}", raw.len())));
    }
    Ok(match (layout.format.data_type, layout.format.bits) {
        (_, bits @ (1 | 2 | 4)) => shape.small(raw, bits),
        (DataType::U8, _) => shape.samples(raw, |bits: u8| bits, Samples::U8),
        (DataType::I8, _) => shape.samples(raw, u8::cast_signed, Samples::I8),
        (DataType::U16, _) => shape.samples(raw, |bits: u16| bits, Samples::U16),
        (DataType::I16, _) => shape.samples(raw, u16::cast_signed, Samples::I16),
        (DataType::U32, _) => shape.samples(raw, |bits: u32| bits, Samples::U32),
        (DataType::I32, _) => shape.samples(raw, u32::cast_signed, Samples::I32),
        (DataType::U64, _) => shape.samples(raw, |bits: u64| bits, Samples::U64),
        (DataType::I64, _) => shape.samples(raw, u64::cast_signed, Samples::I64),
        (DataType::F32, 16) => shape.samples(raw, half_to_single, Samples::F32),
        (DataType::F32, _) => shape.samples(raw, f32::from_bits, Samples::F32),
        (DataType::F64, _) => shape.samples(raw, f64::from_bits, Samples::F64),
    })
}

struct Shape {
    rows: usize,
    cols: usize,
    bands: usize,
    row_bytes: usize,
    order: ByteOrder,
    predictor: Predictor,
}

impl Shape {
    /// The samples of each band.
    fn samples<B: Bits, T: Sample + Default>(
        &self,
        raw: &[u8],
        value: impl Fn(B) -> T,
        wrap: impl Fn(Vec<T>) -> Samples,
    ) -> Vec<Unpacked> {
        // What is appended needs no memory that was cleared first; the lines of a row stay in the nearest cache meanwhile.
        let band = |_| (Vec::with_capacity(self.rows * self.cols), Extremes::new());
        let mut bands: Vec<(Vec<T>, Extremes<T>)> = (0..self.bands).map(band).collect();
        let mut lines: Vec<Vec<T>> = vec![vec![T::default(); self.cols]; self.bands];
        let mut sums = Vec::new();
        for row in raw.chunks_exact(self.row_bytes).take(self.rows) {
            match (self.predictor, self.order) {
                (Predictor::FloatingPoint, _) => {
                    sum_bytes(row, self.bands, &mut sums);
                    self.row_of_planes(&sums, &value, &mut lines);
                }
                (predictor, ByteOrder::Little) => self.row(row, predictor, B::from_le, &value, &mut lines),
                (predictor, ByteOrder::Big) => self.row(row, predictor, B::from_be, &value, &mut lines),
            }
            for ((band, extremes), line) in bands.iter_mut().zip(&lines) {
                band.extend_from_slice(line);
                extremes.take(line);
            }
        }
        bands.into_iter().map(|(samples, extremes)| (wrap(samples), extremes.bounds())).collect()
    }

    /// A row of interleaved samples. The usual numbers of bands are taken apart in one pass, in which the sums of the
    /// predictor run side by side.
    fn row<B: Bits, T>(
        &self,
        row: &[u8],
        predictor: Predictor,
        read: impl Fn(&[u8]) -> B,
        value: impl Fn(B) -> T,
        lines: &mut [Vec<T>],
    ) {
        let is_summed = predictor == Predictor::Horizontal;
        match lines {
            [a] => apart(row, is_summed, read, value, [a]),
            [a, b, c] => apart(row, is_summed, read, value, [a, b, c]),
            [a, b, c, d] => apart(row, is_summed, read, value, [a, b, c, d]),
            _ => {
                for (band, line) in lines.iter_mut().enumerate() {
                    let mut left = B::default();
                    for (pixel, out) in row.chunks_exact(self.bands * B::SIZE).zip(line.iter_mut()) {
                        let sample = read(pixel.get(band * B::SIZE..).unwrap_or_default());
                        left = if is_summed { left.plus(sample) } else { sample };
                        *out = value(left);
                    }
                }
            }
        }
    }

    /// A row whose bytes lie in planes, most significant first (predictor 3).
    fn row_of_planes<B: Bits, T>(&self, bytes: &[u8], value: impl Fn(B) -> T, lines: &mut [Vec<T>]) {
        let size = bytes.len() / B::SIZE;
        let plane = |index: usize| bytes.get(index * size..(index + 1) * size).unwrap_or_default();
        // Those that there are; of one type, their number is known to the compiler.
        let planes: [&[u8]; 8] = std::array::from_fn(plane);
        for (band, line) in lines.iter_mut().enumerate() {
            let mut at = band;
            for out in line.iter_mut() {
                let mut sample = [0_u8; 8];
                for (byte, plane) in sample.iter_mut().zip(planes).take(B::SIZE) {
                    *byte = plane.get(at).copied().unwrap_or_default();
                }
                *out = value(B::from_be(&sample));
                at += self.bands;
            }
        }
    }

    /// Samples of 1, 2 or 4 bits, most significant first; each row begins with a byte.
    fn small(&self, raw: &[u8], bits: u8) -> Vec<Unpacked> {
        let per_byte = usize::from(8 / bits);
        let mask = (1_u8 << bits) - 1;
        let mut bands: Vec<Vec<u8>> = (0..self.bands).map(|_| Vec::with_capacity(self.rows * self.cols)).collect();
        for row in raw.chunks_exact(self.row_bytes).take(self.rows) {
            for (band, samples) in bands.iter_mut().enumerate() {
                samples.extend((0..self.cols).map(|col| {
                    let index = col * self.bands + band;
                    let byte = row.get(index / per_byte).copied().unwrap_or_default();
                    let shift = 8 - usize::from(bits) * (index % per_byte + 1);
                    (byte >> shift) & mask
                }));
            }
        }
        let bounded = |samples: Vec<u8>| {
            let mut extremes = Extremes::new();
            extremes.take(&samples);
            (Samples::U8(samples), extremes.bounds())
        };
        bands.into_iter().map(bounded).collect()
    }
}

/// Takes a row of `N` interleaved bands apart; `is_summed` where each sample is stored as its difference to the one on
/// its left.
fn apart<B: Bits, T, const N: usize>(
    row: &[u8],
    is_summed: bool,
    read: impl Fn(&[u8]) -> B,
    value: impl Fn(B) -> T,
    lines: [&mut [T]; N],
) {
    let mut left = [B::default(); N];
    let mut lines = lines.map(|line| line.iter_mut());
    for pixel in row.chunks_exact(N * B::SIZE) {
        for ((left, sample), line) in left.iter_mut().zip(pixel.chunks_exact(B::SIZE)).zip(&mut lines) {
            let sample = read(sample);
            *left = if is_summed { left.plus(sample) } else { sample };
            let Some(out) = line.next() else { return };
            *out = value(*left);
        }
    }
}

/// Undoes the differences of bytes of predictor 3: each byte is relative to the one `stride` before it. The sums of the usual
/// numbers of bands run side by side in registers.
fn sum_bytes(row: &[u8], stride: usize, sums: &mut Vec<u8>) {
    fn run<const N: usize>(sums: &mut [u8]) {
        let mut left = [0_u8; N];
        for bytes in sums.chunks_mut(N) {
            for (left, byte) in left.iter_mut().zip(bytes) {
                *left = left.wrapping_add(*byte);
                *byte = *left;
            }
        }
    }
    sums.clear();
    sums.extend_from_slice(row);
    match stride {
        1 => run::<1>(sums),
        3 => run::<3>(sums),
        4 => run::<4>(sums),
        _ => {
            for index in stride..sums.len() {
                let left = sums.get(index - stride).copied().unwrap_or_default();
                if let Some(byte) = sums.get_mut(index) {
                    *byte = byte.wrapping_add(left);
                }
            }
        }
    }
}

/// IEEE 754 half precision, exactly.
fn half_to_single(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(half >> 10 & 0x1f), u32::from(half & 0x3ff));
    match exponent {
        0 => {
            // Subnormal: fraction × 2⁻²⁴, exact in single precision.
            let magnitude = fraction as f32 / 16_777_216.0;
            f32::from_bits(magnitude.to_bits() | sign)
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_summed_with_those_of_their_own_band() {
        let row: Vec<u8> = (0..23_u8).map(|at| at.wrapping_mul(37)).collect();
        for stride in 1..=5 {
            let mut sums = vec![7; 3];
            sum_bytes(&row, stride, &mut sums);
            for (index, &sum) in sums.iter().enumerate() {
                let own = row[..=index].iter().rev().step_by(stride);
                assert_eq!(sum, own.fold(0_u8, |sum, &byte| sum.wrapping_add(byte)), "{index}, {stride} bands");
            }
        }
    }

    #[test]
    fn half_precision_values_are_exact() {
        // IEEE 754-2008, table of binary16 examples.
        for (half, single) in [
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half_to_single(half), single, "{half:#06x}");
        }
        assert!(half_to_single(0x7e00).is_nan());
        assert!(half_to_single(0x8000).is_sign_negative());
    }

    #[test]
    fn small_samples_are_read_from_the_most_significant_bit() {
        let shape =
            Shape { rows: 2, cols: 3, bands: 1, row_bytes: 1, order: ByteOrder::Little, predictor: Predictor::None };
        let unpacked =
            |samples: [u8; 6], low: f64, high: f64| [(Samples::U8(samples.into()), Some(Bounds { low, high }))];
        assert_eq!(shape.small(&[0b1010_0000, 0b0110_0000], 1), unpacked([1, 0, 1, 0, 1, 1], 0.0, 1.0));
        assert_eq!(shape.small(&[0b1101_1000, 0b0001_1000], 2), unpacked([3, 1, 2, 0, 1, 2], 0.0, 3.0));
    }
}
