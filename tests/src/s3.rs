//! The project's dev S3 server: for tests and `make` targets where no MinIO is at hand. Never for data that matters.
//!
//! It is `s3s-fs` over a folder, with two repairs: a lock per key, without which its conditional PUT is racy, and
//! `TCP_NODELAY`, without which a GET takes 40 ms.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput, UploadPartInput, UploadPartOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

/// Access key of the dev server.
pub const ACCESS_KEY: &str = "groundbreak";
/// Secret key of the dev server: it guards nothing.
pub const SECRET_KEY: &str = "groundbreak-dev";
/// Region that it claims.
pub const REGION: &str = "us-east-1";

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

/// `s3s-fs` with writes to one key one after the other.
struct Serialised {
    store: FileSystem,
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

    pass! {
        create_bucket: CreateBucketInput => CreateBucketOutput,
        head_bucket: HeadBucketInput => HeadBucketOutput,
        get_object: GetObjectInput => GetObjectOutput,
        head_object: HeadObjectInput => HeadObjectOutput,
        list_objects_v2: ListObjectsV2Input => ListObjectsV2Output,
        delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
        copy_object: CopyObjectInput => CopyObjectOutput,
        create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
        upload_part: UploadPartInput => UploadPartOutput,
        abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
    }
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
        let mut builder = S3ServiceBuilder::new(Serialised { store, locks: Mutex::default(), watch });
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
        vec![
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_REGION", REGION.into()),
            ("AWS_ALLOW_HTTP", "true".into()),
        ]
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
