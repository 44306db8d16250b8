//! What outlives a coordinator: submissions, completions, counted failures, cancellations. Durable before it is
//! acknowledged.
//!
//! A [`JournalStore`] is a place that holds one journal. Opening it takes the journal over: it hands out what was
//! written so far and fences every writer before. Two implementations pass one conformance suite:
//! [`memory::MemoryStore`] and [`object_log::ObjectLogStore`] (`docs/decisions/0005-object-log-journal.md`).

pub mod history;
pub mod memory;
pub mod object_log;
pub mod record;

use std::future::Future;

pub use record::Record;

/// Why a journal cannot be read or written.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum JournalError {
    /// Another coordinator has taken the journal over.
    #[error("{journal}: another coordinator has taken over this survey's output; stop one of the two")]
    Fenced {
        /// Where the journal is.
        journal: String,
    },
    /// The store failed.
    #[error("{0}")]
    Store(imagery::ImageryError),
    /// What stands there is no journal.
    #[error("{journal}: {cause}; restore the folder `journal`, or take another output")]
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
    fn open(&self, writer: &str) -> impl Future<Output = Result<(Self::Journal, Vec<Record>), JournalError>> + Send;
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
}

#[cfg(test)]
mod conformance {
    //! What every journal must do.

    use super::*;
    use crate::testing::{completed, submitted};

    pub async fn suite<S: JournalStore>(fresh: impl Fn() -> S) {
        what_is_appended_is_replayed_in_order(&fresh()).await;
        a_new_writer_fences_the_old_one(&fresh()).await;
        an_empty_journal_has_no_history(&fresh()).await;
        racing_writers_leave_one_history(&fresh()).await;
    }

    async fn an_empty_journal_has_no_history<S: JournalStore>(store: &S) {
        let (journal, history) = store.open("first").await.unwrap();
        assert!(history.is_empty());
        assert!(journal.epoch() >= 1);
    }

    async fn what_is_appended_is_replayed_in_order<S: JournalStore>(store: &S) {
        let (mut journal, _) = store.open("first").await.unwrap();
        let records: Vec<Record> = (0..7).map(completed).collect();
        journal.append(&[submitted("a")]).await.unwrap();
        journal.append(&[]).await.unwrap();
        for batch in records.chunks(3) {
            journal.append(batch).await.unwrap();
        }
        let (again, history) = store.open("second").await.unwrap();
        assert!(again.epoch() > journal.epoch());
        assert_eq!(history.first(), Some(&submitted("a")));
        assert_eq!(history.get(1..), Some(&records[..]));
    }

    async fn a_new_writer_fences_the_old_one<S: JournalStore>(store: &S) {
        let (mut old, _) = store.open("old").await.unwrap();
        old.append(&[completed(1)]).await.unwrap();
        let (mut new, history) = store.open("new").await.unwrap();
        assert_eq!(history, [completed(1)]);
        assert!(matches!(old.append(&[completed(2)]).await, Err(JournalError::Fenced { .. })));
        new.append(&[completed(3)]).await.unwrap();
        assert!(matches!(old.append(&[completed(4)]).await, Err(JournalError::Fenced { .. })));
        let (_, history) = store.open("newest").await.unwrap();
        assert_eq!(history, [completed(1), completed(3)]);
    }

    async fn racing_writers_leave_one_history<S: JournalStore>(store: &S) {
        let mut journals = Vec::new();
        for writer in ["a", "b", "c"] {
            journals.push(store.open(writer).await.unwrap().0);
        }
        let appends = journals
            .iter_mut()
            .zip(1..)
            .map(|(journal, pair)| async move { journal.append(&[completed(pair)]).await.map(|()| pair) });
        let won: Vec<u32> = futures::future::join_all(appends).await.into_iter().flatten().collect();
        assert_eq!(won, [3], "only the newest writer writes");
        let (_, history) = store.open("d").await.unwrap();
        assert_eq!(history, [completed(3)]);
    }
}
