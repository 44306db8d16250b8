//! Where a survey's objects are committed: a folder or a bucket, with the same promises.
//!
//! An object is there whole or not at all (a folder: temporary file, fsync, rename). A committed object's name carries
//! its digest and its bytes are never replaced by others; what is fetched is checked against digest and length.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use survey::ids::Digest;
use survey::job::ObjectRef;
use url::Url;

use crate::error::ImageryError;
use crate::store::{RemoteFile, Stores, address, write_failure};

/// Attempts at a conditional put whose answer contradicts what is there.
const ATTEMPTS: u32 = 5;

/// The largest object that is read back, bytes.
const MAX_OBJECT: u64 = 4 << 30;

/// The output location of a survey. Cheap to clone.
#[derive(Clone)]
pub struct Output {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: Url,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Output").field(&self.label()).finish()
    }
}

impl Output {
    /// The output at `url`, which is relative to the survey file.
    ///
    /// # Errors
    /// [`ImageryError::Unsupported`] for a URL that no store exists for or that cannot be written to.
    pub fn open(url: &str, stores: &Stores) -> Result<Self, ImageryError> {
        let url = address::folder(&stores.resolve(url)?)?;
        if matches!(url.scheme(), "http" | "https") {
            return Err(ImageryError::Unsupported {
                href: address::label(url.as_str()),
                what: "writing to a web server".into(),
                mend: "choose a folder or a bucket (s3://, gs://, az://)".into(),
            });
        }
        let (store, prefix) = stores.store(&url)?;
        Ok(Self { store, prefix, url })
    }

    /// The output as people may see it.
    #[must_use]
    pub fn label(&self) -> String {
        address::label(self.url.as_str())
    }

    /// The URL of the output, which ends in a slash.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The folder, where the output is one.
    #[must_use]
    pub fn folder(&self) -> Option<std::path::PathBuf> {
        (self.url.scheme() == "file").then(|| self.url.to_file_path().ok()).flatten()
    }

    /// Writes and takes away a small object: so that an output that cannot be written to is known before any work.
    ///
    /// # Errors
    /// [`ImageryError::Output`].
    pub async fn check_writable(&self) -> Result<(), ImageryError> {
        let key = ".groundbreak-can-write";
        self.put(key, Bytes::from_static(b"groundbreak")).await?;
        self.delete(key).await
    }

    /// Commits bytes under `<key_stem>.<digest>.<ext>` and returns the reference to them.
    ///
    /// # Errors
    /// [`ImageryError::Output`], or [`ImageryError::Transient`] where another attempt may succeed.
    pub async fn commit(&self, key_stem: &str, ext: &str, bytes: Bytes) -> Result<ObjectRef, ImageryError> {
        let digest = Digest::of(&bytes);
        let reference =
            ObjectRef { key: format!("{key_stem}.{}.{ext}", digest.short()), digest, length: bytes.len() as u64 };
        if !self.put_if_absent(&reference.key, bytes.clone()).await? {
            match self.fetch(&reference).await {
                Ok(_) => {}
                // The name is a digest: other bytes there are damage, and the right ones mend it.
                Err(ImageryError::Corrupt { .. }) => self.put(&reference.key, bytes).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(reference)
    }

    /// The bytes of a committed object, checked against its digest and length.
    ///
    /// # Errors
    /// [`ImageryError::NotFound`]; [`ImageryError::Corrupt`] where the bytes are others.
    pub async fn fetch(&self, reference: &ObjectRef) -> Result<Bytes, ImageryError> {
        let bytes = self.file(&reference.key)?.all(reference.length.max(1)).await?;
        if bytes.len() as u64 != reference.length || Digest::of(&bytes) != reference.digest {
            return Err(ImageryError::Corrupt {
                href: self.label_of(&reference.key),
                cause: format!(
                    "the object has other bytes than were committed ({} of {}); delete it and run the survey again",
                    bytes.len(),
                    reference.length
                ),
            });
        }
        Ok(bytes)
    }

    /// Writes an object; one that is there is replaced at once.
    ///
    /// # Errors
    /// As [`Output::commit`].
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), ImageryError> {
        let path = self.path(key)?;
        self.store.put(&path, PutPayload::from(bytes)).await.map_err(|error| self.failure(key, &error))?;
        Ok(())
    }

    /// Writes an object if none is there; says whether it was written.
    ///
    /// # Errors
    /// As [`Output::commit`].
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<bool, ImageryError> {
        let path = self.path(key)?;
        for _ in 0..ATTEMPTS {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(&path, PutPayload::from(bytes.clone()), options).await {
                Ok(_) => return Ok(true),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => match self.store.head(&path).await {
                    Ok(_) => return Ok(false),
                    // Some stores answer "conflict" to one of two writers though neither has landed.
                    Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(self.failure(key, &error)),
                },
                Err(error) => return Err(self.failure(key, &error)),
            }
        }
        Err(ImageryError::Transient {
            href: self.label_of(key),
            cause: "the store says that the object exists and that it does not".into(),
        })
    }

    /// The bytes of an object, if it is there.
    ///
    /// # Errors
    /// What the store says, other than that nothing is there.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, ImageryError> {
        match self.file(key)?.all(MAX_OBJECT).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ImageryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The keys under `prefix` (a whole folder of the key space; empty for all), sorted.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, ImageryError> {
        let under = if prefix.is_empty() { self.prefix.clone() } else { self.path(prefix)? };
        let objects = self.store.list(Some(&under)).map_ok(|object| object.location).try_collect::<Vec<Path>>().await;
        let objects = match objects {
            Ok(objects) => objects,
            Err(Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(crate::store::read_failure(&self.url_of(prefix), &error)),
        };
        let mut keys: Vec<String> = objects
            .iter()
            .filter_map(|location| {
                let parts: Vec<_> = location.prefix_match(&self.prefix)?.collect();
                Some(parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
            })
            .filter(|key| !key.is_empty())
            .collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// Takes an object away, if it is there.
    ///
    /// # Errors
    /// As [`Output::commit`].
    pub async fn delete(&self, key: &str) -> Result<(), ImageryError> {
        match self.store.delete(&self.path(key)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failure(key, &error)),
        }
    }

    /// An object as a file whose ranges can be read.
    ///
    /// # Errors
    /// [`ImageryError::Corrupt`] for a key that is none.
    pub fn file(&self, key: &str) -> Result<RemoteFile, ImageryError> {
        Ok(RemoteFile::new(Arc::clone(&self.store), self.path(key)?, self.url_of(key)))
    }

    fn path(&self, key: &str) -> Result<Path, ImageryError> {
        let bad = || ImageryError::Corrupt { href: self.label(), cause: format!("`{key}` is no valid object key") };
        // A key may come from a journal or the wire: it must not climb out of the output.
        let relative = Path::parse(key).map_err(|_| bad())?;
        if relative.as_ref().is_empty() {
            return Err(bad());
        }
        Ok(self.prefix.parts().chain(relative.parts()).collect())
    }

    fn url_of(&self, key: &str) -> String {
        address::join(&self.url, key).map_or_else(|_| self.url.to_string(), String::from)
    }

    fn label_of(&self, key: &str) -> String {
        address::label(&self.url_of(key))
    }

    fn failure(&self, key: &str, error: &Error) -> ImageryError {
        write_failure(&self.url_of(key), error)
    }
}
