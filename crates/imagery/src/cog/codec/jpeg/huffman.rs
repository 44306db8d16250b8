//! Entropy decoding (T.81, annex F.2).

use super::damaged;
use crate::cog::fault::Checked;

/// Bits of a code that one look-up resolves.
const FAST_BITS: u32 = 9;

/// Position in the block of the coefficient that is `k`-th in zigzag order.
#[rustfmt::skip]
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A Huffman code.
#[derive(Clone)]
pub(super) struct HuffmanTable {
    /// Length and symbol by the next `FAST_BITS` bits; length 0 for longer codes.
    fast: Vec<(u8, u8)>,
    /// Per length from 1: the first code beyond it (left-aligned to 16 bits), and what to add to a code to get the index
    /// of its symbol.
    ends: [(u32, i32); 16],
    symbols: Vec<u8>,
}

impl HuffmanTable {
    /// From the number of codes of each length and the symbols by code (T.81, annex C).
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Checked<Self> {
        let mut fast = vec![(0, 0); 1 << FAST_BITS];
        let mut ends = [(0, 0); 16];
        let (mut code, mut index) = (0_u32, 0_usize);
        for ((length, &count), end) in (1_u32..).zip(counts).zip(&mut ends) {
            let offset = i32::try_from(index).unwrap_or(i32::MAX) - i32::try_from(code).unwrap_or(i32::MAX);
            for _ in 0..count {
                if code >> length != 0 {
                    return Err(damaged("a Huffman table has too many codes"));
                }
                if let (Some(shift), Some(&symbol)) = (FAST_BITS.checked_sub(length), symbols.get(index)) {
                    let from = (code << shift) as usize;
                    let entries = fast.get_mut(from..from + (1 << shift)).unwrap_or_default();
                    entries.fill((u8::try_from(length).unwrap_or(0), symbol));
                }
                code += 1;
                index += 1;
            }
            *end = (code << (16 - length), offset);
            code <<= 1;
        }
        Ok(Self { fast, ends, symbols: symbols.to_vec() })
    }

    fn symbol(&self, bits: &mut BitReader<'_>) -> Checked<u8> {
        let next = bits.peek();
        if let Some(&(length @ 1.., symbol)) = self.fast.get((next >> (16 - FAST_BITS)) as usize) {
            bits.skip(length.into())?;
            return Ok(symbol);
        }
        for (length, &(end, offset)) in (1_u32..).zip(&self.ends) {
            if next < end {
                bits.skip(length)?;
                let code = i32::try_from(next >> (16 - length)).unwrap_or(i32::MAX);
                let index = usize::try_from(code.saturating_add(offset)).unwrap_or(usize::MAX);
                return self.symbols.get(index).copied().ok_or_else(|| damaged("a code that means nothing"));
            }
        }
        Err(damaged("a code that means nothing"))
    }
}

/// The tables that decode a component's blocks.
pub(super) struct BlockTables {
    /// Quantization steps in zigzag order.
    pub(super) steps: [u16; 64],
    pub(super) dc: HuffmanTable,
    pub(super) ac: HuffmanTable,
}

impl BlockTables {
    /// The next block's coefficients, dequantized, row by row. `prediction` is the DC coefficient before.
    pub(super) fn block(&self, bits: &mut BitReader<'_>, prediction: &mut i32) -> Checked<[i32; 64]> {
        let mut block = [0_i32; 64];
        let size = self.dc.symbol(bits)?;
        *prediction = prediction.wrapping_add(bits.signed(size)?);
        if let (Some(first), Some(&step)) = (block.first_mut(), self.steps.first()) {
            *first = prediction.wrapping_mul(step.into());
        }
        let mut k = 1;
        while k < 64 {
            let symbol = self.ac.symbol(bits)?;
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            match (run, size) {
                // 16 zeros.
                (15, 0) => k += 16,
                // The rest is zero.
                (_, 0) => break,
                _ => {
                    k += run;
                    let value = bits.signed(size)?;
                    let place = ZIGZAG.get(k).zip(self.steps.get(k));
                    let (&place, &step) = place.ok_or_else(|| damaged("more coefficients than a block has"))?;
                    if let Some(coefficient) = block.get_mut(usize::from(place)) {
                        *coefficient = value.wrapping_mul(step.into());
                    }
                    k += 1;
                }
            }
        }
        Ok(block)
    }
}

/// Entropy-coded bits; `ff 00` stands for `ff`, any other `ff` ends them.
pub(super) struct BitReader<'a> {
    rest: &'a [u8],
    /// The next bits, left-aligned; zeros after the last.
    buffer: u64,
    /// How many of them there are.
    held: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, buffer: 0, held: 0 }
    }

    fn fill(&mut self) {
        while self.held <= 56 {
            let (byte, used) = match self.rest {
                [0xff, 0, ..] => (0xff, 2),
                [0xff, ..] | [] => return,
                [byte, ..] => (*byte, 1),
            };
            self.buffer |= u64::from(byte) << (56 - self.held);
            self.held += 8;
            self.rest = self.rest.get(used..).unwrap_or_default();
        }
    }

    /// The next 16 bits.
    fn peek(&mut self) -> u32 {
        if self.held < 16 {
            self.fill();
        }
        u32::try_from(self.buffer >> 48).unwrap_or_default()
    }

    /// Passes over at most 16 bits that were peeked at.
    fn skip(&mut self, count: u32) -> Checked<()> {
        self.held = self.held.checked_sub(count).ok_or_else(|| damaged("its pixels end too early"))?;
        self.buffer <<= count;
        Ok(())
    }

    /// A number of `size` bits in T.81's code (F.2.2.1, EXTEND).
    fn signed(&mut self, size: u8) -> Checked<i32> {
        if size == 0 {
            return Ok(0);
        }
        if size > 15 {
            return Err(damaged("a coefficient that is too large"));
        }
        let size = u32::from(size);
        let value = i32::try_from(self.peek() >> (16 - size)).unwrap_or_default();
        self.skip(size)?;
        Ok(if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value })
    }

    /// Passes over a restart marker.
    pub(super) fn restart(&mut self) -> Checked<()> {
        // Bits left over within a byte are padding; whole bytes are not.
        if self.held >= 8 {
            return Err(damaged("a restart marker is missing"));
        }
        (self.buffer, self.held) = (0, 0);
        while let [0xff, 0xff, ..] = self.rest {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        match self.rest {
            [0xff, 0xd0..=0xd7, rest @ ..] => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(damaged("a restart marker is missing")),
        }
    }

    /// The end must be there: without it, bytes are missing.
    pub(super) fn check_end(&mut self) -> Checked<()> {
        let end = self.rest.windows(2).any(|two| two == [0xff, 0xd9]);
        if end { Ok(()) } else { Err(damaged("its end is missing")) }
    }
}
