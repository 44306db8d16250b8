//! How slowly a request may come: one that trickles in must not hold its place for ever.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// How long a request may take from its head to its last byte. The largest, 96 MiB, has then come over 3 Mbit/s.
const REQUEST: Duration = Duration::from_secs(5 * 60);
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
        self.inner
            .call(request.map(|body| Body::new(Awaited { body, deadline: Box::pin(tokio::time::sleep(REQUEST)) })))
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
