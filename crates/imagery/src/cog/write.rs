//! Writes cloud-optimised GeoTIFFs: tiled, DEFLATE, all bands together, overviews by averaging, header first.
//!
//! The pixels come from a callback, one block at a time, so that a scene never has to lie in memory as a whole: a row of
//! blocks is rendered, halved into the overviews and compressed, and only compressed blocks stay. Blocks of a row are
//! made in parallel and kept in order, so the bytes do not depend on the number of threads.
//!
//! Layout: header, directories from full resolution to the smallest overview with their tag values, then blocks from the
//! smallest overview to full resolution (the order that GDAL's COG driver writes and `rio cogeo validate` asks for).

mod directory;

use std::io::Write;

use libdeflater::{CompressionLvl, Compressor};
use rayon::prelude::*;
use survey::grid::GeoTransform;

use self::directory::{EncodedLevel, assemble};
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

#[cfg(test)]
mod tests;
