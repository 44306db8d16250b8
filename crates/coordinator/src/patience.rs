//! How slowly a caller may speak: neither a request that trickles in nor a connection on which nothing comes may hold its
//! place for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{Stream, StreamExt};
use http::Request;
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::Connected;
use tower::{Layer, Service};

use crate::door::Place;

/// How long a request may take from its head to its last byte. The largest, 96 MiB, has then come over 3 Mbit/s.
const REQUEST: Duration = Duration::from_secs(5 * 60);
/// How long nothing may come on a connection. One that is up answers a ping every 20 s; this is for those that never get so
/// far, for which HTTP/2 has no time-out.
const SILENCE: Duration = Duration::from_secs(60);
/// Whose requests are streams, which may be as long as they like: there the keepalive and the age of a connection hold.
const STREAMED: &str = "/grpc.reflection.";

/// Ends requests that do not come to an end with `DEADLINE_EXCEEDED`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience;

impl<S> Layer<S> for Patience {
    type Service = Patient<S>;

    fn layer(&self, inner: S) -> Patient<S> {
        Patient { inner }
    }
}

/// A service behind [`Patience`].
#[derive(Clone, Debug)]
pub struct Patient<S> {
    inner: S,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Patient<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        if request.uri().path().starts_with(STREAMED) || request.body().is_end_stream() {
            return self.inner.call(request);
        }
        self.inner.call(request.map(|body| Body::new(Awaited { body, deadline: Box::pin(sleep(REQUEST)) })))
    }
}

/// A body that is waited for up to a deadline.
struct Awaited {
    body: Body,
    deadline: Pin<Box<Sleep>>,
}

impl http_body::Body for Awaited {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(self.deadline.as_mut().poll(cx));
        let cause = format!("the request has not come to its end in {} s", REQUEST.as_secs());
        Poll::Ready(Some(Err(Status::deadline_exceeded(cause))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Connections that end where nothing comes on them. One for which `enter` finds no place is closed at once.
pub fn heard<IO>(
    incoming: impl Stream<Item = io::Result<IO>>,
    enter: impl Fn(&IO) -> Option<Place>,
) -> impl Stream<Item = io::Result<Heard<IO>>> {
    incoming.filter_map(move |accepted| {
        let heard = |io: IO| enter(&io).map(|place| Heard { io, silence: Box::pin(sleep(SILENCE)), _place: place });
        std::future::ready(accepted.map(heard).transpose())
    })
}

/// A connection that ends where nothing comes on it.
#[derive(Debug)]
pub struct Heard<IO> {
    io: IO,
    silence: Pin<Box<Sleep>>,
    _place: Place,
}

impl<IO: Connected> Connected for Heard<IO> {
    type ConnectInfo = IO::ConnectInfo;

    fn connect_info(&self) -> IO::ConnectInfo {
        self.io.connect_info()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Heard<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buffer) {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
            return Poll::Ready(read);
        }
        ready!(self.silence.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Heard<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
