//! One file in a store: its head, ranges of it, all of it. Short reads are errors, never blank bytes.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::ImageryError;
use crate::store::address::label;
use crate::store::failure::read_failure;

/// Attempts at a read whose body broke off. The store's own retries (connections, 5xx, time-outs) come on top.
const ATTEMPTS: u32 = 4;

/// Ranges of one file that are fetched at the same time.
const RANGES_AT_ONCE: usize = 8;

/// What a store says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes.
    pub size: u64,
    /// Entity tag, where the store has one.
    pub etag: Option<String>,
    /// When it was written, by the store's clock.
    pub modified: chrono::DateTime<chrono::Utc>,
}

/// A file in a store. Cheap to clone.
#[derive(Clone)]
pub struct RemoteFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    url: Arc<str>,
    pinned_size: Option<u64>,
    pinned_etag: Option<Arc<str>>,
    permits: Option<Arc<Semaphore>>,
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteFile").field(&self.label()).finish()
    }
}

impl RemoteFile {
    /// The file at `path` of `store`. `url` is its address.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, path: Path, url: String) -> Self {
        Self { store, path, url: url.into(), pinned_size: None, pinned_etag: None, permits: None }
    }

    /// The same file, whose requests wait for a permit.
    #[must_use]
    pub(crate) fn with_permits(mut self, permits: Arc<Semaphore>) -> Self {
        self.permits = Some(permits);
        self
    }

    /// The same file, where each read that meets another size or ETag is [`ImageryError::Changed`].
    #[must_use]
    pub fn with_pin(mut self, size: Option<u64>, etag: Option<&str>) -> Self {
        self.pinned_size = size;
        self.pinned_etag = etag.map(Into::into);
        self
    }

    /// The address. It may hold a signature: for an error or a log, take [`RemoteFile::label`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address as people may see it.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.url)
    }

    /// Whether it lies in a folder of this machine.
    pub(crate) fn is_in_folder(&self) -> bool {
        self.url.starts_with("file:")
    }

    /// Size and ETag.
    ///
    /// # Errors
    /// What the store says; [`ImageryError::Changed`] where it is not what is pinned.
    pub async fn head(&self) -> Result<Head, ImageryError> {
        let _permit = self.permit().await?;
        let meta = self.store.head(&self.path).await.map_err(|error| read_failure(&self.url, &error))?;
        self.check_pin(&meta)?;
        Ok(Head { size: meta.size, etag: meta.e_tag, modified: meta.last_modified })
    }

    /// Its length: the pinned one, which each read is held against, or else what the store says.
    ///
    /// # Errors
    /// As [`RemoteFile::head`].
    pub async fn size(&self) -> Result<u64, ImageryError> {
        match self.pinned_size {
            Some(size) => Ok(size),
            None => Ok(self.head().await?.size),
        }
    }

    /// The bytes of a range: exactly as many as asked for.
    ///
    /// # Errors
    /// [`ImageryError::Corrupt`] where the file ends before the range does, [`ImageryError::Transient`] where the body
    /// broke off again and again, [`ImageryError::Changed`] where the file is not the one that is pinned.
    pub async fn range(&self, range: Range<u64>) -> Result<Bytes, ImageryError> {
        let length = range.end.checked_sub(range.start).and_then(|length| usize::try_from(length).ok());
        let Some(length) = length else {
            return Err(self.corrupt(format!("bytes {} to {} are no range", range.start, range.end)));
        };
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.range_once(range.clone(), length).await {
                Err(ImageryError::Transient { .. }) if attempt < ATTEMPTS => {
                    tracing::debug!(file = %self.label(), attempt, "a read broke off; trying again");
                    tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                }
                result => return result,
            }
        }
    }

    async fn range_once(&self, range: Range<u64>, length: usize) -> Result<Bytes, ImageryError> {
        let _permit = self.permit().await?;
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let result = self.store.get_opts(&self.path, options).await;
        let result = result.map_err(|error| match read_failure(&self.url, &error) {
            // There are no such bytes, and there were.
            ImageryError::Corrupt { href, cause } if self.pinned_size.is_some_and(|size| range.end <= size) => {
                ImageryError::Changed { href, cause }
            }
            failure => failure,
        })?;
        self.check_pin(&result.meta)?;
        if result.meta.size < range.end {
            return Err(self.corrupt(format!(
                "the file is truncated: bytes {} to {} are asked for and it has {}",
                range.start, range.end, result.meta.size
            )));
        }
        let bytes = match result.payload {
            GetResultPayload::File(file, _) => self.read(file, range.start, length).await?,
            GetResultPayload::Stream(_) => result.bytes().await.map_err(|error| read_failure(&self.url, &error))?,
        };
        if bytes.len() != length {
            return Err(self.transient(format!("{} of {length} bytes arrived", bytes.len())));
        }
        Ok(bytes)
    }

    /// What there is of `length` bytes from `start` on. They are appended to memory that nobody has cleared: to clear it, as the store
    /// does (`result.bytes()`), takes a fiftieth of a run.
    async fn read(&self, mut file: File, start: u64, length: usize) -> Result<Bytes, ImageryError> {
        let read = move || {
            let mut bytes = Vec::with_capacity(length);
            file.seek(SeekFrom::Start(start))?;
            file.take(length as u64).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes.into())
        };
        let outcome = tokio::task::spawn_blocking(read).await.map_err(|error| self.transient(error.to_string()))?;
        outcome.map_err(|cause| {
            let error = object_store::Error::Generic { store: "folder", source: Box::new(cause) };
            read_failure(&self.url, &error)
        })
    }

    /// Several ranges, in the order asked for, some of them at the same time.
    ///
    /// # Errors
    /// As [`RemoteFile::range`]: the first error.
    pub async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ImageryError> {
        futures::stream::iter(ranges.to_vec())
            .map(|range| async move { self.range(range).await })
            .buffered(RANGES_AT_ONCE)
            .try_collect()
            .await
    }

    /// The whole file, if it has no more than `max_bytes`.
    ///
    /// # Errors
    /// [`ImageryError::Corrupt`] where it is larger; otherwise as [`RemoteFile::range`].
    pub async fn all(&self, max_bytes: u64) -> Result<Bytes, ImageryError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.all_once(max_bytes).await {
                Err(ImageryError::Transient { .. }) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                }
                result => return result,
            }
        }
    }

    async fn all_once(&self, max_bytes: u64) -> Result<Bytes, ImageryError> {
        let _permit = self.permit().await?;
        let result = self.store.get(&self.path).await.map_err(|error| read_failure(&self.url, &error))?;
        self.check_pin(&result.meta)?;
        let size = result.meta.size;
        let too_large = || self.corrupt(format!("the file has more than the {max_bytes} bytes that are allowed here"));
        if size > max_bytes {
            return Err(too_large());
        }
        let mut stream = result.into_stream();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| read_failure(&self.url, &error))?;
            // What a store promises and what it sends are two things.
            if (bytes.len() as u64).saturating_add(chunk.len() as u64) > max_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() as u64 != size {
            return Err(self.transient(format!("{} of {size} bytes arrived", bytes.len())));
        }
        Ok(bytes.freeze())
    }

    async fn permit(&self) -> Result<Option<SemaphorePermit<'_>>, ImageryError> {
        match &self.permits {
            // A semaphore that is never closed always gives a permit in the end.
            Some(permits) => {
                permits.acquire().await.map(Some).map_err(|_| self.transient("the store is closed".into()))
            }
            None => Ok(None),
        }
    }

    fn check_pin(&self, meta: &ObjectMeta) -> Result<(), ImageryError> {
        let changed = |cause| Err(ImageryError::Changed { href: self.label(), cause });
        if let Some(size) = self.pinned_size.filter(|&size| size != meta.size) {
            return changed(format!("{size} bytes then, {} now", meta.size));
        }
        let strong = |etag: &str| etag.trim_start_matches("W/").to_owned();
        if let (Some(then), Some(now)) = (self.pinned_etag.as_deref(), meta.e_tag.as_deref())
            && strong(then) != strong(now)
        {
            return changed("its ETag is another".into());
        }
        Ok(())
    }

    fn corrupt(&self, cause: String) -> ImageryError {
        ImageryError::Corrupt { href: self.label(), cause }
    }

    fn transient(&self, cause: String) -> ImageryError {
        ImageryError::Transient { href: self.label(), cause }
    }
}
