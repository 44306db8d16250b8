//! Stores and outputs: what users promise themselves of a folder, a bucket and a web server.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::{Response, Server};
use imagery::{ImageryError, Output, Stores};
use survey::failure::FailureClass;
use survey::spec::StorageSection;

const FILE: &[u8] = b"0123456789abcdefghij";

fn stores(base: &std::path::Path) -> Stores {
    Stores::new(&[], base.to_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_file_of_a_folder_is_read_by_ranges_and_a_range_beyond_its_end_is_a_truncated_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a b#1%.tif"), FILE).unwrap();
    let stores = stores(folder.path());
    let file = stores.file(&stores.resolve("a b#1%.tif").unwrap()).unwrap();
    assert_eq!(file.head().await.unwrap().size, 20);
    assert_eq!(file.ranges(&[5..8, 0..2, 19..20]).await.unwrap(), [&b"567"[..], b"01", b"j"]);
    assert_eq!(file.all(20).await.unwrap(), FILE);
    for range in [18..21, 20..21, 100..200] {
        let error = file.range(range).await.unwrap_err();
        assert!(matches!(error, ImageryError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("a b#1%.tif"), "{error}");
    }
    assert!(file.all(19).await.unwrap_err().to_string().contains("19 bytes"));
    let missing = stores.file(&stores.resolve("none.tif").unwrap()).unwrap().head().await.unwrap_err();
    assert!(matches!(missing, ImageryError::NotFound { .. }), "{missing:?}");
}

#[tokio::test]
async fn a_file_that_changes_after_it_was_pinned_is_never_read_as_if_it_had_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    std::fs::write(&path, FILE).unwrap();
    let stores = stores(folder.path());
    let file = stores.file(&stores.resolve("a.tif").unwrap()).unwrap();
    let head = file.head().await.unwrap();
    let pinned = file.with_pin(Some(head.size), head.etag.as_deref());
    assert!(pinned.range(0..4).await.is_ok());
    std::fs::write(&path, [FILE, b"more"].concat()).unwrap();
    for error in [pinned.range(0..4).await.unwrap_err(), pinned.all(100).await.unwrap_err()] {
        assert_eq!(error.class(), FailureClass::InputChanged, "{error:?}");
    }
    // Of what is not there any more it is not known that it was cut off.
    for left in [b"", &FILE[..5]] {
        std::fs::write(&path, left).unwrap();
        let error = pinned.range(6..9).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::InputChanged, "{error:?}");
    }
    assert_eq!(pinned.size().await.unwrap(), head.size, "nobody is asked for what is pinned");
    std::fs::remove_file(&path).unwrap();
    let error = pinned.range(0..4).await.unwrap_err();
    assert!(matches!(error, ImageryError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_again_and_never_filled_up() {
    let attempts = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&attempts);
    let server = Server::start(move |request| {
        let mut response = Response::file(request, FILE, "\"1\"");
        if request.method == "GET" && counter.fetch_add(1, Ordering::SeqCst) == 0 {
            response.cut_after = Some(3);
        }
        response
    })
    .await;
    let stores = Stores::new(&[], "/").unwrap();
    let file = stores.file(&format!("{}/a.tif", server.url)).unwrap();
    assert_eq!(file.range(2..12).await.unwrap(), &FILE[2..12]);
    assert!(attempts.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_and_one_that_refuses_is_not() {
    let attempts = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&attempts);
    let server = Server::start(move |request| match request.target.as_str() {
        "/private.tif?sig=SECRET" => Response::status(403),
        _ if counter.fetch_add(1, Ordering::SeqCst) < 2 => Response::status(503),
        _ => Response::file(request, FILE, "\"1\""),
    })
    .await;
    let stores = Stores::new(&[], "/").unwrap();
    assert_eq!(stores.file(&format!("{}/a.tif", server.url)).unwrap().range(0..4).await.unwrap(), &FILE[..4]);
    let error = stores.file(&format!("{}/private.tif?sig=SECRET", server.url)).unwrap().range(0..4).await.unwrap_err();
    assert!(matches!(error, ImageryError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("/private.tif") && !error.to_string().contains("SECRET"), "{error}");
    // The signature went with the request all the same.
    assert!(server.requests().iter().any(|request| request.target == "/private.tif?sig=SECRET"));
}

#[tokio::test]
async fn a_server_that_ignores_ranges_and_one_that_cuts_a_file_are_named() {
    let server = Server::start(|request| match request.target.as_str() {
        "/whole.tif" => Response::ok(FILE).with("etag", "\"1\""),
        _ => Response::file(request, FILE, "\"1\""),
    })
    .await;
    let stores = Stores::new(&[], "/").unwrap();
    let error = stores.file(&format!("{}/whole.tif", server.url)).unwrap().range(0..4).await.unwrap_err();
    assert!(error.to_string().contains("Range"), "{error}");
    let error = stores.file(&format!("{}/a.tif", server.url)).unwrap().range(10..30).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::BadInput, "{error:?}");
    assert!(error.to_string().contains("truncated") || error.to_string().contains("ends before"), "{error}");
}

#[tokio::test]
async fn a_redirect_to_another_place_is_not_followed() {
    let inner = Server::start(|request| Response::file(request, b"internal", "\"1\"")).await;
    let target = format!("{}/secret", inner.url);
    let outer = Server::start(move |request| match request.target.as_str() {
        "/here" => Response::status(302).with("location", "/there"),
        "/there" => Response::ok(b"{}".to_vec()),
        _ => Response::status(302).with("location", target.clone()),
    })
    .await;
    let stores = Stores::new(&[], "/").unwrap();
    assert_eq!(stores.document(&format!("{}/here", outer.url), 100).await.unwrap(), &b"{}"[..]);
    let error = stores.document(&format!("{}/away", outer.url), 100).await.unwrap_err();
    assert!(matches!(error, ImageryError::Denied { .. }), "{error:?}");
    assert!(stores.file(&format!("{}/away", outer.url)).unwrap().range(0..4).await.is_err());
    assert!(inner.requests().is_empty());
}

#[tokio::test]
async fn a_storage_section_says_how_its_prefix_is_read() {
    let server = Server::start(|request| Response::file(request, FILE, "\"1\"")).await;
    let section = StorageSection {
        prefix: "s3://scenes/open".into(),
        anonymous: true,
        endpoint: Some(server.url.clone()),
        allow_http: true,
        ..StorageSection::default()
    };
    let named = StorageSection {
        prefix: "s3://scenes/named".into(),
        access_key_id_env: Some("GROUNDBREAK_TEST_UNSET_KEY".into()),
        ..StorageSection::default()
    };
    // Tests cannot set variables; any that is set will do as a key.
    let paid = StorageSection {
        prefix: "s3://scenes/paid".into(),
        requester_pays: true,
        anonymous: false,
        access_key_id_env: Some("HOME".into()),
        secret_access_key_env: Some("PATH".into()),
        ..section.clone()
    };
    let stores = Stores::new(&[section, named, paid], "/surveys").unwrap();
    let file = stores.file("s3://scenes/open/a.tif").unwrap();
    assert_eq!(file.range(3..5).await.unwrap(), &b"34"[..]);
    let request = server.requests().pop().unwrap();
    assert_eq!(request.target, "/scenes/open/a.tif");
    assert!(!request.headers.contains_key("authorization"));
    stores.file("s3://scenes/paid/a.tif").unwrap().range(3..5).await.unwrap();
    let request = server.requests().pop().unwrap();
    assert!(request.headers.contains_key("authorization"));
    assert_eq!(request.headers.get("x-amz-request-payer").map(String::as_str), Some("requester"));
    let error = stores.file("s3://scenes/named/a.tif").unwrap_err().to_string();
    assert!(error.contains("GROUNDBREAK_TEST_UNSET_KEY"), "{error}");
}

#[tokio::test]
async fn a_document_may_point_only_under_the_allowed_prefixes() {
    let section = StorageSection { prefix: "s3://scenes/open".into(), ..StorageSection::default() };
    let stores = Stores::new(&[section], "/surveys/one").unwrap();
    stores.allow("https://catalog.example/").unwrap();
    for allowed in ["file:///surveys/one/a/b.tif", "s3://scenes/open/x.tif", "https://catalog.example/v1/search?x=1"] {
        stores.check(allowed).unwrap();
    }
    for denied in [
        "file:///etc/passwd",
        "file:///surveys/one/../two/x.tif",
        "file:///surveys/one2/x.tif",
        "s3://scenes/openly/x.tif",
        "https://catalog.example.evil/v1",
        "http://169.254.169.254/latest/meta-data",
    ] {
        let error = stores.check(denied).unwrap_err();
        assert!(matches!(error, ImageryError::Denied { .. }) && error.to_string().contains("[[storage]]"), "{error}");
    }
}

#[tokio::test]
async fn an_object_is_committed_once_under_its_digest_and_checked_when_it_is_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let stores = stores(folder.path());
    for url in ["out put", "memory://bucket/out"] {
        let output = Output::open(url, &stores).unwrap();
        output.check_writable().await.unwrap();
        let first = output.commit("stages/findings/3/-7", "pb", Bytes::from_static(FILE)).await.unwrap();
        let again = output.commit("stages/findings/3/-7", "pb", Bytes::from_static(FILE)).await.unwrap();
        assert_eq!(first, again);
        assert!(first.key.starts_with("stages/findings/3/-7.") && first.key.ends_with(".pb"), "{}", first.key);
        assert_eq!(output.fetch(&first).await.unwrap(), FILE);
        // What is damaged is found, and mended by the next commit of the same bytes.
        output.put(&first.key, Bytes::from_static(b"0123456789abcdefghiX")).await.unwrap();
        let error = output.fetch(&first).await.unwrap_err();
        assert!(matches!(error, ImageryError::Corrupt { .. }), "{error:?}");
        output.commit("stages/findings/3/-7", "pb", Bytes::from_static(FILE)).await.unwrap();
        assert_eq!(output.fetch(&first).await.unwrap(), FILE);

        assert!(output.put_if_absent("lock", Bytes::from_static(b"a")).await.unwrap());
        assert!(!output.put_if_absent("lock", Bytes::from_static(b"b")).await.unwrap());
        assert_eq!(output.get("lock").await.unwrap().unwrap(), &b"a"[..]);
        assert_eq!(output.get("none").await.unwrap(), None);
        assert_eq!(output.list("").await.unwrap(), ["lock".to_owned(), first.key.clone()]);
        assert_eq!(output.list("stages/findings").await.unwrap(), std::slice::from_ref(&first.key));
        assert!(output.list("nothing/here").await.unwrap().is_empty());
        for bad in ["../x", "a/../../x", "", "/"] {
            assert!(output.put(bad, Bytes::new()).await.is_err() || bad == "/", "{bad}");
        }
        output.delete("lock").await.unwrap();
        assert_eq!(output.get("lock").await.unwrap(), None);
    }
    assert!(folder.path().join("out put/stages/findings/3").is_dir());
    assert!(!folder.path().join("x").exists());
}

#[tokio::test]
async fn an_output_that_cannot_be_written_to_is_named_with_the_systems_words() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let stores = stores(folder.path());
    let output = Output::open("file/out", &stores).unwrap();
    let error = output.check_writable().await.unwrap_err();
    assert!(matches!(error, ImageryError::Output { .. }), "{error:?}");
    let words = error.to_string();
    assert!(words.contains("file/out") && words.contains("directory") && !words.contains("Generic"), "{words}");
    let error = Output::open("https://host.example/out", &stores).unwrap_err().to_string();
    assert!(error.contains("bucket"), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_an_output_error() {
    // /dev/full fails each write with ENOSPC; a link to it as the temporary file of the object stands for a full disk.
    let folder = tempfile::tempdir().unwrap();
    let error = std::fs::write("/dev/full", FILE).map_err(|error| error.to_string());
    let Err(words) = error else {
        println!("skipped: a_full_disk_is_an_output_error: there is no /dev/full");
        return;
    };
    assert!(words.contains("space"), "{words}");
    let store_error = object_store::Error::Generic {
        store: "LocalFileSystem",
        source: Box::new(std::io::Error::from_raw_os_error(28)),
    };
    let error = imagery::store::write_failure(folder.path().join("x").to_str().unwrap(), &store_error);
    assert!(matches!(error, ImageryError::Output { .. }) && error.to_string().contains("space"), "{error}");
    assert_eq!(error.class(), FailureClass::Fatal);
}
