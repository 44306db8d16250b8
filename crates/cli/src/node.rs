//! The workers of a process: threads, memory and slots, the same for a whole survey in one process and for a node of a
//! cluster.

use std::sync::Arc;

use anyhow::{Context, Result};
use imagery::scene_reader::SceneReader;
use imagery::store::Stores;
use worker::{Connector, Surveys, Worker, WorkerConfig};

/// Share of a worker's memory that decoded blocks are kept in; the rest is for jobs.
const CACHE_SHARE: u64 = 4;
/// The most that the decoded blocks of a worker are worth.
const LARGEST_CACHE: u64 = 1 << 30;

/// What the workers of this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Workers, at least one. They share nothing but the coordinator.
    pub workers: usize,
    /// Threads that compute pixels, over all workers; at least one each.
    pub threads: usize,
    /// Bytes of memory, over all workers.
    pub memory: u64,
}

impl Resources {
    /// Threads, bytes for jobs and bytes for decoded blocks of one worker.
    fn per_worker(&self) -> (usize, u64, u64) {
        let workers = self.workers.max(1);
        let memory = self.memory / workers as u64;
        let cache = (memory / CACHE_SHARE).min(LARGEST_CACHE);
        (self.threads.div_ceil(workers).max(1), memory - cache, cache)
    }

    /// Bytes that one worker gives its jobs: no job may need more.
    #[must_use]
    pub fn job_memory(&self) -> u64 {
        self.per_worker().1
    }

    /// One of the workers: named `name`, with slots for as many jobs at the same time as `slots` says.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn worker(&self, name: String, slots: Option<u32>, stores: &Stores, connector: Connector) -> Result<Worker> {
        let (threads, memory, cache) = self.per_worker();
        let prefix = name.clone();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(move |thread| format!("{prefix}-{thread}"))
            .build()
            .context("no threads for a worker")?;
        let runner = Surveys::new(stores.clone(), SceneReader::new(stores.clone(), cache), Arc::new(pool));
        let slots = slots.unwrap_or_else(|| u32::try_from(slots_of(threads)).unwrap_or(u32::MAX));
        Ok(Worker::new(WorkerConfig { name, slots, memory }, connector, Arc::new(runner)))
    }
}

/// Jobs that a worker of so many threads has at the same time: one more, so that while one computes, another fetches.
#[must_use]
pub fn slots_of(threads: usize) -> usize {
    threads.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_threads_are_shared_out_among_the_workers() {
        let resources = Resources { workers: 3, threads: 4, memory: 12 << 30 };
        assert_eq!(resources.per_worker(), (2, 3 << 30, 1 << 30));
        assert_eq!(Resources { workers: 0, threads: 0, memory: 8 << 20 }.per_worker(), (1, 6 << 20, 2 << 20));
    }
}
