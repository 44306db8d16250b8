//! What outlives a coordinator: submissions, completions, counted failures, ends. Durable before it is acknowledged.
//!
//! A [`JournalStore`] is a place that holds one journal. Opening it takes the journal over: it hands out what the journal
//! says and fences every writer before. Two implementations pass one conformance suite: [`memory::MemoryStore`] and
//! [`slate::SlateStore`] on folders and buckets (`docs/decisions/0005-journal-on-slatedb.md`).

pub mod books;
pub mod memory;
pub mod record;
mod rows;
pub mod slate;

use std::future::Future;
use std::sync::Arc;

use survey::ids::SurveyId;

pub use books::{Books, JobBook, SubmissionBook, SubmissionFate, SurveyBook};
pub use record::Record;
pub(crate) use rows::is_same;

/// Why a journal cannot be read or written.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum JournalError {
    /// Another coordinator has taken the journal over.
    #[error("{journal}: another coordinator has taken over this journal; stop one of the two")]
    Fenced {
        /// Where the journal is.
        journal: String,
    },
    /// The store failed.
    #[error(
        "{journal}: the journal cannot be read or written: {cause}; start the coordinator again when the store is well"
    )]
    Store {
        /// Where the journal is.
        journal: String,
        /// What the store says.
        cause: String,
    },
    /// The disk is full.
    #[error(
        "{journal}: the journal cannot be written: {cause}; free some space, and start again: it goes on from here"
    )]
    Full {
        /// Where the journal is.
        journal: String,
        /// What the system says.
        cause: String,
    },
    /// What stands there is no journal.
    #[error("{journal}: {cause}; restore the folder `journal` from a backup, or take another place")]
    Damaged {
        /// Where the journal is.
        journal: String,
        /// What is wrong.
        cause: String,
    },
}

/// A place that holds one journal.
pub trait JournalStore: Send + Sync {
    /// What writes to it.
    type Journal: Journal;

    /// Takes the journal over: fences earlier writers, and returns what they wrote. `writer` names the new one and is
    /// different for each opening.
    fn open(&self, writer: &str) -> impl Future<Output = Result<(Self::Journal, Books), JournalError>> + Send;
}

/// An opened journal.
pub trait Journal: Send + 'static {
    /// Larger than the epoch of every writer before.
    fn epoch(&self) -> u64;

    /// Appends records, all or none; they are durable when this returns.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] where another writer has taken over: nothing was written. After any error the journal
    /// must not be used again.
    fn append(&mut self, records: &[Record]) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Reads beside the writer.
    fn reader(&self) -> Arc<dyn JournalReader>;

    /// Lets go of the journal in order. What was appended is there without it, too.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Reads a journal that is open.
#[tonic::async_trait]
pub trait JournalReader: Send + Sync {
    /// What was appended of a survey's jobs since it began, without those that were opened again.
    ///
    /// # Errors
    /// The store fails, or a row makes no sense.
    async fn jobs(&self, survey: &SurveyId) -> Result<JobBook, JournalError>;
}

#[cfg(test)]
mod conformance;
