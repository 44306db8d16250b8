//! Writes cloud-optimised GeoTIFFs: tiled, DEFLATE, all bands together, overviews by averaging, header first.
//!
//! The pixels come from a callback, one block at a time, so that a scene never has to lie in memory as a whole: a row of
//! blocks is rendered, halved into the overviews and compressed, and only compressed blocks stay. Blocks of a row are
//! made in parallel and kept in order, so the bytes do not depend on the number of threads.
//!
//! Layout: header, directories from full resolution to the smallest overview with their tag values, then blocks from the
//! smallest overview to full resolution (the order that GDAL's COG driver writes and `rio cogeo validate` asks for).

use std::io::Write;

use libdeflater::{CompressionLvl, Compressor};
use rayon::prelude::*;
use survey::grid::GeoTransform;

use crate::error::ImageryError;

/// What a new file is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct CogSpec {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Names of the bands, stored as GDAL band descriptions; their number is the number of bands.
    pub band_names: Vec<String>,
    /// Where the pixels lie; `None` for a raster without georeference.
    pub georeference: Option<(CogCrs, GeoTransform)>,
    /// Sample that means no data.
    pub nodata: Option<f64>,
    /// Side of a block, pixels: a multiple of 16.
    pub block_px: u32,
    /// How overviews are made.
    pub overviews: Overviews,
    /// Horizontal differencing (TIFF predictor 2), for integers only.
    pub predictor: bool,
    /// Effort of DEFLATE, 1 (fast) to 12 (small).
    pub deflate_level: i32,
}

/// A CRS by its EPSG code, and which kind of key names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CogCrs {
    /// A projected CRS in metres.
    Projected(u16),
    /// Geographic coordinates in degrees.
    Geographic(u16),
}

/// How overviews are made: each half the size of the one before, until one fits into a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overviews {
    /// None.
    None,
    /// The mean of the valid samples of 2 × 2 (integers: rounded, halves up).
    Average,
    /// The upper left of 2 × 2, for masks and classes.
    Nearest,
}

/// Pixels that the callback is asked for: always inside the raster, at full resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First column.
    pub col0: u32,
    /// First row.
    pub row0: u32,
    /// Columns.
    pub cols: u32,
    /// Rows.
    pub rows: u32,
}

/// A type of sample that can be written: `u8`, `u16`, `i16`, `f32`.
pub trait CogSample: Copy + Default + Send + Sync + PartialEq + 'static {
    /// Bits of a sample.
    const BITS: u16;
    /// TIFF's SampleFormat.
    const FORMAT: u16;
    /// The value.
    fn value(self) -> f64;
    /// The nearest sample to a value.
    fn from_value(value: f64) -> Self;
    /// Mean of one to four samples.
    fn mean(samples: &[Self]) -> Self;
    /// `self − other`, wrapping, for the predictor.
    fn difference(self, other: Self) -> Self;
    /// Appends the little-endian bytes.
    fn append(self, bytes: &mut Vec<u8>);
}

macro_rules! integer_sample {
    ($type:ty, $format:literal) => {
        impl CogSample for $type {
            const BITS: u16 = <$type>::BITS as u16;
            const FORMAT: u16 = $format;
            fn value(self) -> f64 {
                f64::from(self)
            }
            fn from_value(value: f64) -> Self {
                value.round() as Self
            }
            fn mean(samples: &[Self]) -> Self {
                let count = samples.len().max(1) as i64;
                let sum: i64 = samples.iter().map(|&sample| i64::from(sample)).sum();
                (2 * sum + count).div_euclid(2 * count) as Self
            }
            fn difference(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn append(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    };
}
integer_sample!(u8, 1);
integer_sample!(u16, 1);
integer_sample!(i16, 2);

impl CogSample for f32 {
    const BITS: u16 = 32;
    const FORMAT: u16 = 3;
    fn value(self) -> f64 {
        f64::from(self)
    }
    fn from_value(value: f64) -> Self {
        value as Self
    }
    fn mean(samples: &[Self]) -> Self {
        let sum: f64 = samples.iter().map(|&sample| f64::from(sample)).sum();
        (sum / samples.len().max(1) as f64) as Self
    }
    fn difference(self, other: Self) -> Self {
        self - other
    }
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
}

fn refused(what: String, mend: &str) -> ImageryError {
    ImageryError::Unsupported { href: "new GeoTIFF".into(), what, mend: mend.into() }
}

impl CogSpec {
    fn check<T: CogSample>(&self) -> Result<(), ImageryError> {
        if self.width == 0 || self.height == 0 || self.width > 1 << 24 || self.height > 1 << 24 {
            return Err(refused(
                format!("a raster of {} x {}", self.width, self.height),
                "give 1 to 16777216 pixels a side",
            ));
        }
        if self.band_names.is_empty() || self.band_names.len() > 1024 {
            return Err(refused(format!("a raster of {} bands", self.band_names.len()), "give 1 to 1024 bands"));
        }
        if self.block_px == 0 || !self.block_px.is_multiple_of(16) || self.block_px > 4096 {
            return Err(refused(format!("a block of {} px", self.block_px), "take a multiple of 16 up to 4096"));
        }
        if self.predictor && T::FORMAT == 3 {
            return Err(refused("predictor 2 with floating-point samples".into(), "leave the predictor out"));
        }
        if !(1..=12).contains(&self.deflate_level) {
            return Err(refused(format!("DEFLATE level {}", self.deflate_level), "take a level from 1 to 12"));
        }
        Ok(())
    }

    /// Sizes of the levels, full resolution first.
    fn levels(&self) -> Vec<(u32, u32)> {
        let mut levels = vec![(self.width, self.height)];
        if self.overviews != Overviews::None {
            let (mut width, mut height) = (self.width, self.height);
            while width.max(height) > self.block_px {
                (width, height) = (width.div_ceil(2), height.div_ceil(2));
                levels.push((width, height));
            }
        }
        levels
    }
}

/// Writes a raster whose bands lie in memory, row-major, one slice per band.
///
/// # Errors
/// Where the spec asks for something that the format or this writer has not, or a band has the wrong length.
pub fn write_cog<T: CogSample>(spec: &CogSpec, bands: &[&[T]]) -> Result<Vec<u8>, ImageryError> {
    let pixels = spec.width as usize * spec.height as usize;
    if bands.len() != spec.band_names.len() || bands.iter().any(|band| band.len() != pixels) {
        return Err(refused(
            format!(
                "{} bands of {:?} samples for {} names",
                bands.len(),
                bands.iter().map(|band| band.len()).collect::<Vec<_>>(),
                spec.band_names.len()
            ),
            "give one band of width × height samples per name",
        ));
    }
    let mut out = Vec::new();
    write_cog_blocks(
        spec,
        |window: Window, samples: &mut [T]| {
            for (row, line) in samples.chunks_exact_mut(window.cols as usize * bands.len()).enumerate() {
                let start = (window.row0 as usize + row) * spec.width as usize + window.col0 as usize;
                for (col, pixel) in line.chunks_exact_mut(bands.len()).enumerate() {
                    for (sample, band) in pixel.iter_mut().zip(bands) {
                        *sample = band[start + col];
                    }
                }
            }
        },
        &mut out,
    )?;
    Ok(out)
}

/// Writes a raster that `source` renders block by block: it fills `window.rows × window.cols × bands` samples, the bands
/// of a pixel together. It is called once per block, from several threads, in no particular order, and must return the
/// same samples whatever the order. Returns the number of bytes written.
///
/// # Errors
/// Where the spec asks for something that the format or this writer has not, or `out` fails.
pub fn write_cog_blocks<T: CogSample>(
    spec: &CogSpec,
    source: impl Fn(Window, &mut [T]) + Sync,
    out: &mut impl Write,
) -> Result<u64, ImageryError> {
    spec.check::<T>()?;
    let mut pyramid = Pyramid::new(spec);
    let block = spec.block_px;
    for block_row in 0..spec.height.div_ceil(block) {
        let row0 = block_row * block;
        let rows = block.min(spec.height - row0);
        pyramid.push_row(0, rows, &|block_col| {
            let col0 = block_col * block;
            let window = Window { col0, row0, cols: block.min(spec.width - col0), rows };
            let mut samples = vec![T::default(); window.cols as usize * rows as usize * spec.band_names.len()];
            source(window, &mut samples);
            samples
        });
    }
    let levels: Vec<EncodedLevel> = pyramid
        .levels
        .into_iter()
        .map(|level| EncodedLevel { width: level.width, height: level.height, blocks: level.blocks })
        .collect();
    assemble::<T>(spec, &levels, out)
        .map_err(|error| ImageryError::Output { href: "new GeoTIFF".into(), cause: error.to_string() })
}

/// A level while it grows: what has been compressed, and the strip that waits to be a row of blocks.
struct Level<T> {
    width: u32,
    height: u32,
    blocks: Vec<Vec<u8>>,
    strip: Vec<T>,
    strip_rows: u32,
    rows_done: u32,
}

struct Pyramid<'a, T> {
    spec: &'a CogSpec,
    nodata: Option<T>,
    levels: Vec<Level<T>>,
}

impl<'a, T: CogSample> Pyramid<'a, T> {
    fn new(spec: &'a CogSpec) -> Self {
        let levels = spec.levels().into_iter().map(|(width, height)| Level {
            width,
            height,
            blocks: Vec::new(),
            strip: Vec::new(),
            strip_rows: 0,
            rows_done: 0,
        });
        Self { spec, nodata: spec.nodata.map(T::from_value), levels: levels.collect() }
    }

    /// Takes a row of blocks of `level`; `block` gives the samples of each by its column.
    fn push_row(&mut self, level: usize, rows: u32, block: &(dyn Fn(u32) -> Vec<T> + Sync)) {
        let spec = self.spec;
        let bands = spec.band_names.len();
        let (width, nodata) = (self.levels[level].width, self.nodata);
        let halve = level + 1 < self.levels.len();
        let made: Vec<(Vec<u8>, Vec<T>)> = (0..width.div_ceil(spec.block_px))
            .into_par_iter()
            .map_init(
                || Compressor::new(CompressionLvl::new(spec.deflate_level).unwrap_or_default()),
                |compressor, col| {
                    let samples = block(col);
                    let cols = spec.block_px.min(width - col * spec.block_px) as usize;
                    let half = if halve { halved(spec, nodata, &samples, cols, rows as usize) } else { Vec::new() };
                    (encode(spec, nodata, &samples, cols, compressor), half)
                },
            )
            .collect();
        let half_rows = rows.div_ceil(2);
        let half_width = width.div_ceil(2) as usize;
        let mut halves = Vec::with_capacity(made.len());
        for (bytes, half) in made {
            self.levels[level].blocks.push(bytes);
            halves.push(half);
        }
        self.levels[level].rows_done += rows;
        if !halve {
            return;
        }
        let next = &mut self.levels[level + 1];
        let start = next.strip.len();
        next.strip.resize(start + half_rows as usize * half_width * bands, T::default());
        for (col, half) in halves.iter().enumerate() {
            let col0 = col * spec.block_px as usize / 2;
            let cols = half.len() / (half_rows as usize * bands);
            for row in 0..half_rows as usize {
                let to = start + (row * half_width + col0) * bands;
                next.strip[to..to + cols * bands].copy_from_slice(&half[row * cols * bands..(row + 1) * cols * bands]);
            }
        }
        next.strip_rows += half_rows;
        let last = next.rows_done + next.strip_rows == next.height;
        if next.strip_rows == spec.block_px || last {
            let (strip, rows, width) =
                (std::mem::take(&mut next.strip), std::mem::take(&mut next.strip_rows), next.width);
            self.push_row(level + 1, rows, &|col| {
                let col0 = (col * spec.block_px) as usize;
                let cols = (spec.block_px.min(width - col * spec.block_px)) as usize;
                (0..rows as usize)
                    .flat_map(|row| {
                        let from = (row * width as usize + col0) * bands;
                        strip[from..from + cols * bands].iter().copied()
                    })
                    .collect()
            });
        }
    }
}

/// A block at half the resolution.
fn halved<T: CogSample>(spec: &CogSpec, nodata: Option<T>, samples: &[T], cols: usize, rows: usize) -> Vec<T> {
    let bands = spec.band_names.len();
    let (half_cols, half_rows) = (cols.div_ceil(2), rows.div_ceil(2));
    let mut half = Vec::with_capacity(half_cols * half_rows * bands);
    let is_nodata = |sample: T| {
        nodata.is_some_and(|nodata| sample == nodata || (sample.value().is_nan() && nodata.value().is_nan()))
    };
    for row in 0..half_rows {
        for col in 0..half_cols {
            for band in 0..bands {
                let at = |dr: usize, dc: usize| {
                    let (row, col) = (2 * row + dr, 2 * col + dc);
                    (row < rows && col < cols).then(|| samples[(row * cols + col) * bands + band])
                };
                let first = at(0, 0).unwrap_or_default();
                half.push(if spec.overviews == Overviews::Nearest {
                    first
                } else {
                    let mut valid = [T::default(); 4];
                    let mut count = 0;
                    for sample in [Some(first), at(0, 1), at(1, 0), at(1, 1)].into_iter().flatten() {
                        if !is_nodata(sample) {
                            valid[count] = sample;
                            count += 1;
                        }
                    }
                    if count == 0 { first } else { T::mean(&valid[..count]) }
                });
            }
        }
    }
    half
}

/// The compressed bytes of a block, padded to its full size with no data.
fn encode<T: CogSample>(
    spec: &CogSpec,
    nodata: Option<T>,
    samples: &[T],
    cols: usize,
    compressor: &mut Compressor,
) -> Vec<u8> {
    let bands = spec.band_names.len();
    let line = spec.block_px as usize * bands;
    let fill = nodata.unwrap_or_default();
    let mut raw = Vec::with_capacity(line * spec.block_px as usize * usize::from(T::BITS / 8));
    let mut padded = vec![fill; line];
    let mut append = |padded: &[T]| {
        for (index, &sample) in padded.iter().enumerate() {
            if spec.predictor && index >= bands {
                sample.difference(padded[index - bands]).append(&mut raw);
            } else {
                sample.append(&mut raw);
            }
        }
    };
    let mut rows = 0;
    for row in samples.chunks_exact(cols * bands) {
        padded[..row.len()].copy_from_slice(row);
        append(&padded);
        rows += 1;
    }
    padded.fill(fill);
    for _ in rows..spec.block_px {
        append(&padded);
    }
    let mut bytes = vec![0; compressor.zlib_compress_bound(raw.len())];
    // The bound holds for every input, so the compressor always finds room; an empty block would be caught by readers.
    let length = compressor.zlib_compress(&raw, &mut bytes).unwrap_or_default();
    bytes.truncate(length);
    bytes.shrink_to_fit();
    bytes
}

struct EncodedLevel {
    width: u32,
    height: u32,
    blocks: Vec<Vec<u8>>,
}

/// The value of a tag.
enum Value {
    Ascii(String),
    Short(Vec<u16>),
    Long(Vec<u32>),
    Double(Vec<f64>),
    /// Offsets and counts: 8 bytes each in a BigTIFF, 4 otherwise.
    Word(Vec<u64>),
}

impl Value {
    /// TIFF type, count and little-endian bytes.
    fn bytes(&self, big: bool) -> (u16, u64, Vec<u8>) {
        match self {
            Self::Ascii(text) => {
                let mut bytes = text.clone().into_bytes();
                bytes.push(0);
                (2, bytes.len() as u64, bytes)
            }
            Self::Short(values) => {
                (3, values.len() as u64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Long(values) => {
                (4, values.len() as u64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Double(values) => {
                (12, values.len() as u64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Word(values) if big => {
                (16, values.len() as u64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Word(values) => {
                (4, values.len() as u64, values.iter().flat_map(|&value| (value as u32).to_le_bytes()).collect())
            }
        }
    }
}

fn geo_tags(georeference: &(CogCrs, GeoTransform)) -> Vec<(u16, Value)> {
    let (crs, transform) = georeference;
    let mut tags = Vec::new();
    if transform.x_per_row == 0.0
        && transform.y_per_col == 0.0
        && transform.y_per_row < 0.0
        && transform.x_per_col > 0.0
    {
        tags.push((33550, Value::Double(vec![transform.x_per_col, -transform.y_per_row, 0.0])));
        tags.push((33922, Value::Double(vec![0.0, 0.0, 0.0, transform.x0, transform.y0, 0.0])));
    } else {
        #[rustfmt::skip]
        let matrix = vec![
            transform.x_per_col, transform.x_per_row, 0.0, transform.x0,
            transform.y_per_col, transform.y_per_row, 0.0, transform.y0,
            0.0, 0.0, 0.0, 0.0,
            0.0, 0.0, 0.0, 1.0,
        ];
        tags.push((34264, Value::Double(matrix)));
    }
    // GTModelType, GTRasterType (pixel is area), then the CRS and its unit: metre 9001, degree 9102.
    let keys: [[u16; 4]; 4] = match *crs {
        CogCrs::Projected(code) => [[1024, 0, 1, 1], [1025, 0, 1, 1], [3072, 0, 1, code], [3076, 0, 1, 9001]],
        CogCrs::Geographic(code) => [[1024, 0, 1, 2], [1025, 0, 1, 1], [2048, 0, 1, code], [2054, 0, 1, 9102]],
    };
    tags.push((34735, Value::Short([[1, 1, 0, 4]].iter().chain(&keys).flatten().copied().collect())));
    tags
}

fn number(value: f64) -> String {
    if value.is_nan() { "nan".into() } else { format!("{value}") }
}

fn tags<T: CogSample>(spec: &CogSpec, level: &EncodedLevel, index: usize, offsets: Vec<u64>) -> Vec<(u16, Value)> {
    let bands = spec.band_names.len();
    let mut tags = vec![
        (254, Value::Long(vec![u32::from(index > 0)])),
        (256, Value::Long(vec![level.width])),
        (257, Value::Long(vec![level.height])),
        (258, Value::Short(vec![T::BITS; bands])),
        (259, Value::Short(vec![8])),
        (262, Value::Short(vec![1])),
        (277, Value::Short(vec![bands as u16])),
        (284, Value::Short(vec![1])),
        (317, Value::Short(vec![if spec.predictor { 2 } else { 1 }])),
        (322, Value::Long(vec![spec.block_px])),
        (323, Value::Long(vec![spec.block_px])),
        (324, Value::Word(offsets)),
        (325, Value::Word(level.blocks.iter().map(|block| block.len() as u64).collect())),
    ];
    if bands > 1 {
        tags.push((338, Value::Short(vec![0; bands - 1])));
    }
    tags.push((339, Value::Short(vec![T::FORMAT; bands])));
    if index == 0 {
        tags.extend(spec.georeference.iter().flat_map(geo_tags));
        if spec.band_names.iter().any(|name| !name.is_empty()) {
            let items: String = spec
                .band_names
                .iter()
                .enumerate()
                .map(|(band, name)| {
                    let name = name.replace('&', "&amp;").replace('<', "&lt;");
                    format!("  <Item name=\"DESCRIPTION\" sample=\"{band}\" role=\"description\">{name}</Item>\n")
                })
                .collect();
            tags.push((42112, Value::Ascii(format!("<GDALMetadata>\n{items}</GDALMetadata>\n"))));
        }
    }
    if let Some(nodata) = spec.nodata {
        tags.push((42113, Value::Ascii(number(nodata))));
    }
    tags
}

/// Bytes of all directories, with block offsets counted from the file's start.
fn directories<T: CogSample>(spec: &CogSpec, levels: &[EncodedLevel], offsets: &[Vec<u64>], big: bool) -> Vec<u8> {
    let (header, entry, word) = if big { (16, 20, 8) } else { (8, 12, 4) };
    let mut bytes: Vec<u8> = if big {
        [b"II+\0".as_slice(), &8u16.to_le_bytes(), &0u16.to_le_bytes(), &16u64.to_le_bytes()].concat()
    } else {
        [b"II*\0".as_slice(), &8u32.to_le_bytes()].concat()
    };
    debug_assert_eq!(bytes.len(), header);
    let put_word = |bytes: &mut Vec<u8>, value: u64| {
        if big {
            bytes.extend_from_slice(&value.to_le_bytes());
        } else {
            bytes.extend_from_slice(&(value as u32).to_le_bytes());
        }
    };
    for (index, (level, offsets)) in levels.iter().zip(offsets).enumerate() {
        let tags = tags::<T>(spec, level, index, offsets.clone());
        let directory = bytes.len();
        let count_bytes = if big { 8 } else { 2 };
        let mut values_at = directory + count_bytes + tags.len() * entry + word;
        let mut values: Vec<u8> = Vec::new();
        if big {
            bytes.extend_from_slice(&(tags.len() as u64).to_le_bytes());
        } else {
            bytes.extend_from_slice(&(tags.len() as u16).to_le_bytes());
        }
        for (tag, value) in &tags {
            let (kind, count, mut data) = value.bytes(big);
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&kind.to_le_bytes());
            put_word(&mut bytes, count);
            if data.len() <= word {
                data.resize(word, 0);
                bytes.extend_from_slice(&data);
            } else {
                put_word(&mut bytes, (values_at + values.len()) as u64);
                values.extend_from_slice(&data);
                // TIFF wants values at even offsets.
                values.resize(values.len().next_multiple_of(2), 0);
            }
        }
        values_at += values.len();
        // Directories begin at even offsets too; a multiple of 8 suits both kinds.
        let next = values_at.next_multiple_of(8);
        put_word(&mut bytes, if index + 1 < levels.len() { next as u64 } else { 0 });
        bytes.extend_from_slice(&values);
        bytes.resize(next, 0);
    }
    bytes
}

fn assemble<T: CogSample>(spec: &CogSpec, levels: &[EncodedLevel], out: &mut impl Write) -> std::io::Result<u64> {
    let data: u64 = levels.iter().flat_map(|level| &level.blocks).map(|block| block.len() as u64).sum();
    let nothing: Vec<Vec<u64>> = levels.iter().map(|level| vec![0; level.blocks.len()]).collect();
    // A classic TIFF addresses 4 GiB; room for the directories is left with a wide margin.
    let big = data + directories::<T>(spec, levels, &nothing, false).len() as u64 >= u64::from(u32::MAX);
    let mut at = directories::<T>(spec, levels, &nothing, big).len() as u64;
    let mut offsets = nothing;
    for (level, offsets) in levels.iter().zip(&mut offsets).rev() {
        for (block, offset) in level.blocks.iter().zip(offsets) {
            *offset = at;
            at += block.len() as u64;
        }
    }
    out.write_all(&directories::<T>(spec, levels, &offsets, big))?;
    for block in levels.iter().rev().flat_map(|level| &level.blocks) {
        out.write_all(block)?;
    }
    out.flush()?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(width: u32, height: u32, bands: usize) -> CogSpec {
        CogSpec {
            width,
            height,
            band_names: (0..bands).map(|band| format!("band {band}")).collect(),
            georeference: Some((
                CogCrs::Projected(32652),
                GeoTransform { x0: 5e5, x_per_col: 0.5, x_per_row: 0.0, y0: 4.6e6, y_per_col: 0.0, y_per_row: -0.5 },
            )),
            nodata: Some(0.0),
            block_px: 64,
            overviews: Overviews::Average,
            predictor: true,
            deflate_level: 4,
        }
    }

    fn noise(index: usize, band: usize) -> u32 {
        let mut z = (index as u32).wrapping_mul(0x9e37_79b9) ^ (band as u32).wrapping_mul(0x85eb_ca6b);
        z = (z ^ (z >> 15)).wrapping_mul(0x2c1b_3c6d);
        z ^ (z >> 13)
    }

    /// Runs Python with numpy and rasterio on a script and files; `None` where there is no such Python.
    fn python(script: &str, args: &[&std::path::Path]) -> Option<String> {
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/python");
        let ready = std::process::Command::new(python).args(["-c", "import rasterio"]).output();
        if !ready.is_ok_and(|output| output.status.success()) {
            println!("skipped: no Python with rasterio at .venv/bin/python");
            return None;
        }
        let output = std::process::Command::new(python).arg("-c").arg(script).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).unwrap())
    }

    const CHECK: &str = r#"
import sys, numpy as np, rasterio
path, raw, dtype, bands, height, width = sys.argv[1], sys.argv[2], *open(sys.argv[3]).read().split()
want = np.fromfile(raw, dtype=dtype).reshape(int(bands), int(height), int(width))
with rasterio.open(path) as s:
    assert s.profile["tiled"] and s.compression.name == "deflate", s.profile
    assert s.interleaving.name == "pixel" or s.count == 1
    got = s.read()
    assert got.dtype == want.dtype and np.array_equal(got, want, equal_nan=want.dtype.kind == "f")
    print(s.crs.to_epsg(), *s.transform.to_gdal(), s.nodata, s.block_shapes[0], s.descriptions[0], s.overviews(1))
    for level, factor in enumerate(s.overviews(1)):
        with rasterio.open(path, overview_level=level) as o:
            small = o.read()
    # First overview against a mean of the valid samples, in numpy.
    with rasterio.open(path, overview_level=0) as o:
        small = o.read().astype("f8")
    h, w = want.shape[1:]
    wide = np.full((want.shape[0], h + h % 2, w + w % 2), np.nan)
    wide[:, :h, :w] = np.where(want == s.nodata, np.nan, want.astype("f8")) if s.nodata is not None else want
    with np.errstate(all="ignore"):
        import warnings; warnings.simplefilter("ignore")
        mean = np.nanmean(wide.reshape(want.shape[0], wide.shape[1] // 2, 2, wide.shape[2] // 2, 2), axis=(2, 4))
    gone = np.isnan(mean)
    assert np.array_equal(gone, np.isnan(small) | (small == s.nodata)), "nodata of the overview"
    assert np.abs(np.where(gone, 0, small - mean)).max() <= (1e-3 if want.dtype.kind == "f" else 0.5)
# The order that `rio cogeo validate` asks for: directories first, overviews' data before full resolution's.
from osgeo_free import check
"#;

    /// The layout, from the bytes alone: every directory before every block, the levels' data from small to large.
    const LAYOUT: &str = r#"
def check(path):
    import struct
    b = open(path, "rb").read()
    assert b[:4] in (b"II*\0", b"II+\0")
    big = b[2] == 43
    at, ends, data = struct.unpack_from("<Q" if big else "<I", b, 8 if big else 4)[0], 0, []
    while at:
        n = struct.unpack_from("<Q" if big else "<H", b, at)[0]
        size, start = (20, at + 8) if big else (12, at + 2)
        tags = []
        for i in range(n):
            t = struct.unpack_from("<HHQ" if big else "<HHI", b, start + i * size)
            v = struct.unpack_from("<Q" if big else "<I", b, start + i * size + (12 if big else 8))[0]
            tags.append(t[0])
            if t[0] == 324:
                word = 8 if big else 4
                data.append([v] if t[2] == 1 else list(struct.unpack_from("<%d%s" % (t[2], "Q" if big else "I"), b, v)))
        assert tags == sorted(tags)
        ends = max(ends, start + n * size)
        at = struct.unpack_from("<Q" if big else "<I", b, start + n * size)[0]
    order = [o for level in reversed(data) for o in level]
    assert order == sorted(order) and min(order) > ends, "not cloud-optimised"
"#;

    fn check_with_rasterio<T: CogSample>(spec: &CogSpec, dtype: &str, bands: &[Vec<T>]) -> Option<String> {
        let slices: Vec<&[T]> = bands.iter().map(Vec::as_slice).collect();
        let bytes = write_cog(spec, &slices).unwrap();
        let folder = std::env::temp_dir().join(format!("groundbreak-cog-{}-{dtype}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (tif, raw, shape) = (folder.join("a.tif"), folder.join("a.raw"), folder.join("shape"));
        std::fs::write(&tif, bytes).unwrap();
        let mut samples = Vec::new();
        bands.iter().flatten().for_each(|sample| sample.append(&mut samples));
        std::fs::write(&raw, samples).unwrap();
        std::fs::write(&shape, format!("{dtype} {} {} {}", bands.len(), spec.height, spec.width)).unwrap();
        let script = format!("{LAYOUT}\n{}\ncheck(sys.argv[1])", CHECK.replace("from osgeo_free import check", ""));
        let said = python(&script, &[&tif, &raw, &shape]);
        std::fs::remove_dir_all(&folder).unwrap();
        said
    }

    #[test]
    fn rasterio_reads_the_same_pixels_georeference_nodata_and_overviews() {
        let u16s: Vec<Vec<u16>> = (0..4)
            .map(|band| {
                (0..201 * 155).map(|i| if i % 201 < 90 && i < 9000 { 0 } else { noise(i, band) as u16 }).collect()
            })
            .collect();
        if let Some(said) = check_with_rasterio(&spec(201, 155, 4), "u2", &u16s) {
            assert_eq!(said.trim(), "32652 500000.0 0.5 0.0 4600000.0 0.0 -0.5 0.0 (64, 64) band 0 [2, 4]");
        }
        let i16s = vec![(0..70 * 300).map(|i| noise(i, 0) as i16).collect::<Vec<_>>()];
        let spec_i16 = CogSpec {
            nodata: Some(-32768.0),
            georeference: Some((
                CogCrs::Geographic(4326),
                GeoTransform { x0: 129.5, x_per_col: 1e-5, x_per_row: 0.0, y0: 41.5, y_per_col: 0.0, y_per_row: -1e-5 },
            )),
            ..spec(70, 300, 1)
        };
        if let Some(said) = check_with_rasterio(&spec_i16, "i2", &i16s) {
            assert!(said.starts_with("4326 129.5 1e-05 0.0 41.5 0.0 -1e-05 -32768.0"), "{said}");
        }
        let f32s =
            vec![
                (0..99 * 129).map(|i| if i % 7 == 0 { f32::NAN } else { noise(i, 3) as f32 / 1e6 }).collect::<Vec<_>>();
                3
            ];
        let spec_f32 = CogSpec { nodata: Some(f64::NAN), predictor: false, ..spec(99, 129, 3) };
        if let Some(said) = check_with_rasterio(&spec_f32, "f4", &f32s) {
            assert!(said.contains(" nan "), "{said}");
        }
        let u8s: Vec<Vec<u8>> = vec![(0..65 * 65).map(|i| noise(i, 1) as u8).collect(); 3];
        let rotated = CogSpec {
            nodata: None,
            georeference: Some((
                CogCrs::Projected(32651),
                GeoTransform { x0: 1e5, x_per_col: 0.6, x_per_row: 0.8, y0: 4e6, y_per_col: 0.8, y_per_row: -0.6 },
            )),
            ..spec(65, 65, 3)
        };
        if let Some(said) = check_with_rasterio(&rotated, "u1", &u8s) {
            assert!(said.starts_with("32651 100000.0 0.6 0.8 4000000.0 0.8 -0.6 None"), "{said}");
        }
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_threads() {
        let bands: Vec<Vec<u16>> =
            (0..2).map(|band| (0..500 * 333).map(|i| noise(i, band) as u16 % 999).collect()).collect();
        let slices: Vec<&[u16]> = bands.iter().map(Vec::as_slice).collect();
        let write = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| write_cog(&spec(500, 333, 2), &slices).unwrap())
        };
        assert_eq!(write(1), write(3));
    }

    #[test]
    fn what_cannot_be_written_is_refused_by_name() {
        let refusal = |spec: CogSpec| write_cog(&spec, &[&[0.0f32; 4][..]]).unwrap_err().to_string();
        let good = CogSpec { predictor: false, ..spec(2, 2, 1) };
        assert!(refusal(CogSpec { block_px: 100, ..good.clone() }).contains("a block of 100 px"));
        assert!(refusal(CogSpec { predictor: true, ..good.clone() }).contains("predictor 2 with floating-point"));
        assert!(refusal(CogSpec { width: 3, ..good }).contains("give one band of width × height samples per name"));
    }
}
