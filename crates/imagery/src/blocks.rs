//! Decoded blocks, each fetched and decoded once: a cache within a budget of bytes, in which concurrent readers of a
//! block wait for the one that fetches it. Blocks that all have read who are expected to leave first (at once, where nobody
//! reads them for anything else), then those that were not read for longest.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::cog::{Block, BlockIndex};
use crate::error::ImageryError;

/// A block, or why there is none.
pub type Decoded = Result<Arc<Block>, ImageryError>;

/// What becomes of a block that all have read who are expected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays while there is room: somebody may read it for something else.
    Stays,
    /// It leaves.
    Leaves,
}

/// Which block of which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    file: u64,
    level: usize,
    row: u32,
    col: u32,
}

/// A cache of decoded blocks.
#[derive(Debug)]
pub struct BlockCache {
    capacity: u64,
    state: Mutex<State>,
    decoded: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Blocks in the order in which they leave.
    by_turn: BTreeMap<Turn, Key>,
    uses: u64,
    bytes: u64,
}

/// When a block leaves: those that nobody is expected to read any more first, then by last use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    is_wanted: bool,
    used: u64,
}

#[derive(Debug)]
enum Entry {
    Here {
        block: Arc<Block>,
        bytes: u64,
        turn: Turn,
        /// How many of those have read it who are expected to.
        reads: u32,
    },
    /// Somebody fetches it.
    Coming(watch::Receiver<Option<Decoded>>),
}

/// The keys that a reader has promised to fetch. Dropped early (a cancelled job), it takes the promises back, and who
/// waits fetches itself.
struct Promise<'a> {
    cache: &'a BlockCache,
    open: Vec<(Key, watch::Sender<Option<Decoded>>)>,
}

impl BlockCache {
    /// A cache that keeps at most `capacity` bytes of decoded blocks that nobody uses at the moment.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self { capacity, state: Mutex::default(), decoded: AtomicU64::new(0) }
    }

    /// Blocks that were fetched and decoded so far.
    #[must_use]
    pub fn decoded(&self) -> u64 {
        self.decoded.load(Ordering::Relaxed)
    }

    /// The most bytes of blocks that are kept.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes of the blocks that are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Of each block, whether it would be fetched now: it is neither here nor on its way.
    #[must_use]
    pub fn missing(&self, file: u64, level: usize, blocks: &[BlockIndex]) -> Vec<bool> {
        let state = self.lock();
        let key = |block: &BlockIndex| Key { file, level, row: block.row, col: block.col };
        blocks.iter().map(|block| !state.entries.contains_key(&key(block))).collect()
    }

    /// Says that one of those who are expected to read these blocks has done so; of each block how many they are.
    pub fn read(&self, file: u64, level: usize, blocks: impl IntoIterator<Item = (BlockIndex, u32)>, then: Then) {
        let mut state = self.lock();
        for (block, readers) in blocks {
            state.read(Key { file, level, row: block.row, col: block.col }, readers, then);
        }
    }

    /// The blocks of a level of a file, in the order asked for. Those that are not here and not on their way are
    /// fetched with one call of `fetch`, which returns one outcome per block, in order. Errors are not kept.
    pub async fn get<F, Fut>(&self, file: u64, level: usize, blocks: &[BlockIndex], fetch: F) -> Vec<Decoded>
    where
        F: Fn(Vec<BlockIndex>) -> Fut,
        Fut: Future<Output = Vec<Result<Block, ImageryError>>>,
    {
        let key = |block: &BlockIndex| Key { file, level, row: block.row, col: block.col };
        let mut outcomes: Vec<Option<Decoded>> = vec![None; blocks.len()];
        let mut missing: Vec<usize> = (0..blocks.len()).collect();
        while !missing.is_empty() {
            let mut promise = Promise { cache: self, open: Vec::new() };
            let mut mine: Vec<usize> = Vec::new();
            let mut waiting: Vec<(usize, watch::Receiver<Option<Decoded>>)> = Vec::new();
            {
                let mut state = self.lock();
                for index in missing.drain(..) {
                    let Some(block) = blocks.get(index) else { continue };
                    match state.find(key(block)) {
                        Some(Entry::Here { block, .. }) => outcomes[index] = Some(Ok(Arc::clone(block))),
                        Some(Entry::Coming(receiver)) => waiting.push((index, receiver.clone())),
                        None => {
                            let (sender, receiver) = watch::channel(None);
                            state.entries.insert(key(block), Entry::Coming(receiver));
                            promise.open.push((key(block), sender));
                            mine.push(index);
                        }
                    }
                }
            }
            if !mine.is_empty() {
                let wanted: Vec<BlockIndex> = mine.iter().filter_map(|&index| blocks.get(index).copied()).collect();
                let mut fetched = fetch(wanted).await.into_iter();
                for index in mine {
                    let outcome = match fetched.next() {
                        Some(Ok(block)) => Ok(Arc::new(block)),
                        Some(Err(error)) => Err(error),
                        None => {
                            Err(ImageryError::Transient { href: "block".into(), cause: "it was not fetched".into() })
                        }
                    };
                    self.decoded.fetch_add(1, Ordering::Relaxed);
                    outcomes[index] = Some(outcome.clone());
                    promise.keep(outcome);
                }
            }
            drop(promise);
            for (index, mut receiver) in waiting {
                let outcome = receiver.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
                match outcome {
                    Some(outcome) => outcomes[index] = Some(outcome),
                    // Who fetched it gave up.
                    None => missing.push(index),
                }
            }
        }
        outcomes.into_iter().flatten().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before the lock is given back, so a panic elsewhere cannot leave it
        // half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The entry, marked as used.
    fn find(&mut self, key: Key) -> Option<&Entry> {
        if let Some(Entry::Here { turn, .. }) = self.entries.get_mut(&key) {
            self.uses += 1;
            self.by_turn.remove(turn);
            turn.used = self.uses;
            self.by_turn.insert(*turn, key);
        }
        self.entries.get(&key)
    }

    fn read(&mut self, key: Key, readers: u32, then: Then) {
        let Some(Entry::Here { turn, reads, .. }) = self.entries.get_mut(&key) else { return };
        *reads += 1;
        if *reads < readers {
            return;
        }
        self.by_turn.remove(turn);
        turn.is_wanted = false;
        self.by_turn.insert(*turn, key);
        if then == Then::Leaves {
            let turn = *turn;
            self.let_go(turn);
        }
    }

    fn keep(&mut self, key: Key, block: Arc<Block>, capacity: u64) {
        let bytes = block_bytes(&block);
        self.uses += 1;
        let turn = Turn { is_wanted: true, used: self.uses };
        self.entries.insert(key, Entry::Here { block, bytes, turn, reads: 0 });
        self.by_turn.insert(turn, key);
        self.bytes += bytes;
        while self.bytes > capacity {
            let Some((&first, _)) = self.by_turn.first_key_value() else { break };
            self.let_go(first);
        }
    }

    fn let_go(&mut self, turn: Turn) {
        let Some(key) = self.by_turn.remove(&turn) else { return };
        if let Some(Entry::Here { bytes, .. }) = self.entries.remove(&key) {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }
}

impl Promise<'_> {
    /// Keeps the oldest open promise: the outcomes come in the order of the promises.
    fn keep(&mut self, outcome: Decoded) {
        if self.open.is_empty() {
            return;
        }
        let (key, sender) = self.open.remove(0);
        {
            let mut state = self.cache.lock();
            match &outcome {
                Ok(block) => state.keep(key, Arc::clone(block), self.cache.capacity),
                Err(_) => {
                    state.entries.remove(&key);
                }
            }
        }
        sender.send_replace(Some(outcome));
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let mut state = self.cache.lock();
        for (key, _) in self.open.drain(..) {
            state.entries.remove(&key);
        }
    }
}

/// Bytes of memory of a decoded block.
fn block_bytes(block: &Block) -> u64 {
    let bands: usize = block.bands.iter().map(crate::cog::Samples::bytes).sum();
    (bands + block.mask.as_ref().map_or(0, Vec::len)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cog::Samples;

    fn block(value: u8) -> Block {
        Block { rows: 10, cols: 10, bands: vec![Samples::U8(vec![value; 100])], bounds: vec![], mask: None }
    }

    fn at(col: u32) -> BlockIndex {
        BlockIndex { row: 0, col }
    }

    async fn values(cache: &BlockCache, cols: &[u32], fetched: &Mutex<Vec<u32>>) -> Vec<u8> {
        let blocks: Vec<_> = cols.iter().map(|&col| at(col)).collect();
        let got = cache
            .get(1, 0, &blocks, |wanted| async move {
                fetched.lock().unwrap().extend(wanted.iter().map(|block| block.col));
                tokio::task::yield_now().await;
                wanted.iter().map(|index| Ok(block(index.col as u8))).collect()
            })
            .await;
        got.into_iter().map(|block| block.unwrap().bands[0].get(0).unwrap() as u8).collect()
    }

    #[tokio::test]
    async fn concurrent_readers_fetch_each_block_once() {
        let (cache, fetched) = (BlockCache::new(10_000), Mutex::new(Vec::new()));
        let (a, b) = tokio::join!(values(&cache, &[0, 1, 2], &fetched), values(&cache, &[2, 1, 3, 1], &fetched));
        assert_eq!((a, b), (vec![0, 1, 2], vec![2, 1, 3, 1]));
        let mut fetched = fetched.into_inner().unwrap();
        fetched.sort_unstable();
        assert_eq!((fetched, cache.decoded()), (vec![0, 1, 2, 3], 4));
        assert_eq!(cache.missing(1, 0, &[at(4), at(3)]), [true, false]);
    }

    #[tokio::test]
    async fn the_least_recently_used_block_leaves_when_the_budget_is_full() {
        let (cache, fetched) = (BlockCache::new(250), Mutex::new(Vec::new()));
        for cols in [[0, 1], [0, 2], [0, 1]] {
            values(&cache, &cols, &fetched).await;
            assert!(cache.bytes() <= 250);
        }
        assert_eq!(fetched.into_inner().unwrap(), [0, 1, 2, 1]);
    }

    #[tokio::test]
    async fn a_block_that_all_have_read_leaves_before_one_that_was_not_used_for_longer() {
        let (cache, fetched) = (BlockCache::new(250), Mutex::new(Vec::new()));
        values(&cache, &[0, 1], &fetched).await;
        // Of two readers of 0 and of 1, both have read 1.
        cache.read(1, 0, [(at(0), 2), (at(1), 2)], Then::Stays);
        cache.read(1, 0, [(at(1), 2)], Then::Stays);
        for col in [2, 0, 1] {
            values(&cache, &[col], &fetched).await;
        }
        // 0 was used before 1, and stayed.
        assert_eq!(*fetched.lock().unwrap(), [0, 1, 2, 1]);
        let bytes = cache.bytes();
        for left in [bytes, bytes - 100] {
            cache.read(1, 0, [(at(1), 2)], Then::Leaves);
            assert_eq!(cache.bytes(), left);
        }
        values(&cache, &[0, 1], &fetched).await;
        assert_eq!(fetched.into_inner().unwrap(), [0, 1, 2, 1, 1]);
    }

    #[tokio::test]
    async fn who_waits_for_a_cancelled_reader_fetches_itself() {
        let (cache, fetched) = (BlockCache::new(1000), Mutex::new(Vec::new()));
        let wanted = [at(0)];
        let never = cache.get(1, 0, &wanted, |_| std::future::pending());
        let mut never = Box::pin(never);
        assert!(futures::poll!(&mut never).is_pending());
        let waiting = values(&cache, &[0], &fetched);
        let mut waiting = Box::pin(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(never);
        assert_eq!(waiting.await, [0]);
        assert_eq!(fetched.into_inner().unwrap(), [0]);
    }

    #[tokio::test]
    async fn an_error_reaches_all_who_wait_and_is_not_kept() {
        let cache = BlockCache::new(1000);
        let broken = |_| async {
            tokio::task::yield_now().await;
            vec![Err(ImageryError::Corrupt { href: "a.tif".into(), cause: "bits".into() })]
        };
        let wanted = [at(0)];
        let (a, b) = tokio::join!(cache.get(1, 0, &wanted, broken), cache.get(1, 0, &wanted, broken));
        assert!(a[0].is_err() && b[0].is_err() && cache.decoded() == 1);
        assert_eq!(values(&cache, &[0], &Mutex::new(Vec::new())).await, [0]);
    }
}
