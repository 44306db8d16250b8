//! Stores: one URL scheme for folders, buckets and web servers.
//!
//! `file:///` (and plain paths), `s3://`, `gs://`, `az://`, `https://`, `http://`, and `memory://` for tests. Credentials
//! come from the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`) or, per URL prefix, from `[[storage]]` of the survey.
//!
//! **What may be read.** What the user wrote in the survey file may be read, wherever it lies. What a *document* points to
//! (links and assets of a STAC catalog) may be read only under an allowed prefix: the survey file's folder, the
//! folder, bucket or web server of a catalog that the survey names, and the prefixes of `[[storage]]`. [`Stores::check`] tells; the catalog
//! asks it before it follows a link and before it opens an asset. Redirects are followed on the same server and into
//! allowed prefixes.

pub mod address;
mod failure;
pub mod file;
mod open;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use bytes::{Bytes, BytesMut};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use survey::spec::StorageSection;
use tokio::sync::Semaphore;
use url::Url;

pub use self::failure::{read_failure, write_failure};
pub use self::file::{Head, RemoteFile};
use crate::error::ImageryError;

/// Requests that are under way at the same time, over all stores.
const REQUESTS_AT_ONCE: usize = 64;

/// All stores of a survey. Cheap to clone; clones share connections and permits.
#[derive(Clone)]
pub struct Stores {
    inner: Arc<Inner>,
}

struct Inner {
    base: Url,
    sections: Vec<(Url, StorageSection)>,
    allowed: Arc<RwLock<Vec<Url>>>,
    opened: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>,
    permits: Arc<Semaphore>,
    http: OnceLock<Result<reqwest::Client, ImageryError>>,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").field("base", &self.inner.base.as_str()).finish_non_exhaustive()
    }
}

impl Stores {
    /// The stores of a survey whose file lies in the folder `base` (a path or a URL), with its `[[storage]]` sections.
    ///
    /// # Errors
    /// [`ImageryError::Document`] for a prefix that is no URL and no path.
    pub fn new(sections: &[StorageSection], base: &str) -> Result<Self, ImageryError> {
        let base = address::folder(base)?;
        let mut parsed = Vec::with_capacity(sections.len());
        for section in sections {
            let prefix = address::resolve(&base, &section.prefix).map_err(|error| ImageryError::Document {
                href: format!("storage.prefix `{}`", section.prefix),
                cause: error.to_string(),
                mend: "write a URL prefix such as s3://bucket/folder".into(),
            })?;
            parsed.push((prefix, section.clone()));
        }
        // The longest prefix speaks for a URL; a stable sort keeps the first of two equal ones.
        parsed.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.as_str().trim_end_matches('/').len()));
        let mut allowed = vec![base.clone()];
        allowed.extend(parsed.iter().map(|(prefix, _)| prefix.clone()));
        let inner = Inner {
            base,
            sections: parsed,
            allowed: Arc::new(RwLock::new(allowed)),
            opened: Mutex::new(BTreeMap::new()),
            permits: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
            http: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// These stores, with further sections: what a survey adds to those of the process that does it.
    ///
    /// # Errors
    /// As [`Stores::new`].
    pub fn also(&self, sections: &[StorageSection]) -> Result<Self, ImageryError> {
        let own = self
            .inner
            .sections
            .iter()
            .map(|(prefix, section)| StorageSection { prefix: prefix.to_string(), ..section.clone() });
        let all: Vec<StorageSection> = own.chain(sections.iter().cloned()).collect();
        let stores = Self::new(&all, self.inner.base.as_str())?;
        let allowed = self.inner.allowed.read().unwrap_or_else(PoisonError::into_inner).clone();
        for prefix in allowed {
            stores.allow(prefix.as_str())?;
        }
        Ok(stores)
    }

    /// The folder of the survey file, as a URL that ends in a slash.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.inner.base
    }

    /// The absolute URL of what the survey file says: relative paths are relative to the survey file.
    ///
    /// # Errors
    /// [`ImageryError::Unsupported`] for a scheme that no store exists for.
    pub fn resolve(&self, href: &str) -> Result<String, ImageryError> {
        address::resolve(&self.inner.base, href).map(String::from)
    }

    /// Lets documents point under `prefix`, too.
    ///
    /// # Errors
    /// [`ImageryError::Unsupported`] for a scheme that no store exists for.
    pub fn allow(&self, prefix: &str) -> Result<(), ImageryError> {
        let prefix = address::parse(prefix)?;
        let mut allowed = self.inner.allowed.write().unwrap_or_else(PoisonError::into_inner);
        if !allowed.contains(&prefix) {
            allowed.push(prefix);
        }
        Ok(())
    }

    /// Whether a document may point to `url`.
    ///
    /// # Errors
    /// [`ImageryError::Denied`], with the `[[storage]]` section that would allow it.
    pub fn check(&self, url: &str) -> Result<(), ImageryError> {
        address::parse(url)?;
        match self.outside(url) {
            None => Ok(()),
            Some(prefix) => Err(ImageryError::Denied {
                href: address::label(url),
                cause: format!(
                    "a catalog may not point there; if it may, add [[storage]] with prefix = \"{prefix}\" to the survey"
                ),
            }),
        }
    }

    /// The prefix that would have to be allowed so that a document may point to `url`; `None` where it may already, or
    /// where no store exists for it.
    #[must_use]
    pub fn outside(&self, url: &str) -> Option<String> {
        let parsed = address::parse(url).ok()?;
        if is_allowed(&self.inner.allowed, &parsed) {
            return None;
        }
        Some(match parsed.scheme() {
            "file" => address::label(address::parent(&parsed).as_str()),
            _ => format!("{}/", &parsed[..url::Position::BeforePath]),
        })
    }

    /// The file at an absolute URL.
    ///
    /// # Errors
    /// [`ImageryError::Unsupported`] for a URL that no store exists for, [`ImageryError::Denied`] for credentials that
    /// `[[storage]]` names and the environment lacks.
    pub fn file(&self, url: &str) -> Result<RemoteFile, ImageryError> {
        let parsed = address::parse(url)?;
        let (store, path) = self.store(&parsed)?;
        Ok(RemoteFile::new(store, path, parsed.into()).with_permits(Arc::clone(&self.inner.permits)))
    }

    /// The store and the key within it of an absolute URL. Stores are opened once per bucket, host or section.
    ///
    /// # Errors
    /// As [`Stores::file`].
    pub fn store(&self, url: &Url) -> Result<(Arc<dyn ObjectStore>, Path), ImageryError> {
        let path = Path::from_url_path(url.path()).map_err(|error| ImageryError::Corrupt {
            href: address::label(url.as_str()),
            cause: format!("this is no valid object key: {error}"),
        })?;
        if url.query().is_some() && matches!(url.scheme(), "http" | "https") {
            // A signature belongs to one file: not worth keeping, and cheap since the client is shared.
            return Ok((open::open_http(url, self.http_client()?)?, path));
        }
        let section = self.inner.sections.iter().position(|(prefix, _)| address::lies_under(url, prefix));
        let key = match url.scheme() {
            "file" => "file".to_owned(),
            _ => format!("{} {section:?}", &url[..url::Position::BeforePath]),
        };
        let mut opened = self.inner.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = opened.get(&key) {
            return Ok((Arc::clone(store), path));
        }
        let section = section.and_then(|index| self.inner.sections.get(index)).map(|(_, section)| section);
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "file" => open::open_folders(),
            "memory" => Arc::new(InMemory::new()),
            "http" | "https" => open::open_http(url, self.http_client()?)?,
            _ => open::open_cloud(url, section)?,
        };
        opened.insert(key, Arc::clone(&store));
        Ok((store, path))
    }

    /// The client of all web servers, for what is not a plain file (a STAC API's search).
    ///
    /// # Errors
    /// [`ImageryError::Transient`] where the machine has no usable TLS roots.
    pub fn http_client(&self) -> Result<reqwest::Client, ImageryError> {
        let allowed = Arc::clone(&self.inner.allowed);
        self.inner
            .http
            .get_or_init(|| {
                open::http_client(move |from, to| {
                    let same = (from.scheme(), from.host_str(), from.port_or_known_default())
                        == (to.scheme(), to.host_str(), to.port_or_known_default());
                    same || is_allowed(&allowed, to)
                })
            })
            .clone()
    }

    /// A document (JSON) of at most `max_bytes`. Web servers may send it without saying how long it is.
    ///
    /// # Errors
    /// As [`RemoteFile::all`].
    pub async fn document(&self, url: &str, max_bytes: u64) -> Result<Bytes, ImageryError> {
        let parsed = address::parse(url)?;
        if matches!(parsed.scheme(), "http" | "https") {
            let request =
                self.http_client()?.get(parsed).header("accept", "application/geo+json, application/json, */*");
            return self.request(request, url, max_bytes).await;
        }
        self.file(url)?.all(max_bytes).await
    }

    /// Sends a request that may be repeated (a GET or a search) and takes at most `max_bytes` of the answer. Tries
    /// again after time-outs, broken bodies, 429 and 5xx.
    ///
    /// # Errors
    /// [`ImageryError::NotFound`], [`ImageryError::Denied`], [`ImageryError::Transient`] by the status;
    /// [`ImageryError::Corrupt`] for an answer that is too large.
    pub async fn request(
        &self,
        request: reqwest::RequestBuilder,
        url: &str,
        max_bytes: u64,
    ) -> Result<Bytes, ImageryError> {
        let href = address::label(url);
        let mut attempt: u32 = 0;
        loop {
            attempt += 1;
            let Some(copy) = request.try_clone() else {
                return Err(ImageryError::Transient { href, cause: "the request cannot be repeated".into() });
            };
            match self.request_once(copy, &href, max_bytes).await {
                Err(ImageryError::Transient { .. }) if attempt < 5 => {
                    tokio::time::sleep(std::time::Duration::from_millis(200 << attempt)).await;
                }
                result => return result,
            }
        }
    }

    async fn request_once(
        &self,
        request: reqwest::RequestBuilder,
        href: &str,
        max_bytes: u64,
    ) -> Result<Bytes, ImageryError> {
        let href = || href.to_owned();
        let network = |error: reqwest::Error| {
            let redirected = error.is_redirect();
            let error = error.without_url();
            let mut words = error.to_string();
            // The outer text is only "error sending request"; the cause is at the bottom.
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                source = cause.source();
                if source.is_none() {
                    words = format!("{words}: {cause}");
                }
            }
            if redirected {
                ImageryError::Denied { href: href(), cause: "the server redirects to another place".into() }
            } else {
                ImageryError::Transient { href: href(), cause: address::scrub(&words) }
            }
        };
        let _permit = self
            .inner
            .permits
            .acquire()
            .await
            .map_err(|_| ImageryError::Transient { href: href(), cause: "the stores are closed".into() })?;
        let mut response = request.send().await.map_err(network)?;
        let status = response.status();
        match status.as_u16() {
            200..300 => {}
            404 | 410 => return Err(ImageryError::NotFound { href: href() }),
            408 | 425 | 429 | 500..600 => {
                return Err(ImageryError::Transient { href: href(), cause: format!("the server answers {status}") });
            }
            _ => return Err(ImageryError::Denied { href: href(), cause: format!("the server answers {status}") }),
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            if (body.len() as u64).saturating_add(chunk.len() as u64) > max_bytes {
                return Err(ImageryError::Corrupt {
                    href: href(),
                    cause: format!("the answer has more than the {max_bytes} bytes that are allowed here"),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

fn is_allowed(allowed: &RwLock<Vec<Url>>, url: &Url) -> bool {
    allowed.read().unwrap_or_else(PoisonError::into_inner).iter().any(|prefix| address::lies_under(url, prefix))
}
