//! A journal in memory: for tests, and for surveys whose coordinator need not outlive anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use survey::ids::SurveyId;

use crate::journal::books::{Books, JobBook};
use crate::journal::rows::{Change, Rows, generation_of};
use crate::journal::{Journal, JournalError, JournalReader, JournalStore, Record};

/// Holds a journal in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    epoch: u64,
    rows: BTreeMap<Vec<u8>, Bytes>,
    appended: Vec<Record>,
}

/// A journal in memory.
#[derive(Debug)]
pub struct MemoryJournal {
    store: MemoryStore,
    rows: Rows,
}

impl MemoryStore {
    /// What was appended, in order.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.table().appended.clone()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<Rows, JournalError> {
        let mut rows = Rows::default();
        for (key, value) in &self.table().rows {
            rows.read(key, value).map_err(|error| damaged(&error))?;
        }
        Ok(rows)
    }
}

fn damaged(error: &proto::ConvertError) -> JournalError {
    JournalError::Damaged { journal: "memory".into(), cause: error.to_string() }
}

impl Table {
    fn change(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    self.rows.insert(key, value);
                }
                Change::Delete(key) => {
                    self.rows.remove(&key);
                }
            }
        }
    }
}

impl JournalStore for MemoryStore {
    type Journal = MemoryJournal;

    async fn open(&self, writer: &str) -> Result<(MemoryJournal, Books), JournalError> {
        let mut rows = self.read()?;
        let mut table = self.table();
        table.epoch += 1;
        rows.epoch = table.epoch;
        table.change(vec![rows.owner(writer)]);
        drop(table);
        let books = rows.books.clone();
        Ok((MemoryJournal { store: self.clone(), rows }, books))
    }
}

impl Journal for MemoryJournal {
    fn epoch(&self) -> u64 {
        self.rows.epoch
    }

    async fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let mut table = self.store.table();
        if table.epoch != self.rows.epoch {
            return Err(JournalError::Fenced { journal: "memory".into() });
        }
        for record in records {
            let changes = self.rows.apply(record);
            table.change(changes);
        }
        table.appended.extend_from_slice(records);
        Ok(())
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        Arc::new(self.store.clone())
    }

    async fn close(self) {}
}

#[tonic::async_trait]
impl JournalReader for MemoryStore {
    async fn jobs(&self, survey: &SurveyId) -> Result<JobBook, JournalError> {
        let mut jobs = JobBook::default();
        let Some(generation) = self.read()?.books.surveys.get(survey).map(|book| book.generation) else {
            return Ok(jobs);
        };
        let table = self.table();
        let under =
            |prefix: Vec<u8>| table.rows.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(&prefix));
        for (_, value) in under(generation_of("job", survey, generation)) {
            jobs.read(value).map_err(|error| damaged(&error))?;
        }
        for (_, value) in under(generation_of("attempt", survey, generation)) {
            jobs.read_attempt(value).map_err(|error| damaged(&error))?;
        }
        Ok(jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conforms() {
        crate::journal::conformance::suite(async || MemoryStore::default()).await;
    }
}
