//! A journal in SlateDB, which keeps its rows in the objects of a folder or a bucket
//! (`docs/decisions/0005-journal-on-slatedb.md`).
//!
//! # Fencing
//! Opening the database fences every writer before: what these write afterwards fails and is not there. SlateDB tells so by
//! the objects of its log, each of which is created once. So a log object that was swept away could be created again by a
//! writer that slept for long. Three things forbid that: nothing younger than [`GARBAGE_AGE`] is swept away; a writer that
//! has not written for [`IDLE`] asks whether the journal is still its own before it writes; and what took longer than
//! [`SLOWEST_APPEND`] to write is not acknowledged.
//!
//! A store that keeps a log object and dies before it answers makes a writer meet its own object, which looks like a
//! successor's. The manifest knows better: it counts the writers. So the writer that seems fenced opens the database again on
//! the condition that it was the last to open it, and repeats what it wrote.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use imagery::commit::Output;
use imagery::store::Stores;
use object_store::ObjectStore;
use object_store::path::Path;
use slatedb::config::{
    CompactorOptions, FlushOptions, FlushType, GarbageCollectorDirectoryOptions, GarbageCollectorOptions, ScanOptions,
    Settings,
};
use slatedb::{CloseReason, Db, ErrorKind, SstBlockSize, WriteBatch};
use survey::ids::SurveyId;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::journal::books::{Books, JobBook};
use crate::journal::rows::{Change, OWNER, Rows, SPECS, SURVEYS, generation_of, jobs_of};
use crate::journal::{Journal, JournalError, JournalReader, JournalStore, Record};

/// The folder of the journal.
const FOLDER: &str = "journal";
/// Nothing younger is swept away: longer than any writer may sleep and not know that it was fenced.
const GARBAGE_AGE: Duration = Duration::from_secs(12 * 3600);
/// After so long without a write, a writer asks first whether the journal is still its own.
const IDLE: Duration = Duration::from_secs(600);
/// What took longer to write is not acknowledged.
const SLOWEST_APPEND: Duration = Duration::from_secs(1800);
/// Appends after which the log is folded into tables, so that little is to be replayed.
const APPENDS_PER_TABLE: u64 = 1024;
/// Times that a request is repeated beyond the store's own repetitions, before the coordinator gives up.
const RETRIES: u32 = 12;
/// Attempts at taking a journal over while others do the same.
const ATTEMPTS: u32 = 8;
/// A scan of a survey's jobs reads so far ahead, bytes, in so many requests at a time: block by block, a million rows would
/// cost tens of thousands of requests one after the other.
const READ_AHEAD: usize = 8 << 20;
const READS_AT_ONCE: usize = 4;
/// What the system says of a full disk (ENOSPC).
const DISK_FULL: &str = "No space left on device";
/// Rows that are swept away at once.
const SWEEP: usize = 4096;

/// The journal of a state location.
#[derive(Clone)]
pub struct SlateStore {
    store: Arc<dyn ObjectStore>,
    path: Path,
    label: String,
    is_folder: bool,
}

/// An opened journal.
pub struct SlateJournal {
    store: SlateStore,
    db: OpenDb,
    /// Which of the manifest's writers it is.
    writer_epoch: u64,
    rows: Rows,
    appends: u64,
    /// When it was last known to be this writer's own.
    owned: Instant,
    /// An append failed and may or may not have landed: nothing may be added to it.
    is_broken: bool,
}

#[derive(Clone)]
struct SlateReader {
    db: OpenDb,
    label: String,
}

/// The database as it was opened last, for the writer and for all who read beside it.
#[derive(Clone)]
struct OpenDb(Arc<RwLock<Db>>);

impl OpenDb {
    fn new(db: Db) -> Self {
        Self(Arc::new(RwLock::new(db)))
    }

    fn get(&self) -> Db {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, db: Db) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = db;
    }
}

impl SlateStore {
    /// The journal of the location `state`.
    ///
    /// # Errors
    /// No store exists for the location.
    pub fn new(state: &Output, stores: &Stores) -> Result<Self, imagery::ImageryError> {
        let (store, prefix) = stores.store(state.url())?;
        let path = prefix.parts().chain(Path::from(FOLDER).parts()).collect();
        Ok(Self { store, path, label: state.label(), is_folder: state.folder().is_some() })
    }

    /// The journal at a path of any store that has put-if-absent. `label` names it to people; `has_if_match` says whether
    /// the store can replace an object on condition, which folders cannot.
    #[must_use]
    pub fn on(store: Arc<dyn ObjectStore>, path: Path, label: String, has_if_match: bool) -> Self {
        Self { store, path, label, is_folder: !has_if_match }
    }

    fn settings(&self) -> Settings {
        let swept = Some(GarbageCollectorDirectoryOptions {
            interval: Some(Duration::from_secs(600)),
            min_age: GARBAGE_AGE,
            dry_run: false,
        });
        Settings {
            // An append asks for its flush itself.
            flush_interval: None,
            manifest_poll_interval: Duration::from_secs(5),
            l0_sst_size_bytes: 16 << 20,
            max_unflushed_bytes: 128 << 20,
            object_store_max_retries: Some(RETRIES),
            compactor_options: Some(CompactorOptions {
                object_store_max_retries: Some(RETRIES),
                ..CompactorOptions::default()
            }),
            garbage_collector_options: Some(GarbageCollectorOptions {
                manifest_options: swept,
                wal_options: swept,
                // One empty object per start of a coordinator: kept for ever.
                wal_fence_options: None,
                compacted_options: swept,
                compactions_options: swept,
                detach_options: None,
                metric_level: None,
                // A folder has no If-Match, and some S3 servers ignore it; `GARBAGE_AGE` is what is relied on.
                boundary_files_enabled: !self.is_folder,
                object_store_max_retries: Some(RETRIES),
            }),
            ..Settings::default()
        }
    }

    /// Opens the database and fences whoever had it open: anybody, or `only` the writer of that epoch of the manifest.
    async fn database(&self, only: Option<u64>) -> Result<Db, JournalError> {
        let builder = Db::builder(self.path.clone(), Arc::clone(&self.store))
            .with_settings(self.settings())
            .with_sst_block_size(SstBlockSize::Block64Kib);
        let builder = match only {
            Some(epoch) => builder.with_expected_epoch(epoch),
            None => builder,
        };
        builder.build().await.map_err(|error| failure(&self.label, &error))
    }

    async fn open_once(&self, writer: &str) -> Result<(SlateJournal, Books), JournalError> {
        let db = self.database(None).await?;
        let mut journal = SlateJournal {
            store: self.clone(),
            writer_epoch: db.manifest().writer_epoch(),
            db: OpenDb::new(db),
            rows: Rows::default(),
            appends: 0,
            owned: Instant::now(),
            is_broken: false,
        };
        match journal.take_over(writer).await {
            Ok(()) => {
                let books = journal.rows.books.clone();
                Ok((journal, books))
            }
            Err(error) => {
                journal.close().await;
                Err(error)
            }
        }
    }
}

impl JournalStore for SlateStore {
    type Journal = SlateJournal;

    async fn open(&self, writer: &str) -> Result<(SlateJournal, Books), JournalError> {
        for _ in 1..ATTEMPTS {
            match self.open_once(writer).await {
                // Somebody else opened it at the same time: the last one has it.
                Err(JournalError::Fenced { .. }) => {}
                opened => return opened,
            }
        }
        self.open_once(writer).await
    }
}

impl SlateJournal {
    /// Reads what there is and writes its own, larger epoch.
    async fn take_over(&mut self, writer: &str) -> Result<(), JournalError> {
        let mut rows = Rows::default();
        let (db, label) = (self.db.get(), &self.store.label);
        let failed = |error: slatedb::Error| failure(label, &error);
        if let Some(owner) = db.get(OWNER).await.map_err(failed)? {
            rows.read(OWNER, &owner).map_err(|error| damaged(label, &error))?;
        }
        for prefix in [SPECS, SURVEYS] {
            let mut found = db.scan_prefix_with_options(prefix, .., &ahead()).await.map_err(failed)?;
            while let Some(row) = found.next().await.map_err(failed)? {
                rows.read(&row.key, &row.value).map_err(|error| damaged(label, &error))?;
            }
        }
        rows.epoch += 1;
        let owner = rows.owner(writer);
        self.rows = rows;
        self.write(&[owner]).await?;
        for (survey, book) in &self.rows.books.surveys {
            if book.generation > 0 {
                self.sweep(survey, book.generation);
            }
        }
        Ok(())
    }

    /// Writes changes, all or none, and returns when they are durable.
    async fn write(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        if self.is_broken {
            return Err(JournalError::Fenced { journal: self.store.label.clone() });
        }
        let mut written = self.try_write(changes).await;
        if matches!(written, Err(JournalError::Fenced { .. })) {
            written = self.write_again(changes).await;
        }
        self.is_broken = written.is_err();
        written
    }

    /// Writes what failed as that of a fenced writer, where no other writer has come. The rows are what they were, so it
    /// does not matter whether they had landed.
    async fn write_again(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        close(&self.db.get()).await;
        let db = self.store.database(Some(self.writer_epoch)).await?;
        self.writer_epoch = db.manifest().writer_epoch();
        self.db.replace(db);
        warn!(journal = self.store.label, "the store kept what it never acknowledged: the journal is opened again");
        self.try_write(changes).await
    }

    async fn try_write(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        let (db, label) = (self.db.get(), &self.store.label);
        let failed = |error: slatedb::Error| failure(label, &error);
        let begun = Instant::now();
        if begun - self.owned > IDLE {
            db.refresh_manifest().await.map_err(failed)?;
        }
        let mut batch = WriteBatch::new();
        for change in changes {
            match change {
                Change::Put(key, value) => batch.put_bytes(Bytes::copy_from_slice(key), value.clone()),
                Change::Delete(key) => batch.delete(key),
            }
        }
        let handle = db.write(batch).await.map_err(failed)?;
        db.flush_with_options(FlushOptions { flush_type: FlushType::Wal }).await.map_err(failed)?;
        handle.await_durable().await.map_err(failed)?;
        let took = begun.elapsed();
        if took > SLOWEST_APPEND {
            let cause = format!("an append took {} s", took.as_secs());
            return Err(JournalError::Store { journal: label.clone(), cause });
        }
        self.owned = Instant::now();
        self.appends += 1;
        if self.appends.is_multiple_of(APPENDS_PER_TABLE) {
            self.fold();
        }
        Ok(())
    }

    /// Folds the log into a table, aside.
    fn fold(&self) {
        let db = self.db.get();
        tokio::spawn(async move {
            if let Err(error) = db.flush_with_options(FlushOptions { flush_type: FlushType::MemTable }).await {
                warn!(%error, "the journal's log could not be folded into a table");
            }
        });
    }

    /// Takes void rows of jobs away, aside. What is not taken away is void all the same.
    fn sweep(&self, survey: &SurveyId, generation: u64) {
        let (db, survey) = (self.db.get(), survey.clone());
        tokio::spawn(async move {
            if let Err(error) = sweep(&db, &survey, generation).await {
                warn!(%survey, %error, "void rows of the journal could not be taken away");
            }
        });
    }
}

async fn sweep(db: &Db, survey: &SurveyId, generation: u64) -> Result<(), slatedb::Error> {
    for kind in ["job", "attempt"] {
        let (from, to) = (jobs_of(kind, survey), generation_of(kind, survey, generation));
        let mut void = db.scan_with_options(from..to, &ahead()).await?;
        loop {
            let mut batch = WriteBatch::new();
            let mut rows = 0;
            while rows < SWEEP
                && let Some(row) = void.next().await?
            {
                batch.delete(&row.key);
                rows += 1;
            }
            if rows == 0 {
                break;
            }
            debug!(%survey, kind, rows, "void rows are taken away");
            db.write(batch).await?;
        }
    }
    Ok(())
}

impl Journal for SlateJournal {
    fn epoch(&self) -> u64 {
        self.rows.epoch
    }

    async fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let changes: Vec<Change> = records.iter().flat_map(|record| self.rows.apply(record)).collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.write(&changes).await?;
        for record in records {
            let (Record::Submitted(crate::journal::record::Submitted { survey, .. }) | Record::Ended { survey, .. }) =
                record
            else {
                continue;
            };
            if let Some(book) = self.rows.books.surveys.get(survey)
                && book.generation > 0
            {
                self.sweep(survey, book.generation);
            }
        }
        Ok(())
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        Arc::new(SlateReader { db: self.db.clone(), label: self.store.label.clone() })
    }

    async fn close(self) {
        close(&self.db.get()).await;
    }
}

#[tonic::async_trait]
impl JournalReader for SlateReader {
    async fn jobs(&self, survey: &SurveyId) -> Result<JobBook, JournalError> {
        let failed = |error: slatedb::Error| failure(&self.label, &error);
        let bad = |error: proto::ConvertError| damaged(&self.label, &error);
        let mut jobs = JobBook::default();
        let db = self.db.get();
        let mut rows = Rows::default();
        let key = [SURVEYS, survey.0.as_bytes()].concat();
        if let Some(row) = db.get(&key).await.map_err(failed)? {
            rows.read(&key, &row).map_err(bad)?;
        }
        let Some(book) = rows.books.surveys.get(survey) else { return Ok(jobs) };
        let prefix = generation_of("job", survey, book.generation);
        let mut found = db.scan_prefix_with_options(prefix, .., &ahead()).await.map_err(failed)?;
        while let Some(row) = found.next().await.map_err(failed)? {
            jobs.read(&row.value).map_err(bad)?;
        }
        let prefix = generation_of("attempt", survey, book.generation);
        let mut found = db.scan_prefix_with_options(prefix, .., &ahead()).await.map_err(failed)?;
        while let Some(row) = found.next().await.map_err(failed)? {
            jobs.read_attempt(&row.value).map_err(bad)?;
        }
        Ok(jobs)
    }
}

async fn close(db: &Db) {
    if let Err(error) = db.close().await
        && !matches!(error.kind(), ErrorKind::Closed(_))
    {
        warn!(%error, "the journal could not be closed in order");
    }
}

/// How many rows are read one after the other.
fn ahead() -> ScanOptions {
    ScanOptions {
        read_ahead_bytes: READ_AHEAD,
        max_fetch_tasks: READS_AT_ONCE,
        cache_blocks: false,
        ..ScanOptions::default()
    }
}

fn failure(label: &str, error: &slatedb::Error) -> JournalError {
    let journal = label.to_owned();
    let mut cause = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        cause = format!("{cause}: {error}");
        source = error.source();
    }
    let cause = imagery::store::address::scrub(&cause);
    match error.kind() {
        ErrorKind::Closed(CloseReason::Fenced) => JournalError::Fenced { journal },
        ErrorKind::Data => JournalError::Damaged { journal, cause },
        // Of the system's error there is nothing left but its words.
        _ if cause.contains(DISK_FULL) => JournalError::Full { journal, cause: DISK_FULL.to_owned() },
        _ => JournalError::Store { journal, cause },
    }
}

fn damaged(label: &str, error: &proto::ConvertError) -> JournalError {
    JournalError::Damaged { journal: label.to_owned(), cause: error.to_string() }
}

#[cfg(test)]
mod tests;
