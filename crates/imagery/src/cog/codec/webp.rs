//! WebP blocks.

use std::io::Cursor;

use image_webp::WebPDecoder;

use crate::cog::fault::{Checked, Fault};
use crate::cog::header::Layout;

fn damaged(cause: &str) -> Fault {
    Fault::corrupt(format!("its WebP stream is damaged ({cause})"))
}

/// Interleaved 8-bit samples of `stored_rows` rows of a block.
pub(super) fn decode(layout: &Layout, encoded: &[u8], stored_rows: u32) -> Checked<Vec<u8>> {
    let bands = layout.bands_per_plane();
    if !matches!(bands, 3 | 4) {
        return Err(Fault::unsupported(format!("WebP with {bands} bands in a block")));
    }
    check_key_frame(layout, encoded)?;
    let mut decoder = WebPDecoder::new(Cursor::new(encoded)).map_err(|error| damaged(&error.to_string()))?;
    let (width, height) = decoder.dimensions();
    if width != layout.block_width || !(stored_rows..=layout.block_height).contains(&height) {
        let wanted = layout.block_width;
        return Err(damaged(&format!("{width} x {height} pixels instead of {wanted} x {stored_rows}")));
    }
    if decoder.is_animated() {
        return Err(damaged("it is an animation"));
    }
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let size = decoder.output_buffer_size().ok_or_else(|| damaged("too large"))?;
    let mut pixels = vec![0; size];
    decoder.read_image(&mut pixels).map_err(|error| damaged(&error.to_string()))?;
    let pixel_count = (layout.block_width as usize).saturating_mul(stored_rows as usize);
    let pixels = pixels.chunks_exact(channels).take(pixel_count);
    // A picture without transparency is opaque; one without an alpha band in the TIFF loses it, as in libtiff.
    Ok(match (channels, bands) {
        (3, 4) => pixels.flat_map(|pixel| pixel.iter().copied().chain([u8::MAX])).collect(),
        (4, 3) => pixels.flat_map(|pixel| pixel.iter().copied().take(3)).collect(),
        _ => pixels.flatten().copied().collect(),
    })
}

/// Refuses a lossy frame that is larger than the block: the decoder takes memory for it before it compares sizes.
fn check_key_frame(layout: &Layout, encoded: &[u8]) -> Checked<()> {
    let mut rest = encoded.get(12..).unwrap_or_default();
    while let [a, b, c, d, l0, l1, l2, l3, payload @ ..] = rest {
        if [*a, *b, *c, *d] == *b"VP8 "
            && let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = payload
        {
            let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            let (width, height) = (side(*w0, *w1), side(*h0, *h1));
            if width > layout.block_width || height > layout.block_height {
                return Err(damaged(&format!("a frame of {width} x {height} pixels")));
            }
        }
        let length = usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])).unwrap_or(usize::MAX);
        rest = payload.get(length.saturating_add(length % 2)..).unwrap_or_default();
    }
    Ok(())
}
