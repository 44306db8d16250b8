//! Pixel values of a band.

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
}
