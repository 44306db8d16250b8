//! Lossless codecs. Each gives exactly the bytes that the block must have: fewer are an error, and more are never
//! written.

use libdeflater::{DecompressionError, Decompressor};
use weezl::{BitOrder, LzwStatus};

use crate::cog::fault::{Checked, Fault};

/// Deflate cannot shrink bytes by more than this (a match of 258 bytes takes 2 bits at least).
const DEFLATE_RATIO: usize = 1032;

/// LZW cannot either: a code of 9 bits at least stands for a string of less than 4096 bytes.
const LZW_RATIO: usize = 3641;

fn short(found: usize, expected: usize) -> Fault {
    Fault::corrupt(format!("it decodes to {found} bytes instead of {expected}"))
}

/// Refuses a claim that the encoded bytes cannot meet, before memory is taken for it.
fn check_ratio(encoded: &[u8], expected: usize, ratio: usize) -> Checked<()> {
    if expected / ratio > encoded.len() {
        return Err(Fault::corrupt(format!("its {} bytes cannot hold {expected}", encoded.len())));
    }
    Ok(())
}

/// Undoes zlib (RFC 1950), checksum included. A last strip may hold up to `most` bytes. They lie in `output`, whose length and
/// bytes before do not matter.
pub(super) fn deflate<'a>(encoded: &[u8], expected: usize, most: usize, output: &'a mut Vec<u8>) -> Checked<&'a [u8]> {
    check_ratio(encoded, expected, DEFLATE_RATIO)?;
    let mut decoder = Decompressor::new();
    output.resize(expected, 0);
    let mut result = decoder.zlib_decompress(encoded, output);
    if result == Err(DecompressionError::InsufficientSpace) && most > expected {
        check_ratio(encoded, most, DEFLATE_RATIO)?;
        output.resize(most, 0);
        result = decoder.zlib_decompress(encoded, output);
    }
    match result {
        Ok(length) if length < expected => Err(short(length, expected)),
        Ok(_) => output.get(..expected).ok_or_else(|| short(output.len(), expected)),
        Err(DecompressionError::BadData) => Err(Fault::corrupt("its deflate stream is damaged")),
        Err(DecompressionError::InsufficientSpace) => {
            Err(Fault::corrupt(format!("its deflate stream decodes to more than the {most} bytes of a block")))
        }
    }
}

/// Undoes TIFF's LZW (most significant bit first, early change of code width).
pub(super) fn lzw(encoded: &[u8], expected: usize) -> Checked<Vec<u8>> {
    if let [0, second, ..] = encoded
        && second & 1 == 1
    {
        return Err(Fault::unsupported("old-style LZW (least significant bit first)"));
    }
    check_ratio(encoded, expected, LZW_RATIO)?;
    let configuration = weezl::decode::Configuration::with_tiff_size_switch(BitOrder::Msb, 8);
    let mut decoder = configuration.with_yield_on_full_buffer(true).build();
    let mut output = vec![0; expected];
    let (mut read, mut written) = (0, 0);
    while written < expected {
        let (Some(input), Some(space)) = (encoded.get(read..), output.get_mut(written..)) else { break };
        let result = decoder.decode_bytes(input, space);
        read += result.consumed_in;
        written += result.consumed_out;
        match result.status {
            Ok(LzwStatus::Ok) if result.consumed_in + result.consumed_out > 0 => {}
            Ok(_) => break,
            Err(_) => return Err(Fault::corrupt("its LZW stream is damaged")),
        }
    }
    if written == expected { Ok(output) } else { Err(short(written, expected)) }
}

/// Undoes Zstandard. A last strip may hold up to `most` bytes.
pub(super) fn zstd(encoded: &[u8], expected: usize, most: usize) -> Checked<Vec<u8>> {
    // The frame says how much it holds, if its writer knew: refuse what cannot fit before memory is taken.
    if let Ok(Some(announced)) = zstd::zstd_safe::get_frame_content_size(encoded)
        && usize::try_from(announced).map_or(true, |announced| announced > most)
    {
        return Err(Fault::corrupt(format!("its Zstandard stream announces {announced} bytes, a block has {most}")));
    }
    let mut output = zstd::bulk::decompress(encoded, most)
        .map_err(|error| Fault::corrupt(format!("its Zstandard stream is damaged ({error})")))?;
    if output.len() < expected {
        return Err(short(output.len(), expected));
    }
    output.truncate(expected);
    Ok(output)
}

/// Undoes PackBits (TIFF 6.0, section 9).
pub(super) fn pack_bits(encoded: &[u8], expected: usize) -> Checked<Vec<u8>> {
    // A run of 128 bytes takes 2.
    check_ratio(encoded, expected, 64)?;
    let mut output = Vec::with_capacity(expected);
    let mut rest = encoded;
    while output.len() < expected {
        let Some((&control, after)) = rest.split_first() else { return Err(short(output.len(), expected)) };
        rest = after;
        let space = expected - output.len();
        match control {
            // The next 1 to 128 bytes as they are.
            0..=127 => {
                let length = usize::from(control) + 1;
                let (literal, after) =
                    rest.split_at_checked(length).ok_or_else(|| short(output.len() + rest.len(), expected))?;
                output.extend_from_slice(literal.get(..space.min(length)).unwrap_or_default());
                rest = after;
            }
            128 => {}
            // The next byte 2 to 128 times.
            129..=255 => {
                let (&byte, after) = rest.split_first().ok_or_else(|| short(output.len(), expected))?;
                output.resize(output.len() + space.min(257 - usize::from(control)), byte);
                rest = after;
            }
        }
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_packbits_specification_unpacks() {
        // Apple Technical Note TN1023.
        let packed = [0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0xFD, 0xAA, 0x03, 0x80, 0x00, 0x2A, 0x22, 0xF7, 0xAA];
        let unpacked = [
            0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0x22, 0xAA, 0xAA, 0xAA, 0xAA,
            0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA,
        ];
        assert_eq!(pack_bits(&packed, 24).unwrap(), unpacked);
        assert!(pack_bits(&packed, 25).is_err());
        assert!(pack_bits(&packed[..14], 24).is_err());
    }

    #[test]
    fn a_bomb_is_stopped_at_the_size_of_the_block() {
        let zeros = vec![0_u8; 1 << 20];
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
        let mut bomb = vec![0; compressor.zlib_compress_bound(zeros.len())];
        let length = compressor.zlib_compress(&zeros, &mut bomb).unwrap();
        bomb.truncate(length);
        let mut bytes = vec![7; 100];
        assert!(deflate(&bomb, 4096, 4096, &mut bytes).is_err());
        assert_eq!(deflate(&bomb, 1 << 20, 1 << 20, &mut bytes).unwrap(), zeros);
        assert!(deflate(&bomb, 1 << 28, 1 << 28, &mut bytes).is_err(), "more is claimed than the stream can hold");
        let bomb = zstd::bulk::compress(&zeros, 1).unwrap();
        assert!(zstd(&bomb, 4096, 4096).is_err());
        assert_eq!(zstd(&bomb, 1 << 20, 1 << 20).unwrap(), zeros);
    }

    #[test]
    fn a_stream_that_ends_early_is_an_error() {
        let noise: Vec<u8> = (0..4096_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut packed = weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(&noise).unwrap();
        assert_eq!(lzw(&packed, 4096).unwrap(), noise);
        packed.truncate(packed.len() / 2);
        assert!(lzw(&packed, 4096).is_err());
    }
}
