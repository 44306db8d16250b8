use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};

use super::*;
use crate::testing::{completed, submitted};

fn store_in(folder: &std::path::Path) -> SlateStore {
    let output = crate::testing::folder(folder);
    SlateStore::new(&output, &crate::testing::stores(folder)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_in_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    crate::journal::conformance::suite(async || {
        count.set(count.get() + 1);
        store_in(&root.path().join(count.get().to_string()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_an_s3_server() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("bucket")).unwrap();
    let server = groundbreak_tests::s3::TestServer::start(root.path()).await.unwrap();
    let store = server.bucket("bucket").unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    let count = std::cell::Cell::new(0);
    crate::journal::conformance::suite(async || {
        count.set(count.get() + 1);
        let path = Path::from(format!("{}/journal", count.get()));
        // Some S3 servers take an If-Match and do not look at it: so it is not relied on.
        SlateStore::on(Arc::clone(&store), path, "s3://bucket".into(), false)
    })
    .await;
}

/// Keeps objects without what is said of them, and may keep the next log object and not answer.
#[derive(Debug, Default)]
struct Forgetful {
    store: InMemory,
    lose_next: AtomicBool,
}

impl std::fmt::Display for Forgetful {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("forgetful")
    }
}

#[tonic::async_trait]
impl ObjectStore for Forgetful {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> object_store::Result<PutResult> {
        options.attributes = Attributes::new();
        let kept = self.store.put_opts(at, payload, options).await?;
        if at.as_ref().contains("/wal/") && self.lose_next.swap(false, Ordering::Relaxed) {
            return Err(object_store::Error::Generic { store: "forgetful", source: "no answer".into() });
        }
        Ok(kept)
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.store.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.store.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_was_kept_and_not_answered_is_no_successor() {
    let forgetful = Arc::new(Forgetful::default());
    let store = SlateStore::on(Arc::clone(&forgetful) as _, Path::from("a/journal"), "memory".into(), true);
    let (mut journal, _) = store.open("first").await.unwrap();
    let reader = journal.reader();
    let survey = SurveyId::from("a");
    journal.append(&[submitted("a")]).await.unwrap();
    for pair in 0..3 {
        forgetful.lose_next.store(true, Ordering::Relaxed);
        journal.append(&[completed(pair)]).await.unwrap();
        assert!(!forgetful.lose_next.load(Ordering::Relaxed), "nothing was lost");
    }
    // Who read before it was opened again reads on, and the next writer finds each once.
    assert_eq!(reader.jobs(&survey).await.unwrap().completed.len(), 3);
    let (second, _) = store.open("second").await.unwrap();
    assert_eq!(second.reader().jobs(&survey).await.unwrap().completed.len(), 3);
    // A successor stays one, whatever is lost besides.
    forgetful.lose_next.store(true, Ordering::Relaxed);
    assert!(matches!(journal.append(&[completed(4)]).await, Err(JournalError::Fenced { .. })));
    assert_eq!(second.reader().jobs(&survey).await.unwrap().completed.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_none_is_refused_with_the_mend() {
    let root = tempfile::tempdir().unwrap();
    let store = store_in(root.path());
    store.open("a").await.unwrap().0.close().await;
    for entry in std::fs::read_dir(root.path().join("journal/manifest")).unwrap() {
        std::fs::write(entry.unwrap().path(), b"nonsense").unwrap();
    }
    let refusal = store.open("b").await.map(|_| ()).unwrap_err().to_string();
    assert!(refusal.contains(&root.path().display().to_string()) && refusal.contains("journal"), "{refusal}");
}
