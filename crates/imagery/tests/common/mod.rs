//! A web server that does what a test says, and the place of the shared data.

#![allow(dead_code)] // Each test binary uses its part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The shared data, or `None` and one line where it is absent.
pub fn shared(test: &str, path: &str) -> Option<PathBuf> {
    let shared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    if shared.is_dir() {
        return Some(shared.join(path).canonicalize().unwrap());
    }
    println!("skipped: {test}: ../shared is not there");
    None
}

/// A request as a handler sees it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    /// The bytes of `Range: bytes=a-b`.
    pub fn range(&self) -> Option<std::ops::Range<usize>> {
        let (from, to) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some(from.parse().ok()?..to.parse::<usize>().ok()? + 1)
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Send only so many bytes of the body and hang up.
    pub cut_after: Option<usize>,
}

impl Response {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// A file as a store serves it: whole, or the range that is asked for.
    pub fn file(request: &Request, file: &[u8], etag: &str) -> Self {
        let response = match request.range() {
            Some(range) if range.start >= file.len() => Self::status(416),
            Some(range) => {
                let end = range.end.min(file.len());
                Self { status: 206, body: file[range.start..end].to_vec(), ..Self::default() }
                    .with("content-range", format!("bytes {}-{}/{}", range.start, end - 1, file.len()))
            }
            None => Self::ok(file),
        };
        response.with("etag", etag).with("last-modified", "Mon, 02 Oct 2023 02:11:00 GMT")
    }
}

/// A server on a free port. It ends with the test's runtime.
pub struct Server {
    pub url: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub async fn start(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (handler, seen) = (Arc::new(handler), Arc::clone(&log));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
                tokio::spawn(async move {
                    let _ = serve(stream, &*handler, &seen).await;
                });
            }
        });
        Self { url, log }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    handler: &(impl Fn(&Request) -> Response + ?Sized),
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default().to_owned(), first.next().unwrap_or_default().to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let request = Request { method, target, headers, body: bytes[end..end + length].to_vec() };
    log.lock().unwrap().push(request.clone());
    let response = handler(&request);
    let mut out =
        format!("HTTP/1.1 {} x\r\nconnection: close\r\ncontent-length: {}\r\n", response.status, response.body.len());
    for (name, value) in &response.headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    stream.write_all(out.as_bytes()).await?;
    if request.method != "HEAD" {
        let sent = response.cut_after.unwrap_or(response.body.len()).min(response.body.len());
        stream.write_all(&response.body[..sent]).await?;
    }
    stream.shutdown().await
}
