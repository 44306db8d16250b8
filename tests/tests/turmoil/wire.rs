//! gRPC over the simulated network, and calls that arrive more than once.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, Stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};

use crate::faults::Kind;
use crate::world::World;

const PORT: u16 = 7070;
/// One in so many calls arrives twice, and one in so many again when it is old.
const TWICE: u32 = 12;
const LATE: u32 = 12;
/// The oldest that a call gets before it arrives again.
const LATEST: Duration = Duration::from_secs(40);

/// The open connections of a host. Clones share them.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<Arc<Slot>>>>);

type Slot = Mutex<Option<TcpStream>>;

impl Lines {
    fn add(&self, stream: TcpStream) -> Line {
        let slot = Arc::new(Slot::new(Some(stream)));
        let mut lines = self.0.lock().unwrap();
        lines.retain(|slot| slot.lock().unwrap().is_some());
        lines.push(Arc::clone(&slot));
        Line(slot)
    }

    /// Closes all, the oldest first. A runtime that is dropped would close them in the order of the numbers that its tasks
    /// happen to have, and that is another one in each run.
    pub fn close(&self) {
        for slot in self.0.lock().unwrap().drain(..) {
            drop(slot.lock().unwrap().take());
        }
    }
}

/// A connection.
pub struct Line(Arc<Slot>);

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.0.lock().unwrap().take());
    }
}

impl Line {
    fn with<T>(&self, poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self.0.lock().unwrap().as_mut() {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}

impl Connected for Line {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

/// The connections that reach this host.
pub async fn incoming(lines: Lines) -> io::Result<impl Stream<Item = io::Result<Line>>> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    Ok(stream::unfold((listener, lines), |(listener, lines)| async {
        let accepted = listener.accept().await.map(|(stream, _)| lines.add(stream));
        Some((accepted, (listener, lines)))
    }))
}

/// A connection to the coordinator, with the time-outs and keepalives of a real one.
pub async fn connect(lines: Lines) -> Result<Channel, String> {
    let dial = tower::service_fn(move |_: http::Uri| {
        let lines = lines.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(lines.add(TcpStream::connect(("coordinator", PORT)).await?))) }
    });
    let endpoint = worker::client::endpoint("http://coordinator:7070")?;
    endpoint.connect_with_connector(dial).await.map_err(|error| error.to_string())
}

/// Makes calls arrive twice, as they do where a proxy or a client repeats one whose answer it has not seen: TCP itself
/// never does so.
#[derive(Clone)]
pub struct Echo(pub Arc<World>);

impl<S> tower::Layer<S> for Echo {
    type Service = Echoing<S>;

    fn layer(&self, inner: S) -> Echoing<S> {
        Echoing { world: Arc::clone(&self.0), inner }
    }
}

/// A service behind an [`Echo`].
#[derive(Clone)]
pub struct Echoing<S> {
    world: Arc<World>,
    inner: S,
}

impl<S> tower::Service<Request<Body>> for Echoing<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let again = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, again);
        let world = Arc::clone(&self.world);
        let (is_twice, is_late, age) = world.roll(|dice| {
            (dice.random_ratio(1, TWICE), dice.random_ratio(1, LATE), dice.random_range(Duration::ZERO..LATEST))
        });
        if world.is_calm || !(is_twice || is_late) {
            return Box::pin(inner.call(request));
        }
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(status) => return Ok(status.into_http()),
            };
            let copy = || Request::from_parts(head.clone(), Body::new(Full::new(body.clone())));
            if is_late {
                world.fired(Kind::CalledLate);
                let (mut inner, copy) = (inner.clone(), copy());
                tokio::spawn(async move {
                    tokio::time::sleep(age).await;
                    // Nobody is there any more to hear the answer.
                    let _ = inner.call(copy).await;
                });
            }
            if is_twice {
                world.fired(Kind::CalledTwice);
                // The first answer is lost.
                let _ = inner.call(copy()).await?;
            }
            inner.call(copy()).await
        })
    }
}
