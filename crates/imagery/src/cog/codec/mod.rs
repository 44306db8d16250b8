//! From the bytes of a block to samples.
//!
//! Libraries undo the compression ([`lossless`], [`jpeg`], [`webp`]), each into exactly as many bytes as the block has;
//! [`unpack`] undoes the predictor, the byte order and the interleaving in one pass.

mod jpeg;
mod lossless;
mod unpack;
mod webp;

use std::borrow::Cow;
use std::cell::Cell;

use crate::cog::fault::{Checked, Fault};
use crate::cog::header::{Compression, Layout};
pub(crate) use unpack::Unpacked;

/// Bytes that a thread keeps for its next block, at most: those of the usual ones.
const KEPT: usize = 8 << 20;

/// Decodes one plane of a block: the samples of each band that lies in it, `rows × cols` each, and between what they lie.
/// `stored_rows` is how many rows the encoder put in.
pub(crate) fn decode_plane(
    layout: &Layout,
    encoded: &[u8],
    stored_rows: u32,
    rows: u32,
    cols: u32,
) -> Checked<Vec<Unpacked>> {
    let reversed: Vec<u8>;
    let encoded = if layout.reversed_bits {
        reversed = encoded.iter().map(|byte| byte.reverse_bits()).collect();
        &reversed
    } else {
        encoded
    };
    // What a thread decompresses into stays with it: no block needs its memory cleared first.
    thread_local! { static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) } }
    let mut bytes = BYTES.take();
    let raw = decompress(layout, encoded, stored_rows, &mut bytes);
    let samples = raw.and_then(|raw| unpack::unpack(layout, &raw, rows, cols));
    if bytes.capacity() <= KEPT {
        BYTES.set(bytes);
    }
    samples
}

/// The bytes of a block as they were before compression. They may lie in `bytes`.
fn decompress<'a>(
    layout: &Layout,
    encoded: &'a [u8],
    stored_rows: u32,
    bytes: &'a mut Vec<u8>,
) -> Checked<Cow<'a, [u8]>> {
    let size = |rows: u32| {
        usize::try_from(layout.row_bytes().saturating_mul(rows.into()))
            .map_err(|_| Fault::corrupt("a block is too large"))
    };
    let expected = size(stored_rows)?;
    // Some writers fill the last strip up to the height of the others.
    let most = size(layout.block_height)?;
    Ok(match layout.compression {
        Compression::None => {
            let short = || Fault::corrupt(format!("it has {} bytes instead of {expected}", encoded.len()));
            Cow::Borrowed(encoded.get(..expected).ok_or_else(short)?)
        }
        Compression::Deflate => Cow::Borrowed(lossless::deflate(encoded, expected, most, bytes)?),
        Compression::Lzw => Cow::Owned(lossless::lzw(encoded, expected)?),
        Compression::Zstd => Cow::Owned(lossless::zstd(encoded, expected, most)?),
        Compression::PackBits => Cow::Owned(lossless::pack_bits(encoded, expected)?),
        Compression::Jpeg => Cow::Owned(jpeg::decode(layout, encoded, stored_rows)?),
        Compression::WebP => Cow::Owned(webp::decode(layout, encoded, stored_rows)?),
    })
}
