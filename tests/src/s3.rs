//! The project's dev S3 server: for tests and `make` targets where no MinIO is at hand. Never for data that matters.
//!
//! It is `s3s-fs` over a folder, with three repairs: a lock per key, without which its conditional PUT is racy;
//! `TCP_NODELAY`, without which a GET takes 40 ms; and large bodies in large pieces, where it sends a thread for each 4 KiB.

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::TryStreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput, StreamingBlob, UploadPartInput,
    UploadPartOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

use crate::survey_run::binary;

/// Access key of the dev server.
pub const ACCESS_KEY: &str = "groundbreak";
/// Secret key of the dev server: it guards nothing.
pub const SECRET_KEY: &str = "groundbreak-dev";
/// Region that it claims.
pub const REGION: &str = "us-east-1";

/// Larger bodies are sent in pieces of so many bytes.
const PIECE_BYTES: u64 = 512 << 10;

/// A moment in the life of an object that is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The request has come; nothing is stored.
    BeforePut,
    /// It is stored; nobody was told.
    AfterPut,
}

/// Is told of each put, with the object's key, and may do what it likes meanwhile, such as killing who asked.
pub type Watch = Arc<dyn Fn(Moment, &str) + Send + Sync>;

/// `s3s-fs` with writes to one key one after the other, and large bodies in large pieces.
struct Serialised {
    store: FileSystem,
    root: PathBuf,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    watch: Option<Watch>,
}

impl Serialised {
    fn lock(&self, bucket: &str, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.entry(format!("{bucket}/{key}")).or_default().clone()
    }
}

/// Written out as `async_trait` would: it does not see what a macro inside the `impl` makes.
macro_rules! pass {
    ($($name:ident: $input:ty => $output:ty),* $(,)?) => {
        $(fn $name<'a, 'async_trait>(
            &'a self,
            request: S3Request<$input>,
        ) -> Pin<Box<dyn Future<Output = S3Result<S3Response<$output>>> + Send + 'async_trait>>
        where
            'a: 'async_trait,
            Self: 'async_trait,
        {
            self.store.$name(request)
        })*
    };
}

#[async_trait::async_trait]
impl S3 for Serialised {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let key = request.input.key.clone();
        let lock = self.lock(&request.input.bucket, &key);
        let _held = lock.lock().await;
        let tell = |moment| self.watch.iter().for_each(|watch| watch(moment, &key));
        tell(Moment::BeforePut);
        let stored = self.store.put_object(request).await;
        tell(Moment::AfterPut);
        stored
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let lock = self.lock(&request.input.bucket, &request.input.key);
        let _held = lock.lock().await;
        self.store.delete_object(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let lock = self.lock(&request.input.bucket, &request.input.key);
        let _held = lock.lock().await;
        self.store.complete_multipart_upload(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let path = self.root.join(&request.input.bucket).join(&request.input.key);
        let mut response = self.store.get_object(request).await?;
        let first = response.output.content_range.as_deref().and_then(first_byte).unwrap_or(0);
        let length = response.output.content_length.and_then(|length| u64::try_from(length).ok());
        if let Some(length) = length.filter(|&length| length > PIECE_BYTES) {
            let file = std::fs::File::open(path).map_err(S3Error::internal_error)?;
            response.output.body = Some(StreamingBlob::wrap(pieces(file, first..first + length)));
        }
        Ok(response)
    }

    pass! {
        create_bucket: CreateBucketInput => CreateBucketOutput,
        head_bucket: HeadBucketInput => HeadBucketOutput,
        head_object: HeadObjectInput => HeadObjectOutput,
        list_objects_v2: ListObjectsV2Input => ListObjectsV2Output,
        delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
        copy_object: CopyObjectInput => CopyObjectOutput,
        create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
        upload_part: UploadPartInput => UploadPartOutput,
        abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
    }
}

/// First byte of a range, as the answer names it: `bytes 7-11/42`.
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// The bytes of a range of a file that nobody writes to.
fn pieces(file: std::fs::File, range: Range<u64>) -> impl futures::Stream<Item = std::io::Result<Bytes>> {
    futures::stream::try_unfold((file, range), async |(file, range)| {
        let length = (range.end - range.start).min(PIECE_BYTES);
        if length == 0 {
            return Ok(None);
        }
        let read = move || {
            let mut piece = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
            file.read_exact_at(&mut piece, range.start)?;
            Ok::<_, std::io::Error>((file, piece))
        };
        let (file, piece) = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
        Ok(Some((Bytes::from(piece), (file, range.start + length..range.end))))
    })
}

fn environment(address: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
        ("AWS_REGION", REGION.into()),
        ("AWS_ALLOW_HTTP", "true".into()),
    ]
}

/// An S3 server for a test: MinIO where `minio` is on the path, else the dev server. Stops when dropped.
pub enum TestServer {
    /// MinIO, as a process of its own.
    Minio(Minio),
    /// The dev server, in this process.
    Dev(DevS3),
}

/// A running MinIO.
pub struct Minio {
    address: SocketAddr,
    process: Child,
}

impl Drop for Minio {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl TestServer {
    /// Serves the folders of `root` as buckets, on a free port of this machine.
    ///
    /// # Errors
    /// Where no server can be started.
    pub async fn start(root: &Path) -> std::io::Result<Self> {
        let Some(program) = on_path("minio") else {
            return Ok(Self::Dev(DevS3::start(root, SocketAddr::from(([127, 0, 0, 1], 0))).await?));
        };
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new(program)
            .args(["server", "--quiet", "--address", &address.to_string()])
            .arg(root)
            .envs([("MINIO_ROOT_USER", ACCESS_KEY), ("MINIO_ROOT_PASSWORD", SECRET_KEY)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Minio { address, process };
        // Until it takes connections, or has ended.
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.process.try_wait()? {
                return Err(std::io::Error::other(format!("minio has ended ({status})")));
            }
            tokio::task::yield_now().await;
        }
        Ok(Self::Minio(server))
    }

    /// The environment that points `object_store` at this server.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Minio(server) => environment(server.address),
            Self::Dev(server) => server.environment(),
        }
    }

    /// One of its buckets.
    ///
    /// # Errors
    /// Where `object_store` does not take the settings.
    pub fn bucket(&self, name: &str) -> object_store::Result<AmazonS3> {
        let builder = AmazonS3Builder::new().with_bucket_name(name);
        let settings = self.environment();
        let settled = settings.iter().try_fold(builder, |builder, (name, value)| {
            Ok::<_, object_store::Error>(builder.with_config(name.to_ascii_lowercase().parse()?, value))
        });
        // MinIO is ready to serve a moment after it takes connections.
        settled?.with_retry(RetryConfig { max_retries: 20, ..RetryConfig::default() }).build()
    }
}

/// The dev server as a process of its own, to be killed and started again where it was.
pub struct S3Process {
    root: PathBuf,
    address: SocketAddr,
    process: Child,
}

impl S3Process {
    /// Serves the folders of `root` as buckets, on a free port of this machine.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(root: &Path) -> std::io::Result<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Self { root: root.to_path_buf(), address, process: Self::spawn(root, address)? })
    }

    fn spawn(root: &Path, address: SocketAddr) -> std::io::Result<Child> {
        let program = binary().with_file_name("dev-s3");
        let mut command = Command::new(program);
        command.arg(root).arg(address.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.try_wait()? {
                return Err(std::io::Error::other(format!("dev-s3 has ended ({status})")));
            }
            std::thread::yield_now();
        }
        Ok(process)
    }

    /// The environment that points `object_store` at this server.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        environment(self.address)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again where it was killed.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_again(&mut self) -> std::io::Result<()> {
        self.process = Self::spawn(&self.root, self.address)?;
        Ok(())
    }
}

impl Drop for S3Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Puts the files below a folder into a bucket, under `prefix/`.
///
/// # Errors
/// What the store says.
pub async fn upload(bucket: &AmazonS3, prefix: &str, files: BTreeMap<String, Vec<u8>>) -> object_store::Result<()> {
    for (name, bytes) in files {
        bucket.put(&format!("{prefix}/{name}").as_str().into(), bytes.into()).await?;
    }
    Ok(())
}

/// The objects under `prefix/`, by the rest of their keys.
///
/// # Errors
/// What the store says.
pub async fn download(bucket: &AmazonS3, prefix: &str) -> object_store::Result<BTreeMap<String, Vec<u8>>> {
    let listed: Vec<_> = bucket.list(Some(&prefix.into())).try_collect().await?;
    let mut found = BTreeMap::new();
    for object in listed {
        let key = object.location.to_string();
        let bytes = bucket.get(&object.location).await?.bytes().await?;
        found.insert(key.trim_start_matches(prefix).trim_start_matches('/').to_owned(), bytes.to_vec());
    }
    Ok(found)
}

/// Where a program lies, if it is on the path.
#[allow(clippy::disallowed_methods, reason = "test support: the environment of the test run")]
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A running dev server. Stops when dropped.
pub struct DevS3 {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl DevS3 {
    /// Serves the folders of `root` as buckets.
    ///
    /// # Errors
    /// Where the address cannot be bound or the folder cannot be used.
    pub async fn start(root: &Path, address: SocketAddr) -> std::io::Result<Self> {
        Self::start_watched(root, address, None).await
    }

    /// As [`DevS3::start`], and tells `watch` of each put.
    ///
    /// # Errors
    /// As [`DevS3::start`].
    pub async fn start_watched(root: &Path, address: SocketAddr, watch: Option<Watch>) -> std::io::Result<Self> {
        let store =
            FileSystem::new(root).map_err(|error| std::io::Error::other(format!("{}: {error:?}", root.display())))?;
        let mut builder =
            S3ServiceBuilder::new(Serialised { store, root: root.to_path_buf(), locks: Mutex::default(), watch });
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                let connection = server.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
                tokio::spawn(async move {
                    let _ = connection.await;
                });
            }
        });
        Ok(Self { address, task })
    }

    /// The environment that points `object_store` at this server.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        environment(self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for DevS3 {
    fn drop(&mut self) {
        self.task.abort();
    }
}
