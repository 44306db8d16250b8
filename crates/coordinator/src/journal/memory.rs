//! A journal in memory: for tests, and for surveys whose coordinator need not outlive anything.

use std::sync::{Arc, Mutex, PoisonError};

use crate::journal::{Journal, JournalError, JournalStore, Record};

/// Holds a journal in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    epoch: u64,
    records: Vec<Record>,
}

/// A journal in memory.
#[derive(Debug)]
pub struct MemoryJournal {
    log: Arc<Mutex<Log>>,
    epoch: u64,
}

impl MemoryStore {
    /// What was written.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).records.clone()
    }
}

impl JournalStore for MemoryStore {
    type Journal = MemoryJournal;

    async fn open(&self, _writer: &str) -> Result<(MemoryJournal, Vec<Record>), JournalError> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.epoch += 1;
        Ok((MemoryJournal { log: Arc::clone(&self.0), epoch: log.epoch }, log.records.clone()))
    }
}

impl Journal for MemoryJournal {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.epoch != self.epoch {
            return Err(JournalError::Fenced { journal: "memory".into() });
        }
        log.records.extend_from_slice(records);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conforms() {
        crate::journal::conformance::suite(MemoryStore::default).await;
    }
}
