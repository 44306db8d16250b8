//! Dilation of many rows at once.
//!
//! The rows of a band lie one behind the other, with words between them that stand for what is beyond their ends: so a step to
//! both sides is one loop over all words of the band, whatever the length of a row.

use survey::wide::Kernel;

use super::{Mask, after, before, clear_spare, last_word};

/// Rows that are dilated together: with what is around them they stay in the nearest cache.
pub(super) const BAND_ROWS: usize = 128;

/// Some rows of a mask's dilation that are to be computed.
pub(super) struct DilatedRows<'a> {
    pub(super) mask: &'a Mask,
    /// Half widths of the element at each distance from its middle row.
    pub(super) half_widths: &'a [i32],
    /// Whether what lies beyond the mask counts as set.
    pub(super) outside: bool,
    /// The first of the rows, from the mask's first.
    pub(super) first: usize,
    pub(super) out: &'a mut [u64],
}

impl Kernel for DilatedRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { mask, half_widths, outside, first, out } = self;
        let radius = half_widths.len().saturating_sub(1);
        let (rows, length, cols) = (mask.rect.rows(), mask.words_per_row, mask.rect.cols());
        let wanted = out.len() / length.max(1);
        let (from, to) = (first.saturating_sub(radius), (first + wanted + radius).min(rows));
        let mut widths: Vec<usize> = half_widths.iter().map(|&width| width.unsigned_abs() as usize).collect();
        widths.sort_unstable();
        widths.dedup();
        // What is set on the way beyond an end comes back, and never reaches another row: so there is room for it at both ends, and
        // as much again that no step looks at.
        let margin = widths.last().map_or(0, |widest| widest / 64) + 1;
        let (stride, lead) = (length + margin, 2 * margin);
        let beyond = if outside { u64::MAX } else { 0 };
        let mut now = vec![beyond; lead + (to - from) * stride + margin];
        for (row, words) in (from..to).zip(now[lead..].chunks_exact_mut(stride)) {
            words[..length].copy_from_slice(&mask.words[row * length..][..length]);
            words[length - 1] |= beyond & !last_word(cols);
        }
        let mut next = now.clone();
        let mut dilated = vec![0; wanted * stride];
        let mut reach = 0;
        for &width in &widths {
            while reach < width {
                let step = (2 * reach + 1).min(width - reach);
                spread(&now, &mut next, step);
                std::mem::swap(&mut now, &mut next);
                reach += step;
            }
            // The rows to which those of this width lie at their distance.
            for (distance, _) in
                half_widths.iter().enumerate().filter(|(_, half)| half.unsigned_abs() as usize == width)
            {
                for (above, below) in [(distance, 0), (0, distance)].into_iter().take(1 + distance.min(1)) {
                    // Row `to_row` takes the row `above` rows above it, or `below` rows below it.
                    let begin = (from + above).max(first);
                    let end = (to + above).saturating_sub(below).min(first + wanted);
                    if begin >= end {
                        continue;
                    }
                    let source = lead + (begin + below - above - from) * stride;
                    let words = &now[source..][..(end - begin) * stride];
                    let target = &mut dilated[(begin - first) * stride..][..words.len()];
                    target.iter_mut().zip(words).for_each(|(out, word)| *out |= word);
                }
            }
        }
        for (index, (out, words)) in out.chunks_exact_mut(length).zip(dilated.chunks_exact(stride)).enumerate() {
            let row = first + index;
            if outside && (row < radius || row + radius >= rows) {
                out.fill(u64::MAX);
            } else {
                out.copy_from_slice(&words[..length]);
            }
            clear_spare(out, cols);
        }
    }
}

/// Sets what lies `step` bits to either side of a set bit, but for the words at both ends that it takes to look so far. With steps of
/// up to twice what was reached before and one more, nothing between is left out.
#[inline(always)]
fn spread(now: &[u64], next: &mut [u64], step: usize) {
    let (words, bits) = (step / 64, (step % 64) as u32);
    let margin = words + 1;
    let Some(inner) = now.len().checked_sub(2 * margin) else { return };
    let shifted = |first: usize| &now[first..][..inner];
    let lower = shifted(margin - words).iter().zip(shifted(0));
    let upper = shifted(margin + words).iter().zip(shifted(2 * margin));
    let pixels = next[margin..][..inner].iter_mut().zip(shifted(margin)).zip(lower.zip(upper));
    for ((out, here), ((low, lower), (high, higher))) in pixels {
        *out = here | low << bits | before(*lower, bits) | high >> bits | after(*higher, bits);
    }
}
