//! Pixel values of a band.

use survey::wide::{Kernel, wide_kernel};

/// The type of a raster's samples in memory. Files with 1, 2 or 4 bits per sample read as `U8`, half-precision floats
/// as `F32`, as in GDAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// Unsigned 8 bit.
    U8,
    /// Signed 8 bit.
    I8,
    /// Unsigned 16 bit.
    U16,
    /// Signed 16 bit.
    I16,
    /// Unsigned 32 bit.
    U32,
    /// Signed 32 bit.
    I32,
    /// Unsigned 64 bit.
    U64,
    /// Signed 64 bit.
    I64,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
}

impl DataType {
    /// Bytes per sample.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// Row-major samples of one band.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Unsigned 8 bit.
    U8(Vec<u8>),
    /// Signed 8 bit.
    I8(Vec<i8>),
    /// Unsigned 16 bit.
    U16(Vec<u16>),
    /// Signed 16 bit.
    I16(Vec<i16>),
    /// Unsigned 32 bit.
    U32(Vec<u32>),
    /// Signed 32 bit.
    I32(Vec<i32>),
    /// Unsigned 64 bit.
    U64(Vec<u64>),
    /// Signed 64 bit.
    I64(Vec<i64>),
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

/// The same expression for whichever vector `Samples` holds.
macro_rules! each {
    ($samples:expr, $vec:ident => $body:expr) => {
        match $samples {
            Samples::U8($vec) => $body,
            Samples::I8($vec) => $body,
            Samples::U16($vec) => $body,
            Samples::I16($vec) => $body,
            Samples::U32($vec) => $body,
            Samples::I32($vec) => $body,
            Samples::U64($vec) => $body,
            Samples::I64($vec) => $body,
            Samples::F32($vec) => $body,
            Samples::F64($vec) => $body,
        }
    };
}

pub(crate) use each;

impl Samples {
    /// `len` times `value`, brought to the type as GDAL does: rounded half away from zero and clamped; NaN is 0 in
    /// integers.
    #[must_use]
    pub fn filled(data_type: DataType, value: f64, len: usize) -> Self {
        let whole = value.round();
        // `as` between numbers saturates and takes NaN to 0: the conversion that is wanted.
        match data_type {
            DataType::U8 => Self::U8(vec![whole as u8; len]),
            DataType::I8 => Self::I8(vec![whole as i8; len]),
            DataType::U16 => Self::U16(vec![whole as u16; len]),
            DataType::I16 => Self::I16(vec![whole as i16; len]),
            DataType::U32 => Self::U32(vec![whole as u32; len]),
            DataType::I32 => Self::I32(vec![whole as i32; len]),
            DataType::U64 => Self::U64(vec![whole as u64; len]),
            DataType::I64 => Self::I64(vec![whole as i64; len]),
            DataType::F32 => Self::F32(vec![value as f32; len]),
            DataType::F64 => Self::F64(vec![value; len]),
        }
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match self {
            Self::U8(_) => DataType::U8,
            Self::I8(_) => DataType::I8,
            Self::U16(_) => DataType::U16,
            Self::I16(_) => DataType::I16,
            Self::U32(_) => DataType::U32,
            Self::I32(_) => DataType::I32,
            Self::U64(_) => DataType::U64,
            Self::I64(_) => DataType::I64,
            Self::F32(_) => DataType::F32,
            Self::F64(_) => DataType::F64,
        }
    }

    /// The sample at an index (64-bit integers beyond 2⁵³ are rounded).
    #[must_use]
    #[expect(clippy::unnecessary_cast, reason = "the same expression serves all types")]
    pub fn get(&self, index: usize) -> Option<f64> {
        each!(self, values => values.get(index).map(|&value| value as f64))
    }

    /// Bytes of memory that the samples take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len().saturating_mul(self.data_type().size())
    }

    /// The samples' bytes, little-endian.
    #[must_use]
    pub fn to_le_bytes(&self) -> Vec<u8> {
        each!(self, values => values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}

/// A sample type.
pub(crate) trait Sample: Copy + PartialOrd {
    /// Whether each sample is a finite `f32`.
    const IS_FINITE: bool;
    /// No sample is below.
    const LEAST: Self;
    /// No sample is above.
    const MOST: Self;
    /// The sample; a 64-bit integer beyond 2⁵³ is rounded.
    fn to_f64(self) -> f64;
    /// The same as `to_f64() as f32`, by the shortest way.
    fn to_f32(self) -> f32 {
        self.to_f64() as f32
    }
    /// The sample that a declared nodata value stands for, if there is one.
    fn of(value: f64) -> Option<Self>;
}

macro_rules! integer_sample {
    ($($type:ty $(, $exact:ident)?);*) => { $(
        impl Sample for $type {
            const IS_FINITE: bool = true;
            const LEAST: Self = Self::MIN;
            const MOST: Self = Self::MAX;
            fn to_f64(self) -> f64 {
                self as f64
            }
            $(fn to_f32(self) -> f32 {
                $exact::from(self)
            })?
            fn of(value: f64) -> Option<Self> {
                // `as` saturates; a value outside the type, or a fraction, comes back as another number.
                let sample = value as $type;
                (sample as f64 == value).then_some(sample)
            }
        }
    )* };
}

integer_sample!(u8, f32; i8, f32; u16, f32; i16, f32; u32; i32; u64; i64);

impl Sample for f32 {
    const IS_FINITE: bool = false;
    const LEAST: Self = Self::NEG_INFINITY;
    const MOST: Self = Self::INFINITY;
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn of(value: f64) -> Option<Self> {
        Some(value as Self)
    }
}

impl Sample for f64 {
    const IS_FINITE: bool = false;
    const LEAST: Self = Self::NEG_INFINITY;
    const MOST: Self = Self::INFINITY;
    fn to_f64(self) -> f64 {
        self
    }
    fn of(value: f64) -> Option<Self> {
        Some(value)
    }
}

/// Samples of a band, all of them finite, lie between these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

/// Samples that are looked at side by side.
const LANES: usize = 32;

/// Finds the [`Bounds`] of samples that come in parts.
pub(crate) struct Extremes<T> {
    low: [T; LANES],
    high: [T; LANES],
    is_finite: bool,
}

impl<T: Sample> Extremes<T> {
    /// Of none so far.
    pub(crate) fn new() -> Self {
        Self { low: [T::MOST; LANES], high: [T::LEAST; LANES], is_finite: true }
    }

    /// Takes more samples in.
    pub(crate) fn take(&mut self, samples: &[T]) {
        wide_kernel(Take { extremes: self, samples });
    }

    /// The bounds of what was taken, if all of it is finite.
    pub(crate) fn bounds(&self) -> Option<Bounds> {
        let ends = self.low.iter().zip(&self.high).map(|(low, high)| (low.to_f64(), high.to_f64()));
        let nothing = Bounds { low: f64::INFINITY, high: f64::NEG_INFINITY };
        let both = |all: Bounds, (low, high)| Bounds { low: all.low.min(low), high: all.high.max(high) };
        self.is_finite.then(|| ends.fold(nothing, both))
    }
}

/// Samples that are to be taken in.
struct Take<'a, T> {
    extremes: &'a mut Extremes<T>,
    samples: &'a [T],
}

impl<T: Sample> Kernel for Take<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { extremes: Extremes { low, high, is_finite }, samples } = self;
        if !T::IS_FINITE {
            *is_finite &= samples.iter().fold(true, |all, sample| all & sample.to_f64().is_finite());
        }
        let (mut lows, mut highs) = (*low, *high);
        let (chunks, rest) = samples.as_chunks::<LANES>();
        let mut take = |samples: &[T]| {
            for ((low, high), &sample) in lows.iter_mut().zip(&mut highs).zip(samples) {
                *low = if sample < *low { sample } else { *low };
                *high = if sample > *high { sample } else { *high };
            }
        };
        chunks.iter().for_each(|chunk| take(chunk));
        take(rest);
        (*low, *high) = (lows, highs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_value_is_rounded_and_clamped_like_in_gdal() {
        assert_eq!(Samples::filled(DataType::U8, -9999.0, 1), Samples::U8(vec![0]));
        assert_eq!(Samples::filled(DataType::I16, 2.5, 1), Samples::I16(vec![3]));
        assert_eq!(Samples::filled(DataType::U16, f64::NAN, 2), Samples::U16(vec![0, 0]));
        assert!(matches!(Samples::filled(DataType::F32, f64::NAN, 1), Samples::F32(v) if v[0].is_nan()));
    }

    #[test]
    fn bounds_are_the_smallest_and_the_largest_sample_and_none_where_one_is_not_finite() {
        fn bounds<T: Sample>(samples: &[T]) -> Option<Bounds> {
            // In parts, which must not show.
            let mut extremes = Extremes::new();
            samples.chunks(77).for_each(|part| extremes.take(part));
            extremes.bounds()
        }
        for count in [1_usize, 2, 31, 32, 33, 500] {
            let samples: Vec<i16> = (0..count).map(|at| ((at * 7919) % 3001) as i16 - 1500).collect();
            let [low, high] = [samples.iter().min(), samples.iter().max()].map(|end| f64::from(*end.unwrap()));
            assert_eq!(bounds(&samples), Some(Bounds { low, high }), "{count}");
            let mut floats: Vec<f32> = samples.iter().map(|&sample| f32::from(sample)).collect();
            assert_eq!(bounds(&floats), Some(Bounds { low, high }), "{count}");
            for value in [f32::NAN, f32::INFINITY] {
                floats[count / 2] = value;
                assert_eq!(bounds(&floats), None, "{count}");
            }
        }
        assert_eq!(bounds(&[u64::MAX, 0]), Some(Bounds { low: 0.0, high: 18_446_744_073_709_551_616.0 }));
    }
}
