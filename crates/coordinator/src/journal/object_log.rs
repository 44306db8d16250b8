//! A journal as a log of objects under a survey's output: `journal/<number>.pb`, each created if absent and never
//! replaced.
//!
//! # Fencing
//! The numbers have no gap and each is created once, so the objects are one total order. A new writer creates the next
//! object with its own epoch in it; an earlier writer that appends afterwards finds its number taken and is fenced. A
//! put whose answer was lost is told apart from a lost race by the bytes: they name the writer.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use imagery::ImageryError;
use imagery::commit::Output;
use prost::Message;
use proto::v1;
use survey::failure::FailureClass;

use crate::journal::record::{from_wire, to_wire};
use crate::journal::{Journal, JournalError, JournalStore, Record};

/// The folder of the journal.
const FOLDER: &str = "journal";
/// Objects read at the same time.
const CONCURRENT_READS: usize = 16;
/// Attempts at taking a journal over while others do the same.
const ATTEMPTS: u32 = 64;
/// Attempts at one object where the store fails in a way that may pass, and the first pause between them, which doubles.
const PUT_ATTEMPTS: u32 = 6;
const FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// The journal of an output location.
#[derive(Clone, Debug)]
pub struct ObjectLogStore {
    output: Output,
}

/// An opened journal.
#[derive(Debug)]
pub struct ObjectLog {
    output: Output,
    writer: String,
    epoch: u64,
    next: u64,
    /// An append failed and may or may not have landed: nothing may be added to it.
    is_broken: bool,
}

impl ObjectLogStore {
    /// The journal of `output`.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self { output }
    }

    async fn read(&self) -> Result<(Vec<v1::JournalBatch>, u64), JournalError> {
        let keys = self.output.list(FOLDER).await.map_err(JournalError::Store)?;
        let keys: Vec<String> = keys.into_iter().filter(|key| number(key).is_some()).collect();
        for (expected, found) in (0_u64..).zip(&keys) {
            if number(found) != Some(expected) {
                return Err(self.damaged(format!("`{}` is missing", key(expected))));
            }
        }
        let next = keys.len() as u64;
        let batches = futures::stream::iter(keys)
            .map(|key| async move {
                let bytes = self.output.get(&key).await.map_err(JournalError::Store)?;
                let bytes = bytes.ok_or_else(|| self.damaged(format!("`{key}` has gone")))?;
                v1::JournalBatch::decode(bytes).map_err(|error| self.damaged(format!("`{key}`: {error}")))
            })
            .buffered(CONCURRENT_READS)
            .try_collect()
            .await?;
        Ok((batches, next))
    }

    /// What was written so far. Takes nothing over and fences nobody.
    ///
    /// # Errors
    /// As [`JournalStore::open`].
    pub async fn peek(&self) -> Result<Vec<Record>, JournalError> {
        let (batches, _) = self.read().await?;
        self.records(batches)
    }

    fn records(&self, batches: Vec<v1::JournalBatch>) -> Result<Vec<Record>, JournalError> {
        let mut records = Vec::new();
        for (number, batch) in (0_u64..).zip(batches) {
            for record in batch.records {
                let record = from_wire(record).map_err(|error| self.damaged(format!("`{}`: {error}", key(number))))?;
                records.extend(record);
            }
        }
        Ok(records)
    }

    fn damaged(&self, cause: String) -> JournalError {
        JournalError::Damaged { journal: self.output.label(), cause }
    }
}

impl JournalStore for ObjectLogStore {
    type Journal = ObjectLog;

    async fn open(&self, writer: &str) -> Result<(ObjectLog, Vec<Record>), JournalError> {
        for _ in 0..ATTEMPTS {
            let (batches, next) = self.read().await?;
            let epoch = batches.last().map_or(0, |batch| batch.epoch) + 1;
            let (output, writer) = (self.output.clone(), writer.to_owned());
            let mut log = ObjectLog { output, writer, epoch, next, is_broken: false };
            let opened = v1::JournalRecord { record: Some(v1::journal_record::Record::Opened(v1::EpochOpened {})) };
            match log.create(vec![opened]).await {
                Ok(()) => return Ok((log, self.records(batches)?)),
                // Somebody else wrote in between: what they wrote is read too.
                Err(JournalError::Fenced { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(JournalError::Fenced { journal: self.output.label() })
    }
}

impl Journal for ObjectLog {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        self.create(records.iter().map(to_wire).collect()).await
    }
}

impl ObjectLog {
    async fn create(&mut self, records: Vec<v1::JournalRecord>) -> Result<(), JournalError> {
        let fenced = || JournalError::Fenced { journal: self.output.label() };
        if self.is_broken {
            return Err(fenced());
        }
        let batch = v1::JournalBatch { epoch: self.epoch, writer: self.writer.clone(), records };
        let bytes = Bytes::from(batch.encode_to_vec());
        let key = key(self.next);
        match self.put(&key, bytes).await {
            Ok(true) => {
                self.next += 1;
                Ok(())
            }
            Ok(false) => {
                let error = fenced();
                self.is_broken = true;
                Err(error)
            }
            Err(error) => {
                self.is_broken = true;
                Err(JournalError::Store(error))
            }
        }
    }

    /// Whether the object holds these bytes now. Safe to repeat, so what may pass is waited out.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<bool, ImageryError> {
        let mut attempt = 0;
        loop {
            let written = match self.output.put_if_absent(key, bytes.clone()).await {
                Ok(true) => Ok(true),
                // It may be ours: a put that was repeated after its answer was lost finds itself.
                Ok(false) => self.output.get(key).await.map(|there| there.as_ref() == Some(&bytes)),
                Err(error) => Err(error),
            };
            match written {
                Err(error) if error.class() == FailureClass::Retryable && attempt < PUT_ATTEMPTS => {
                    attempt += 1;
                    tracing::warn!(key, attempt, %error, "journal append failed and is tried again");
                    tokio::time::sleep(FIRST_PAUSE * (1 << attempt)).await;
                }
                written => return written,
            }
        }
    }
}

fn key(number: u64) -> String {
    format!("{FOLDER}/{number:012}.pb")
}

fn number(key: &str) -> Option<u64> {
    key.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".pb")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{completed, folder};

    #[tokio::test]
    async fn conforms_in_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let count = std::cell::Cell::new(0);
        crate::journal::conformance::suite(|| {
            count.set(count.get() + 1);
            ObjectLogStore::new(folder(&root.path().join(count.get().to_string())))
        })
        .await;
    }

    #[tokio::test]
    async fn a_gap_and_a_damaged_object_are_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let output = folder(root.path());
        let store = ObjectLogStore::new(output.clone());
        let (mut journal, _) = store.open("a").await.unwrap();
        for pair in 1..4 {
            journal.append(&[completed(pair)]).await.unwrap();
        }
        output.put(&key(2), Bytes::from_static(b"\x0a\xff nonsense")).await.unwrap();
        let refusal = store.open("b").await.unwrap_err().to_string();
        assert!(refusal.contains("journal/000000000002.pb") && refusal.contains("take another output"), "{refusal}");
        output.delete(&key(2)).await.unwrap();
        let refusal = store.open("b").await.unwrap_err().to_string();
        assert!(refusal.contains("`journal/000000000002.pb` is missing"), "{refusal}");
    }

    #[tokio::test]
    async fn a_put_whose_answer_was_lost_is_found_again() {
        let root = tempfile::tempdir().unwrap();
        let store = ObjectLogStore::new(folder(root.path()));
        let (mut journal, _) = store.open("a").await.unwrap();
        journal.append(&[completed(1)]).await.unwrap();
        // The same append again, as after a time-out: the writer does not know that it landed.
        journal.next -= 1;
        journal.append(&[completed(1)]).await.unwrap();
        journal.append(&[completed(2)]).await.unwrap();
        assert_eq!(store.open("b").await.unwrap().1, [completed(1), completed(2)]);
    }
}
