//! How a coordinator is reached: by workers, and by those who submit and watch.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use proto::MAX_MESSAGE_BYTES;
use proto::v1::worker_service_client::WorkerServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that is silent for this long is asked whether it lives, and given up where it does not answer in time:
/// a half-open one is seen in seconds.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel whose calls carry the caller's token.
pub type Authenticated = InterceptedService<Channel, Bearer>;

/// Puts a token, where there is one, and the trace of the current span into each call. The token shows in no log.
#[derive(Clone, Default)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// Carries `token`.
    ///
    /// # Errors
    /// A token with characters that no header can hold. The message does not show it.
    pub fn new(token: &str) -> Result<Self, String> {
        let mut value = MetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|_| "the token holds characters other than printable ASCII; make another".to_owned())?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Bearer(…)" } else { "Bearer(none)" })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        proto::trace::inject(request.metadata_mut());
        Ok(request)
    }
}

/// What proves the coordinator to its callers and them to it. PEM, read from files; nothing of it shows in a log.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Certificates of the authority that the coordinator's is signed by; by default those that the system trusts.
    pub authority: Option<Vec<u8>>,
    /// The caller's own certificate and key, where the coordinator asks for them.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The caller's token.
    pub bearer: Bearer,
}

impl Credentials {
    /// The endpoint of `url` with these credentials. `https://` speaks TLS, `http://` does not.
    ///
    /// # Errors
    /// Not a URL, or certificates that cannot be used, with the mend.
    pub fn endpoint(&self, url: &str) -> Result<Endpoint, String> {
        let endpoint = endpoint(url)?;
        if endpoint.uri().scheme_str() != Some("https") {
            return if self.authority.is_some() || self.identity.is_some() {
                Err(format!(
                    "coordinator `{url}` speaks no TLS, and certificates are given; write it as https://host:port"
                ))
            } else {
                Ok(endpoint)
            };
        }
        let mut tls = match &self.authority {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        endpoint
            .tls_config(tls)
            .map_err(|error| format!("coordinator `{url}`: {}; check the certificates", describe(&error)))
    }

    /// Connects, at most as long as connecting may take.
    ///
    /// # Errors
    /// As [`Credentials::endpoint`], or the coordinator does not answer.
    pub async fn connect(&self, url: &str) -> Result<Authenticated, String> {
        let channel = self.endpoint(url)?.connect().await;
        let channel = channel.map_err(|error| format!("coordinator `{url}`: {}", describe(&error)))?;
        Ok(InterceptedService::new(channel, self.bearer.clone()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("bearer", &self.bearer).finish_non_exhaustive()
    }
}

/// Makes channels to the coordinator, over any transport. Called on the heartbeat's own runtime, so that the
/// connection lives there, and again after a connection is lost.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn() -> BoxFuture<'static, Result<Authenticated, String>> + Send + Sync>);

impl Connector {
    /// A connector from a function.
    pub fn new(connect: impl Fn() -> BoxFuture<'static, Result<Channel, String>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || {
            let channel = connect();
            async move { Ok(InterceptedService::new(channel.await?, Bearer::default())) }.boxed()
        }))
    }

    /// A connector to a coordinator's URL, `http://host:port` or `https://host:port`.
    ///
    /// # Errors
    /// Not a URL, or certificates that cannot be used, with the mend.
    pub fn to_url(url: &str, credentials: Credentials) -> Result<Self, String> {
        credentials.endpoint(url)?;
        let url = url.to_owned();
        Ok(Self(Arc::new(move || {
            let (url, credentials) = (url.clone(), credentials.clone());
            async move { credentials.connect(&url).await }.boxed()
        })))
    }

    pub(crate) async fn connect(&self) -> Result<WorkerServiceClient<Authenticated>, String> {
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
        .map_err(|error| format!("coordinator `{url}`: {}; write it as https://host:port", describe(&error)))?;
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
