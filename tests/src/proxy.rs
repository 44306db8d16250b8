//! A network that fails: a TCP proxy before a server, which cuts, delays and answers in the server's place, by chance
//! that a seed decides.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::Rng;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server is overloaded: 503 with a body that says so.
    Overloaded,
    /// The server has broken down: 500.
    Broken,
    /// The answer ends in its middle, and the connection with it.
    Truncated,
    /// The connection is reset before an answer.
    Reset,
    /// The answer comes in drops.
    Slow,
}

/// All faults.
pub const FAULTS: [Fault; 5] = [Fault::Overloaded, Fault::Broken, Fault::Truncated, Fault::Reset, Fault::Slow];

/// Bytes that a sound connection may carry from the server before it is closed, so that there are always new ones.
const LIFE: usize = 4 << 20;

/// What the proxy is told, and what it tells.
#[derive(Default)]
struct Shared {
    counts: [AtomicUsize; FAULTS.len()],
    /// Requests whose head has this in it are never answered.
    silent_about: OnceLock<String>,
    unanswered: AtomicUsize,
}

/// A running proxy; stops when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Stands before `server`. Each connection has a fault with the given probability, each kind alike.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(server: SocketAddr, seed: u64, probability: f64) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared: Arc<Shared> = Arc::default();
        let told = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut random = Pcg64Mcg::seed_from_u64(seed);
            while let Ok((client, _)) = listener.accept().await {
                let kind = random.random_bool(probability).then(|| random.random_range(0..FAULTS.len()));
                let cut_after = random.random_range(1..4000);
                if let Some(count) = kind.and_then(|kind| told.counts.get(kind)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                let fault = kind.and_then(|kind| FAULTS.get(kind)).copied();
                let shared = Arc::clone(&told);
                tokio::spawn(async move {
                    // A connection that ends early is what this is for.
                    let _ = carry(client, server, fault, cut_after, &shared).await;
                });
            }
        });
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts itself before the server that an environment points `object_store` at.
    pub fn put_before(&self, environment: &mut [(&'static str, String)]) {
        for (_, url) in environment.iter_mut().filter(|(name, _)| *name == "AWS_ENDPOINT_URL") {
            *url = format!("http://{}", self.address);
        }
    }

    /// From now on no request with `words` in its first line is answered, nor refused: it just stays open.
    pub fn fall_silent_about(&self, words: &str) {
        let _ = self.shared.silent_about.set(words.to_owned());
    }

    /// How many requests were never answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.shared.unanswered.load(Ordering::Relaxed)
    }

    /// How often each fault has happened.
    #[must_use]
    pub fn counts(&self) -> Vec<(Fault, usize)> {
        FAULTS.into_iter().zip(self.shared.counts.iter().map(|count| count.load(Ordering::Relaxed))).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    fault: Option<Fault>,
    cut_after: usize,
    shared: &Shared,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    match fault {
        Some(Fault::Overloaded) => return answer(client, "503 Service Unavailable", "SlowDown").await,
        Some(Fault::Broken) => return answer(client, "500 Internal Server Error", "InternalError").await,
        Some(Fault::Reset) => {
            let mut some = [0; 64];
            let _ = client.read(&mut some).await?;
            client.set_zero_linger()?;
            return Ok(());
        }
        _ => {}
    }
    let upstream = TcpStream::connect(server).await?;
    upstream.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = from_client.read(&mut buffer).await?;
            let piece = buffer.get(..count).unwrap_or_default();
            if count == 0 {
                return Ok::<(), std::io::Error>(());
            }
            if is_silent_about(shared, piece) {
                shared.unanswered.fetch_add(1, Ordering::Relaxed);
                // Until the client gives up.
                while from_client.read(&mut buffer).await? > 0 {}
                return Ok(());
            }
            to_server.write_all(piece).await?;
        }
    };
    let down = async {
        let mut buffer = vec![0; if fault == Some(Fault::Slow) { 512 } else { 64 << 10 }];
        let mut carried = 0;
        loop {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                return Ok::<(), std::io::Error>(());
            }
            let mut piece = buffer.get(..count).unwrap_or_default();
            if fault == Some(Fault::Truncated) && carried + count > cut_after {
                piece = piece.get(..cut_after.saturating_sub(carried)).unwrap_or_default();
                to_client.write_all(piece).await?;
                return Ok(());
            }
            if fault == Some(Fault::Slow) && carried < 64 << 10 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            to_client.write_all(piece).await?;
            carried += count;
            // Only between two answers would a server close; a client must bear it anywhere.
            if carried > LIFE {
                return Ok(());
            }
        }
    };
    tokio::select! {
        done = up => done,
        done = down => done,
    }
}

/// Whether a piece that a client sent begins a request that is not to be answered. Clients send a head in one piece.
fn is_silent_about(shared: &Shared, piece: &[u8]) -> bool {
    let line = piece.split(|&byte| byte == b'\n').next().unwrap_or_default();
    shared.silent_about.get().is_some_and(|words| String::from_utf8_lossy(line).contains(words))
}

/// Reads a request's head and answers in the server's place.
async fn answer(mut client: TcpStream, status: &str, code: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut some = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < 64 << 10 {
        let count = client.read(&mut some).await?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(some.get(..count).unwrap_or_default());
    }
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by the proxy</Message></Error>");
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}
