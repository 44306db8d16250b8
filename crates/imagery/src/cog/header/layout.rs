//! How an image's pixels lie in the file.

use bytes::Bytes;

use crate::cog::fault::{Checked, Fault};
use crate::cog::header::ifd::Ifd;
use crate::cog::header::tags::{ByteOrder, Values, tag};
use crate::cog::limits::Limits;
use crate::cog::samples::DataType;

/// Uncompressed strips larger than this are read in pieces: their rows are independent of each other.
const STRIP_PIECE_BYTES: u64 = 1 << 20;

/// Compression of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// 1.
    None,
    /// 5.
    Lzw,
    /// 7.
    Jpeg,
    /// 8 and 32946.
    Deflate,
    /// 32773.
    PackBits,
    /// 50000.
    Zstd,
    /// 50001.
    WebP,
}

/// Prediction that the encoder subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Predictor {
    /// None.
    None,
    /// Difference to the sample on the left, modulo 2ⁿ.
    Horizontal,
    /// Bytes of floats in planes, then differences of bytes (Adobe TIFF technical note 3).
    FloatingPoint,
}

/// Meaning of samples, as far as it changes how they are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Photometric {
    /// Samples are what they are.
    Plain,
    /// JPEG in YCbCr, to be read as RGB.
    YCbCr,
}

/// A sample in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SampleFormat {
    /// Bits: 1, 2, 4, 8, 16, 32 or 64.
    pub(crate) bits: u8,
    /// Type in memory.
    pub(crate) data_type: DataType,
}

/// How the pixels of one IFD lie in the file.
///
/// # Invariant
/// All sizes are positive; `offsets` and `counts` have `across × down × planes` entries; a block's bytes, encoded in no
/// way and decoded, are within the limits and thus fit `usize`.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bands: usize,
    pub(crate) format: SampleFormat,
    pub(crate) block_width: u32,
    pub(crate) block_height: u32,
    pub(crate) across: u32,
    pub(crate) down: u32,
    /// Bands lie in planes of their own.
    pub(crate) planar: bool,
    pub(crate) tiled: bool,
    pub(crate) compression: Compression,
    pub(crate) predictor: Predictor,
    pub(crate) photometric: Photometric,
    /// Bits of each encoded byte are in reverse order.
    pub(crate) reversed_bits: bool,
    pub(crate) order: ByteOrder,
    pub(crate) jpeg_tables: Option<Bytes>,
    /// Index of the alpha band.
    pub(crate) alpha_band: Option<usize>,
    offsets: Vec<u64>,
    counts: Vec<u64>,
}

impl Layout {
    /// The layout that an IFD describes.
    pub(super) fn from_ifd(ifd: &Ifd, order: ByteOrder, limits: &Limits) -> Checked<Self> {
        let width = dimension(ifd.integer(tag::IMAGE_WIDTH, "ImageWidth")?, "width", limits)?;
        let height = dimension(ifd.integer(tag::IMAGE_LENGTH, "ImageLength")?, "height", limits)?;
        let bands = ifd.integer_or(tag::SAMPLES_PER_PIXEL, 1)?;
        if bands == 0 || bands > limits.bands {
            return Err(Fault::corrupt(format!("{bands} bands, not 1 to {}", limits.bands)));
        }
        let bands = usize::try_from(bands).map_err(|_| Fault::corrupt("too many bands"))?;
        let compression = compression(ifd.integer_or(tag::COMPRESSION, 1)?)?;
        let format = sample_format(ifd, bands)?;
        let planar = match ifd.integer_or(tag::PLANAR_CONFIGURATION, 1)? {
            1 => false,
            2 => bands > 1,
            other => return Err(Fault::corrupt(format!("PlanarConfiguration is {other}, not 1 or 2"))),
        };
        let code = ifd.integer_or(tag::PHOTOMETRIC, 1)?;
        let photometric = photometric(code, compression, planar, bands)?;
        let predictor = predictor(ifd, compression, format)?;
        let reversed_bits = match ifd.integer_or(tag::FILL_ORDER, 1)? {
            1 => false,
            // libtiff reverses the bits of what a codec reads, but not for JPEG.
            2 if compression == Compression::WebP => return Err(Fault::unsupported("WebP with FillOrder 2")),
            2 => compression != Compression::Jpeg,
            other => return Err(Fault::corrupt(format!("FillOrder is {other}, not 1 or 2"))),
        };
        if matches!(compression, Compression::Jpeg | Compression::WebP) && format.bits != 8 {
            return Err(Fault::unsupported(format!("{compression:?} with {} bits per sample", format.bits)));
        }

        let tiled = ifd.get(tag::TILE_WIDTH).is_some();
        let (block_width, block_height) = if tiled {
            (
                dimension(ifd.integer(tag::TILE_WIDTH, "TileWidth")?, "tile width", limits)?,
                dimension(ifd.integer(tag::TILE_LENGTH, "TileLength")?, "tile height", limits)?,
            )
        } else {
            // 2³² − 1, the default, means one strip.
            let rows = ifd.integer_or(tag::ROWS_PER_STRIP, u64::from(u32::MAX))?.min(height.into());
            (width, dimension(rows, "rows per strip", limits)?)
        };
        let mut layout = Self {
            width,
            height,
            bands,
            format,
            block_width,
            block_height,
            across: width.div_ceil(block_width),
            down: height.div_ceil(block_height),
            planar,
            tiled,
            compression,
            predictor,
            photometric,
            reversed_bits,
            order,
            jpeg_tables: ifd.get(tag::JPEG_TABLES).map(|values| values.bytes.clone()),
            alpha_band: alpha_band(ifd, bands)?,
            offsets: Vec::new(),
            counts: Vec::new(),
        };
        layout.place_blocks(ifd, limits)?;
        Ok(layout)
    }

    /// Bands that lie together in a block.
    pub(crate) fn bands_per_plane(&self) -> usize {
        if self.planar { 1 } else { self.bands }
    }

    /// Planes of the image.
    pub(crate) fn planes(&self) -> usize {
        if self.planar { self.bands } else { 1 }
    }

    /// Bytes of a row of a block, decoded, as it lies in the file.
    pub(crate) fn row_bytes(&self) -> u64 {
        let bits = u64::from(self.block_width).saturating_mul(self.bands_per_plane() as u64);
        bits.saturating_mul(self.format.bits.into()).div_ceil(8)
    }

    /// Rows that the encoder put into a block of the given row of blocks: all of them for tiles, what is left of the
    /// image for strips.
    pub(crate) fn stored_rows(&self, block_row: u32) -> u32 {
        if self.tiled { self.block_height } else { self.rows(block_row) }
    }

    /// Rows of the image in a row of blocks.
    pub(crate) fn rows(&self, block_row: u32) -> u32 {
        self.height.saturating_sub(block_row.saturating_mul(self.block_height)).min(self.block_height)
    }

    /// Columns of the image in a column of blocks.
    pub(crate) fn cols(&self, block_col: u32) -> u32 {
        self.width.saturating_sub(block_col.saturating_mul(self.block_width)).min(self.block_width)
    }

    /// First byte and number of bytes of a block; `None` for a sparse one.
    pub(crate) fn place(&self, row: u32, col: u32, plane: usize) -> Option<(u64, u64)> {
        let per_plane = u64::from(self.across) * u64::from(self.down);
        let index = plane as u64 * per_plane + u64::from(row) * u64::from(self.across) + u64::from(col);
        let index = usize::try_from(index).ok()?;
        let (&offset, &count) = (self.offsets.get(index)?, self.counts.get(index)?);
        (count != 0).then_some((offset, count))
    }

    /// Reads the offsets and counts, and checks them against the grid of blocks.
    fn place_blocks(&mut self, ifd: &Ifd, limits: &Limits) -> Checked<()> {
        let grid = u64::from(self.across).saturating_mul(self.down.into());
        let blocks = grid.saturating_mul(self.planes() as u64);
        if blocks > limits.blocks {
            return Err(Fault::corrupt(format!("{blocks} blocks, more than the {} that are allowed", limits.blocks)));
        }
        let (offsets, counts) = if self.tiled {
            (tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS)
        } else {
            (tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS)
        };
        self.offsets = block_numbers(ifd.get(offsets), offsets, blocks)?;
        self.counts = match ifd.get(counts) {
            // Without counts, blocks that are not compressed have the size they must have.
            None if self.compression == Compression::None => {
                let rows = (0..self.down).map(|row| self.row_bytes().saturating_mul(self.stored_rows(row).into()));
                let plane = rows.flat_map(|bytes| std::iter::repeat_n(bytes, self.across as usize));
                let plane: Vec<u64> = plane.collect();
                plane.repeat(self.planes())
            }
            counts_there => block_numbers(counts_there, counts, blocks)?,
        };
        self.split_strips(limits)?;

        let pixels = u64::from(self.block_width) * u64::from(self.block_height);
        let samples = pixels.saturating_mul(self.bands as u64).saturating_mul(self.format.data_type.size() as u64);
        let stored = self.row_bytes().saturating_mul(self.block_height.into());
        let bytes = samples.max(stored);
        if bytes > limits.block_bytes {
            return Err(Fault::corrupt(format!(
                "a block of {} x {} pixels and {} bands takes {bytes} bytes, more than the {} that are allowed",
                self.block_width, self.block_height, self.bands, limits.block_bytes
            )));
        }
        Ok(())
    }

    /// Cuts large uncompressed strips into pieces of whole rows, as libtiff does.
    fn split_strips(&mut self, limits: &Limits) -> Checked<()> {
        let row_bytes = self.row_bytes();
        let whole = row_bytes.saturating_mul(self.block_height.into());
        if self.tiled || self.compression != Compression::None || whole <= STRIP_PIECE_BYTES || row_bytes == 0 {
            return Ok(());
        }
        let rows = u32::try_from((STRIP_PIECE_BYTES / row_bytes).max(1)).unwrap_or(u32::MAX).min(self.block_height);
        // Pieces must not straddle strips: the last piece of a strip would be shorter than the others.
        let rows = if self.down == 1 { rows } else { largest_divisor(self.block_height, rows) };
        let down = self.height.div_ceil(rows);
        if u64::from(down) * self.planes() as u64 > limits.blocks {
            return Ok(());
        }
        let (mut offsets, mut counts) = (Vec::new(), Vec::new());
        for plane in 0..self.planes() {
            for piece in 0..down {
                let first_row = piece * rows;
                let (strip, row_in_strip) = (first_row / self.block_height, first_row % self.block_height);
                let skip = row_bytes * u64::from(row_in_strip);
                let wanted = row_bytes * u64::from(rows.min(self.height - first_row));
                let (offset, count) = self.place(strip, 0, plane).unwrap_or((0, 0));
                offsets.push(offset.checked_add(skip).ok_or_else(|| Fault::corrupt("a strip lies beyond 2^64"))?);
                // What a strip is short of stays short, so that reading it fails.
                counts.push(if count == 0 { 0 } else { count.saturating_sub(skip).clamp(1, wanted) });
            }
        }
        (self.block_height, self.down, self.offsets, self.counts) = (rows, down, offsets, counts);
        Ok(())
    }
}

/// The largest divisor of `number` that is at most `limit`.
fn largest_divisor(number: u32, limit: u32) -> u32 {
    (1..=limit.min(number)).rev().find(|divisor| number.is_multiple_of(*divisor)).unwrap_or(1)
}

fn dimension(value: u64, what: &str, limits: &Limits) -> Checked<u32> {
    let wrong = || Fault::corrupt(format!("{what} is {value}, not 1 to {}", limits.dimension));
    u32::try_from(value).ok().filter(|&value| value > 0 && value <= limits.dimension).ok_or_else(wrong)
}

/// Offsets or byte counts: at least one per block.
fn block_numbers(values: Option<&Values>, tag: u16, blocks: u64) -> Checked<Vec<u64>> {
    let values = values.ok_or_else(|| Fault::corrupt(format!("places of the blocks (tag {tag}) are missing")))?;
    let mut numbers = values.integers()?;
    let needed = usize::try_from(blocks).unwrap_or(usize::MAX);
    if numbers.len() < needed {
        let found = numbers.len();
        return Err(Fault::corrupt(format!("tag {tag} has {found} entries for {blocks} blocks")));
    }
    numbers.truncate(needed);
    Ok(numbers)
}

fn compression(code: u64) -> Checked<Compression> {
    let name = match code {
        1 => return Ok(Compression::None),
        5 => return Ok(Compression::Lzw),
        7 => return Ok(Compression::Jpeg),
        8 | 32946 => return Ok(Compression::Deflate),
        32773 => return Ok(Compression::PackBits),
        50000 => return Ok(Compression::Zstd),
        50001 => return Ok(Compression::WebP),
        2..=4 => "CCITT",
        6 => "old-style JPEG",
        34712 => "JPEG 2000",
        34887 => "LERC",
        34925 => "LZMA",
        50002 | 52546 => "JPEG XL",
        _ => "unknown",
    };
    Err(Fault::unsupported(format!("compression {code} ({name})")))
}

/// The one format of all bands.
fn sample_format(ifd: &Ifd, bands: usize) -> Checked<SampleFormat> {
    let same = |values: Option<&Values>, default: u64, what: &str| -> Checked<u64> {
        let Some(values) = values else { return Ok(default) };
        let numbers = values.integers()?;
        let numbers = numbers.get(..bands.min(numbers.len())).unwrap_or_default();
        let first = numbers.first().copied().ok_or_else(|| Fault::corrupt(format!("{what} has no value")))?;
        if numbers.iter().any(|&number| number != first) {
            return Err(Fault::unsupported(format!("bands of different {what} in one file")));
        }
        Ok(first)
    };
    let bits = same(ifd.get(tag::BITS_PER_SAMPLE), 1, "BitsPerSample")?;
    let kind = same(ifd.get(tag::SAMPLE_FORMAT), 1, "SampleFormat")?;
    let (bits, data_type) = match (kind, bits) {
        (1 | 4, 1) => (1, DataType::U8),
        (1 | 4, 2) => (2, DataType::U8),
        (1 | 4, 4) => (4, DataType::U8),
        (1 | 4, 8) => (8, DataType::U8),
        (1 | 4, 16) => (16, DataType::U16),
        (1 | 4, 32) => (32, DataType::U32),
        (1 | 4, 64) => (64, DataType::U64),
        (2, 8) => (8, DataType::I8),
        (2, 16) => (16, DataType::I16),
        (2, 32) => (32, DataType::I32),
        (2, 64) => (64, DataType::I64),
        (3, 16) => (16, DataType::F32),
        (3, 32) => (32, DataType::F32),
        (3, 64) => (64, DataType::F64),
        (5 | 6, _) => return Err(Fault::unsupported("complex samples")),
        (1..=4, _) => return Err(Fault::unsupported(format!("{bits} bits per sample of format {kind}"))),
        _ => return Err(Fault::corrupt(format!("SampleFormat is {kind}, not 1 to 6"))),
    };
    Ok(SampleFormat { bits, data_type })
}

fn predictor(ifd: &Ifd, compression: Compression, format: SampleFormat) -> Checked<Predictor> {
    if !matches!(compression, Compression::Lzw | Compression::Deflate | Compression::Zstd) {
        // As in libtiff, the tag means nothing to the other codecs.
        return Ok(Predictor::None);
    }
    let float = matches!(format.data_type, DataType::F32 | DataType::F64);
    match ifd.integer_or(tag::PREDICTOR, 1)? {
        1 => Ok(Predictor::None),
        2 if format.bits >= 8 => Ok(Predictor::Horizontal),
        2 => Err(Fault::unsupported(format!("predictor 2 with {} bits per sample", format.bits))),
        3 if float => Ok(Predictor::FloatingPoint),
        3 => Err(Fault::corrupt("predictor 3 on samples that are not floating-point")),
        other => Err(Fault::corrupt(format!("Predictor is {other}, not 1 to 3"))),
    }
}

fn photometric(code: u64, compression: Compression, planar: bool, bands: usize) -> Checked<Photometric> {
    match code {
        // White or black is zero, RGB, palette (read as indices), mask, separated inks.
        0..=5 => Ok(Photometric::Plain),
        6 if compression == Compression::Jpeg && !planar && bands == 3 => Ok(Photometric::YCbCr),
        // WebP converts by itself.
        6 if compression == Compression::WebP => Ok(Photometric::Plain),
        6 => Err(Fault::unsupported("YCbCr that is not three bands of JPEG")),
        8..=10 => Err(Fault::unsupported("CIE L*a*b* colour")),
        _ => Err(Fault::unsupported(format!("photometric interpretation {code}"))),
    }
}

/// The first extra sample that is opacity (1 associated, 2 unassociated alpha).
fn alpha_band(ifd: &Ifd, bands: usize) -> Checked<Option<usize>> {
    let Some(values) = ifd.get(tag::EXTRA_SAMPLES) else { return Ok(None) };
    let extra = values.integers()?;
    let first = bands
        .checked_sub(extra.len())
        .ok_or_else(|| Fault::corrupt(format!("{} extra samples of {bands} bands", extra.len())))?;
    Ok(extra.iter().position(|&kind| kind == 1 || kind == 2).map(|index| first + index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_strips_do_not_straddle() {
        assert_eq!(largest_divisor(100, 30), 25);
        assert_eq!(largest_divisor(97, 30), 1);
        assert_eq!(largest_divisor(8, 8), 8);
    }
}
