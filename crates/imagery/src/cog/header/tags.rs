//! TIFF's numbers, field types and values.

use bytes::Bytes;

use crate::cog::fault::{Checked, Fault};

/// Tags that are read (TIFF 6.0, GeoTIFF 1.1, GDAL's private ones).
pub(super) mod tag {
    pub(crate) const NEW_SUBFILE_TYPE: u16 = 254;
    pub(crate) const SUBFILE_TYPE: u16 = 255;
    pub(crate) const IMAGE_WIDTH: u16 = 256;
    pub(crate) const IMAGE_LENGTH: u16 = 257;
    pub(crate) const BITS_PER_SAMPLE: u16 = 258;
    pub(crate) const COMPRESSION: u16 = 259;
    pub(crate) const PHOTOMETRIC: u16 = 262;
    pub(crate) const FILL_ORDER: u16 = 266;
    pub(crate) const STRIP_OFFSETS: u16 = 273;
    pub(crate) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(crate) const ROWS_PER_STRIP: u16 = 278;
    pub(crate) const STRIP_BYTE_COUNTS: u16 = 279;
    pub(crate) const PLANAR_CONFIGURATION: u16 = 284;
    pub(crate) const PREDICTOR: u16 = 317;
    pub(crate) const TILE_WIDTH: u16 = 322;
    pub(crate) const TILE_LENGTH: u16 = 323;
    pub(crate) const TILE_OFFSETS: u16 = 324;
    pub(crate) const TILE_BYTE_COUNTS: u16 = 325;
    pub(crate) const EXTRA_SAMPLES: u16 = 338;
    pub(crate) const SAMPLE_FORMAT: u16 = 339;
    pub(crate) const JPEG_TABLES: u16 = 347;
    pub(crate) const MODEL_PIXEL_SCALE: u16 = 33550;
    pub(crate) const MODEL_TIEPOINT: u16 = 33922;
    pub(crate) const MODEL_TRANSFORMATION: u16 = 34264;
    pub(crate) const GEO_KEY_DIRECTORY: u16 = 34735;
    pub(crate) const GEO_DOUBLE_PARAMS: u16 = 34736;
    pub(crate) const GDAL_METADATA: u16 = 42112;
    pub(crate) const GDAL_NODATA: u16 = 42113;

    /// Whether the tag is one of the above; the values of others are never fetched.
    pub(crate) fn is_read(tag: u16) -> bool {
        matches!(
            tag,
            NEW_SUBFILE_TYPE..=COMPRESSION
                | PHOTOMETRIC
                | FILL_ORDER
                | STRIP_OFFSETS
                | SAMPLES_PER_PIXEL..=STRIP_BYTE_COUNTS
                | PLANAR_CONFIGURATION
                | PREDICTOR
                | TILE_WIDTH..=TILE_BYTE_COUNTS
                | EXTRA_SAMPLES
                | SAMPLE_FORMAT
                | JPEG_TABLES
                | MODEL_PIXEL_SCALE
                | MODEL_TIEPOINT
                | MODEL_TRANSFORMATION
                | GEO_KEY_DIRECTORY..=GEO_DOUBLE_PARAMS
                | GDAL_METADATA
                | GDAL_NODATA
        )
    }
}

/// Byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    /// `II`.
    Little,
    /// `MM`.
    Big,
}

impl ByteOrder {
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let field = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Self::Little { u16::from_le_bytes(field) } else { u16::from_be_bytes(field) })
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let field = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Self::Little { u32::from_le_bytes(field) } else { u32::from_be_bytes(field) })
    }

    pub(super) fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let field = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Self::Little { u64::from_le_bytes(field) } else { u64::from_be_bytes(field) })
    }
}

/// TIFF field types, as far as they hold anything that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldType {
    /// BYTE.
    Byte,
    /// ASCII.
    Ascii,
    /// SHORT.
    Short,
    /// LONG and IFD.
    Long,
    /// RATIONAL and SRATIONAL.
    Rational,
    /// SBYTE.
    SByte,
    /// UNDEFINED.
    Undefined,
    /// SSHORT.
    SShort,
    /// SLONG.
    SLong,
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double,
    /// LONG8 and IFD8.
    Long8,
    /// SLONG8.
    SLong8,
}

impl FieldType {
    pub(super) fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Byte,
            2 => Self::Ascii,
            3 => Self::Short,
            4 | 13 => Self::Long,
            5 | 10 => Self::Rational,
            6 => Self::SByte,
            7 => Self::Undefined,
            8 => Self::SShort,
            9 => Self::SLong,
            11 => Self::Float,
            12 => Self::Double,
            16 | 18 => Self::Long8,
            17 => Self::SLong8,
            _ => return None,
        })
    }

    /// Bytes of one value.
    pub(super) fn size(self) -> u64 {
        match self {
            Self::Byte | Self::Ascii | Self::SByte | Self::Undefined => 1,
            Self::Short | Self::SShort => 2,
            Self::Long | Self::SLong | Self::Float => 4,
            Self::Rational | Self::Double | Self::Long8 | Self::SLong8 => 8,
        }
    }
}

/// A tag's values.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) tag: u16,
    pub(super) field: FieldType,
    pub(super) order: ByteOrder,
    pub(super) bytes: Bytes,
}

impl Values {
    /// Unsigned integers.
    pub(super) fn integers(&self) -> Checked<Vec<u64>> {
        let (bytes, order) = (&self.bytes[..], self.order);
        let values = match self.field {
            FieldType::Byte | FieldType::Undefined => bytes.iter().map(|&value| u64::from(value)).collect(),
            FieldType::Short => bytes.chunks_exact(2).filter_map(|two| order.u16(two, 0)).map(u64::from).collect(),
            FieldType::Long => bytes.chunks_exact(4).filter_map(|four| order.u32(four, 0)).map(u64::from).collect(),
            FieldType::Long8 => bytes.chunks_exact(8).filter_map(|eight| order.u64(eight, 0)).collect(),
            _ => return Err(self.wrong_type("unsigned integers")),
        };
        Ok(values)
    }

    /// The first unsigned integer.
    pub(super) fn integer(&self) -> Checked<u64> {
        let none = || Fault::corrupt(format!("tag {} has no value", self.tag));
        self.integers()?.first().copied().ok_or_else(none)
    }

    /// Floating-point numbers.
    pub(super) fn doubles(&self) -> Checked<Vec<f64>> {
        let order = self.order;
        Ok(match self.field {
            FieldType::Double => {
                self.bytes.chunks_exact(8).filter_map(|eight| order.u64(eight, 0)).map(f64::from_bits).collect()
            }
            FieldType::Float => self
                .bytes
                .chunks_exact(4)
                .filter_map(|four| order.u32(four, 0))
                .map(|bits| f64::from(f32::from_bits(bits)))
                .collect(),
            _ => return Err(self.wrong_type("floating-point numbers")),
        })
    }

    /// Text up to the first NUL; invalid UTF-8 is replaced.
    pub(super) fn text(&self) -> Checked<String> {
        match self.field {
            FieldType::Ascii | FieldType::Byte | FieldType::Undefined => {
                let text = self.bytes.split(|&byte| byte == 0).next().unwrap_or_default();
                Ok(String::from_utf8_lossy(text).into_owned())
            }
            _ => Err(self.wrong_type("text")),
        }
    }

    fn wrong_type(&self, expected: &str) -> Fault {
        Fault::corrupt(format!("tag {} is of type {:?}, not {expected}", self.tag, self.field))
    }
}
