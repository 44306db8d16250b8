//! Connections within a process, to a server that takes the other ends of them.

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc::UnboundedSender;
use tonic::transport::{Channel, Endpoint};

/// Bytes that may wait in one direction.
const PIPE_BYTES: usize = 64 << 10;

/// A new connection: this end of it. The server has the other one, or has gone and `None` is returned.
#[must_use]
pub fn connection(dial: &UnboundedSender<DuplexStream>) -> Option<DuplexStream> {
    let (client, server) = tokio::io::duplex(PIPE_BYTES);
    dial.send(server).ok().map(|()| client)
}

/// A client's channel over such connections.
///
/// # Errors
/// The server has gone.
pub async fn channel(dial: UnboundedSender<DuplexStream>) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_| {
        let connected = connection(&dial).map(TokioIo::new);
        async move { connected.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionRefused)) }
    });
    Endpoint::from_static("http://pipe.invalid").connect_with_connector(connector).await
}
