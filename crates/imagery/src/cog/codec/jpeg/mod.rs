//! Baseline JPEG (ITU-T T.81) of the kind that TIFF holds.
//!
//! JPEG leaves open how chroma is upsampled: decoders differ by up to 69 of 255 levels at edges, and library decoders in
//! Rust fill what is missing with grey. Baseline JPEG is small enough to do as the GDAL of rasterio does, within a level
//! or two: [`stream`] puts the tables of the IFD and the block together, [`huffman`] gives coefficients, [`idct`] samples
//! of the image's size, and [`colour`] pixels.

mod colour;
mod huffman;
mod idct;
mod stream;

use crate::cog::fault::{Checked, Fault};
use crate::cog::header::{Layout, Photometric};
use huffman::BitReader;
use idct::Scale;
use stream::{Component, Stream};

fn damaged(cause: &str) -> Fault {
    Fault::corrupt(format!("its JPEG stream is damaged ({cause})"))
}

/// Samples of one component at the image's size, whole MCUs.
struct Plane {
    /// Samples per row, a multiple of 8.
    stride: usize,
    samples: Vec<u8>,
}

impl Plane {
    /// The first `width` samples of a row.
    fn row(&self, row: usize, width: usize) -> Option<&[u8]> {
        self.samples.get(row.checked_mul(self.stride)?..)?.get(..width)
    }
}

/// Interleaved 8-bit samples of `stored_rows` rows of a block.
pub(super) fn decode(layout: &Layout, encoded: &[u8], stored_rows: u32) -> Checked<Vec<u8>> {
    let stream = Stream::parse(layout.jpeg_tables.as_deref().unwrap_or_default(), encoded)?;
    let (width, height, bands) = (stream.width, stream.height, stream.components.len());
    let right_size = width == layout.block_width && (stored_rows..=layout.block_height).contains(&height);
    if !right_size || bands != layout.bands_per_plane() {
        return Err(damaged(&format!(
            "{width} x {height} pixels and {bands} bands instead of {} x {stored_rows} and {}",
            layout.block_width,
            layout.bands_per_plane()
        )));
    }
    let planes = decode_scan(&stream)?;
    // The TIFF says what the components mean, whatever the JPEG says, as in libtiff.
    Ok(colour::interleave(&planes, width as usize, stored_rows as usize, layout.photometric == Photometric::YCbCr))
}

/// Entropy decoding and inverse transform of the only scan.
fn decode_scan(stream: &Stream<'_>) -> Checked<Vec<Plane>> {
    let (across, down) = stream.mcus();
    // T.81 sets the smallest code to 1 bit: a coefficient block takes 2 bits (DC and end of block) at least.
    let blocks: usize = stream.components.iter().map(Component::blocks_per_mcu).sum();
    if across.saturating_mul(down).saturating_mul(blocks) / 4 > stream.scan.len() {
        return Err(damaged("too few bytes for its size"));
    }
    let (h, v) = stream.most();
    let stride = across * h * 8;
    let plane = || Plane { stride, samples: vec![0; stride * down * v * 8] };
    let mut planes: Vec<Plane> = stream.components.iter().map(|_| plane()).collect();
    let mut bits = BitReader::new(stream.scan);
    let mut predictions = vec![0_i32; stream.components.len()];
    let mut until_restart = stream.restart_interval;
    for mcu in 0..across * down {
        if stream.restart_interval > 0 && until_restart == 0 {
            bits.restart()?;
            predictions.fill(0);
            until_restart = stream.restart_interval;
        }
        until_restart = until_restart.saturating_sub(1);
        let (mcu_row, mcu_col) = (mcu / across, mcu % across);
        for ((component, plane), prediction) in stream.components.iter().zip(&mut planes).zip(&mut predictions) {
            for block in 0..component.blocks_per_mcu() {
                let coefficients = component.tables.block(&mut bits, prediction)?;
                let scale = |factor: usize, most: usize| if factor < most { Scale::Twice } else { Scale::Once };
                let (scale_down, scale_across) = (scale(component.v, v), scale(component.h, h));
                let row = (mcu_row * component.v + block / component.h) * scale_down.points();
                let col = (mcu_col * component.h + block % component.h) * scale_across.points();
                if let Some(samples) = plane.samples.get_mut(row * stride + col..) {
                    idct::inverse(&coefficients, scale_down, scale_across, samples, stride);
                }
            }
        }
    }
    bits.check_end()?;
    Ok(planes)
}
