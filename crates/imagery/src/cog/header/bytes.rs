//! The bytes of a header, fetched in few requests and within limits.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use crate::ImageryError;
use crate::cog::fault::Fault;
use crate::cog::limits::Limits;
use crate::store::RemoteFile;

/// Bytes fetched around a piece of header that is not there yet: neighbours are usually wanted next.
const READ_AHEAD: u64 = 16 << 10;

/// What has been fetched of a file's header.
pub(super) struct HeaderBytes<'a> {
    file: &'a RemoteFile,
    size: u64,
    limits: &'a Limits,
    fetched: u64,
    /// Fetched pieces by first byte.
    pieces: BTreeMap<u64, Bytes>,
}

impl<'a> HeaderBytes<'a> {
    /// Fetches the first bytes of a file of `size` bytes.
    pub(super) async fn open(file: &'a RemoteFile, size: u64, limits: &'a Limits) -> Result<Self, ImageryError> {
        let mut header = Self { file, size, limits, fetched: 0, pieces: BTreeMap::new() };
        header.fetch(std::slice::from_ref(&(0..limits.gap_bytes.min(size)))).await?;
        Ok(header)
    }

    /// The bytes of `range`; `what` names them in errors.
    pub(super) async fn read(&mut self, range: Range<u64>, what: &str) -> Result<Bytes, ImageryError> {
        self.check(&range, what)?;
        if self.cached(&range).is_none() {
            let ahead = range.start.saturating_add(READ_AHEAD).min(self.size);
            self.fetch(std::slice::from_ref(&(range.start..range.end.max(ahead)))).await?;
        }
        self.cached(&range).ok_or_else(|| self.fault(&range, what, "came back short"))
    }

    /// Fetches what is missing of `ranges`, neighbours with one request, all at once.
    pub(super) async fn prefetch(&mut self, ranges: &[Range<u64>], what: &str) -> Result<(), ImageryError> {
        let mut missing: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            self.check(range, what)?;
            if self.cached(range).is_none() {
                missing.push(range.clone());
            }
        }
        missing.sort_by_key(|range| (range.start, range.end));
        let mut joined: Vec<Range<u64>> = Vec::new();
        for range in missing {
            match joined.last_mut() {
                Some(last) if range.start <= last.end.saturating_add(self.limits.gap_bytes) => {
                    last.end = last.end.max(range.end);
                }
                _ => joined.push(range),
            }
        }
        if joined.is_empty() { Ok(()) } else { self.fetch(&joined).await }
    }

    /// Length of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn cached(&self, range: &Range<u64>) -> Option<Bytes> {
        let (&start, piece) = self.pieces.range(..=range.start).next_back()?;
        let from = usize::try_from(range.start.checked_sub(start)?).ok()?;
        let to = usize::try_from(range.end.checked_sub(start)?).ok()?;
        (from <= to && to <= piece.len()).then(|| piece.slice(from..to))
    }

    async fn fetch(&mut self, ranges: &[Range<u64>]) -> Result<(), ImageryError> {
        let bytes = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.end.saturating_sub(range.start)));
        self.fetched = self.fetched.saturating_add(bytes);
        if self.fetched > self.limits.header_bytes {
            let cause = format!("its header takes more than {} bytes", self.limits.header_bytes);
            return Err(Fault::corrupt(cause).of_file(&self.file.label()));
        }
        let pieces = self.file.ranges(ranges).await?;
        for (range, piece) in ranges.iter().zip(pieces) {
            // Keep the longer of two pieces that begin at the same byte.
            let kept = self.pieces.entry(range.start).or_default();
            if kept.len() < piece.len() {
                *kept = piece;
            }
        }
        Ok(())
    }

    fn check(&self, range: &Range<u64>, what: &str) -> Result<(), ImageryError> {
        if range.end > self.size || range.start > range.end {
            return Err(self.fault(range, what, "lie beyond the end of the file"));
        }
        Ok(())
    }

    fn fault(&self, range: &Range<u64>, what: &str, wrong: &str) -> ImageryError {
        let Range { start, end } = range;
        Fault::corrupt(format!("{what}: bytes {start} to {end} {wrong} ({} bytes)", self.size))
            .of_file(&self.file.label())
    }
}
