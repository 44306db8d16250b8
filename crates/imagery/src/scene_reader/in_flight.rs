//! The bytes of blocks on their way: fetched, being decoded, or not yet added to a window.
//!
//! All reads of a reader share them, so that what is in flight does not grow with the number of jobs and files that are
//! read at the same time. A read holds its share of one batch at a time and never asks for more while it holds any, so
//! that reads cannot wait for each other in a ring.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes are given out in pieces of this many.
const UNIT: u64 = 64 << 10;

/// Share of the bytes for blocks that may be in flight, and its bounds.
const SHARE: u64 = 4;
const LEAST: u64 = 8 << 20;
const MOST: u64 = 128 << 20;

/// A batch takes at most this part of the bytes in flight, so that several files are read at the same time.
const BATCHES: u64 = 4;

/// Decoded bytes of a batch of blocks, at most.
const BATCH_BYTES: u64 = 32 << 20;

/// A block is there twice for a while: as it was fetched, and decoded.
const COPIES: u64 = 2;

/// The bytes that blocks in flight may take. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    units: u32,
    free: Arc<Semaphore>,
}

impl InFlight {
    /// A share of the bytes that a reader may hold blocks in.
    pub(super) fn out_of(bytes: u64) -> Self {
        let units = u32::try_from((bytes / SHARE).clamp(LEAST, MOST) / UNIT).unwrap_or(1);
        Self { units, free: Arc::new(Semaphore::new(units as usize)) }
    }

    /// All of them.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.units) * UNIT
    }

    /// Blocks of `block_bytes` decoded bytes that are fetched together, at least one.
    pub(super) fn batch(&self, block_bytes: u64) -> usize {
        let bytes = (self.bytes() / BATCHES / COPIES).min(BATCH_BYTES);
        usize::try_from(bytes / block_bytes.max(1)).unwrap_or(1).max(1)
    }

    /// Waits until blocks of so many decoded bytes may be fetched. A block that is larger than all there is waits until
    /// nothing else is in flight.
    pub(super) async fn take(&self, decoded_bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(decoded_bytes.saturating_mul(COPIES).div_ceil(UNIT)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        Arc::clone(&self.free).acquire_many_owned(units.clamp(1, self.units)).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn batches_wait_for_bytes_and_a_block_larger_than_all_of_them_comes_through_alone() {
        let bytes = InFlight::out_of(64 << 20);
        assert_eq!((bytes.bytes(), bytes.batch(1 << 20), bytes.batch(100 << 20)), (16 << 20, 2, 1));
        let first = bytes.take(6 << 20).await;
        let mut second = Box::pin(bytes.take(3 << 20));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert!(second.await.is_some());
        assert!(bytes.take(1 << 40).await.is_some());
    }

    #[test]
    fn small_and_large_readers_keep_their_bounds() {
        assert_eq!(InFlight::out_of(1 << 20).bytes(), LEAST);
        assert_eq!(InFlight::out_of(64 << 30).bytes(), MOST);
    }
}
