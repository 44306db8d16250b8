//! JPEG blocks: abbreviated streams whose tables lie in the IFD (TIFF technical note 2).

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::cog::fault::{Checked, Fault};
use crate::cog::header::{Layout, Photometric};

const SOI: [u8; 2] = [0xff, 0xd8];
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

fn damaged(cause: &str) -> Fault {
    Fault::corrupt(format!("its JPEG stream is damaged ({cause})"))
}

/// Interleaved 8-bit samples of `stored_rows` rows of a block.
pub(super) fn decode(layout: &Layout, encoded: &[u8], stored_rows: u32) -> Checked<Vec<u8>> {
    let bands = layout.bands_per_plane();
    let tables = layout.jpeg_tables.as_deref().unwrap_or_default();
    let (stream, frame) = complete(tables, encoded)?;
    let stored = (frame.width, frame.height);
    let right_size = frame.width == layout.block_width && (stored_rows..=layout.block_height).contains(&frame.height);
    if !right_size || frame.sampling.len() != bands {
        return Err(damaged(&format!(
            "{} x {} pixels and {} bands instead of {} x {stored_rows} and {bands}",
            stored.0,
            stored.1,
            frame.sampling.len(),
            layout.block_width
        )));
    }
    let luma = frame.sampling.first().copied().unwrap_or_default();
    let chroma_is_whole = frame.sampling.iter().skip(1).all(|&sampling| sampling == (1, 1));
    if !chroma_is_whole || !matches!(luma, (1 | 2, 1 | 2)) {
        return Err(Fault::unsupported(format!("JPEG with sampling factors {:?}", frame.sampling)));
    }

    let width = usize::try_from(frame.width).unwrap_or(usize::MAX);
    let height = usize::try_from(frame.height).unwrap_or(usize::MAX);
    // Strict: what is missing is an error, not grey pixels.
    let options = DecoderOptions::new_safe().set_strict_mode(true).set_max_width(width).set_max_height(height);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream.as_slice()), options);
    decoder.decode_headers().map_err(|error| damaged(&error.to_string()))?;
    let input = decoder.input_colorspace();
    // The TIFF says what the components mean, not the JPEG. To get components as they are, ask for the colour space
    // that the decoder believes them to be in.
    let output = match (layout.photometric, input) {
        (Photometric::YCbCr, Some(ColorSpace::YCbCr)) => ColorSpace::RGB,
        (Photometric::Plain, Some(space @ (ColorSpace::Luma | ColorSpace::YCbCr | ColorSpace::RGB))) => space,
        _ => return Err(Fault::unsupported(format!("JPEG with {bands} bands of an unusual kind"))),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let mut pixels = decoder.decode().map_err(|error| damaged(&error.to_string()))?;
    let expected = width.saturating_mul(bands).saturating_mul(stored_rows as usize);
    if pixels.len() < expected {
        return Err(damaged("too few pixels"));
    }
    pixels.truncate(expected);
    Ok(pixels)
}

/// Size and sampling factors (horizontal, vertical) of the components, from the frame header.
struct Frame {
    width: u32,
    height: u32,
    sampling: Vec<(u8, u8)>,
}

/// One stream of the tables and the block. Application segments are dropped: TIFF's tags rule, as in libtiff.
fn complete(tables: &[u8], block: &[u8]) -> Checked<(Vec<u8>, Frame)> {
    // libjpeg fills the rest of a stream without an end with grey.
    if !block.windows(2).rev().any(|two| two == [0xff, EOI]) {
        return Err(damaged("its end is missing"));
    }
    let mut stream = Vec::with_capacity(tables.len() + block.len());
    stream.extend_from_slice(&SOI);
    let mut frame = None;
    if !tables.is_empty() {
        copy_segments(tables, &mut stream, &mut frame)?;
    }
    let scan = copy_segments(block, &mut stream, &mut frame)?.ok_or_else(|| damaged("no scan"))?;
    stream.extend_from_slice(scan);
    Ok((stream, frame.ok_or_else(|| damaged("no frame"))?))
}

/// Copies the segments before the scan; gives what begins with the scan, if there is one.
fn copy_segments<'a>(from: &'a [u8], to: &mut Vec<u8>, frame: &mut Option<Frame>) -> Checked<Option<&'a [u8]>> {
    let mut rest = from.strip_prefix(&SOI).ok_or_else(|| damaged("its beginning is missing"))?;
    loop {
        let [0xff, marker, after @ ..] = rest else { return Err(damaged("a marker is missing")) };
        match *marker {
            EOI => return Ok(None),
            // Fill bytes.
            0xff => rest = rest.get(1..).unwrap_or_default(),
            SOS => return Ok(Some(rest)),
            marker => {
                let length = after.first_chunk().map_or(0, |&length| usize::from(u16::from_be_bytes(length)));
                let segment = after.get(2..length).ok_or_else(|| damaged("a segment is cut off"))?;
                let end = length.saturating_add(2);
                // APPn and comments.
                if !matches!(marker, 0xe0..=0xef | 0xfe) {
                    to.extend_from_slice(rest.get(..end).unwrap_or_default());
                }
                if matches!(marker, 0xc0..=0xc2) {
                    *frame = Some(parse_frame(segment)?);
                }
                rest = rest.get(end..).unwrap_or_default();
            }
        }
    }
}

fn parse_frame(segment: &[u8]) -> Checked<Frame> {
    let &[precision, h1, h0, w1, w0, _, ref components @ ..] = segment else { return Err(damaged("no frame header")) };
    if precision != 8 {
        return Err(Fault::unsupported(format!("JPEG with {precision} bits per sample")));
    }
    let sampling = components.chunks_exact(3).filter_map(|component| component.get(1)).map(|hv| (hv >> 4, hv & 15));
    Ok(Frame {
        width: u16::from_be_bytes([w1, w0]).into(),
        height: u16::from_be_bytes([h1, h0]).into(),
        sampling: sampling.collect(),
    })
}
