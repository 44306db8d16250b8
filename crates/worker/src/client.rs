//! How a worker reaches its coordinator.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use proto::MAX_MESSAGE_BYTES;
use proto::v1::worker_service_client::WorkerServiceClient;
use tonic::transport::{Channel, Endpoint};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that is silent for this long is asked whether it lives, and given up where it does not answer in time:
/// a half-open one is seen in seconds.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes channels to the coordinator, over any transport. Called on the heartbeat's own runtime, so that the
/// connection lives there, and again after a connection is lost.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn() -> BoxFuture<'static, Result<Channel, String>> + Send + Sync>);

impl Connector {
    /// A connector from a function.
    pub fn new(connect: impl Fn() -> BoxFuture<'static, Result<Channel, String>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(connect))
    }

    /// A connector to a coordinator's URL, `http://host:port`.
    ///
    /// # Errors
    /// Not a URL, with the mend.
    pub fn to_url(url: &str) -> Result<Self, String> {
        let endpoint = endpoint(url)?;
        Ok(Self::new(move || {
            let endpoint = endpoint.clone();
            async move { endpoint.connect().await.map_err(|error| describe(&error)) }.boxed()
        }))
    }

    pub(crate) async fn connect(&self) -> Result<WorkerServiceClient<Channel>, String> {
        let channel = (self.0)().await?;
        Ok(WorkerServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }
}

/// An endpoint with the time-outs and keepalives that every connection has.
///
/// # Errors
/// Not a URL, with the mend.
pub fn endpoint(url: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|error| format!("coordinator `{url}`: {}; write it as http://host:port", describe(&error)))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE))
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// An error with its causes: tonic's own words are `transport error`.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
