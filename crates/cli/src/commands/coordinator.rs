//! `groundbreak coordinator`: the process that knows what is to be done, and by whom.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum_server::tls_rustls::RustlsConfig;
use bytesize::ByteSize;
use coordinator::auth::{Gate, Tokens};
use coordinator::door::Door;
use coordinator::quota::Quotas;
use coordinator::scaler::Scaler;
use coordinator::{Coordinator, CoordinatorConfig, RuntimeClock, SlateStore, patience};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::cluster::connection::secret;
use crate::cluster::signals::Signals;
use crate::cluster::storage::StorageOptions;
use crate::cluster::{http, ready};
use crate::embedded;
use crate::failure::{self, Failure};
use crate::results::ResultsPublisher;
use crate::{input, names, runtime};

/// How long agreeing on TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long open calls may take to end when the coordinator leaves.
const FAREWELL: Duration = Duration::from_secs(3);

/// Takes surveys, hands their jobs to workers, and keeps the books. One at a time writes to a state: starting another
/// one there replaces it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the books are kept: a folder (file:///…) or a bucket's URL. Surveys without an output of their own are
    /// written there, too.
    #[arg(long, env = "GROUNDBREAK_STATE")]
    state: String,
    /// Where workers and clients are listened to.
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Where the page, /metrics, /healthz and /readyz are served.
    #[arg(long)]
    http: Option<SocketAddr>,
    /// Serve these over TLS, too, with the same certificate: needed where tokens travel further than a trusted network.
    #[arg(long, requires_all = ["http", "tls_cert"])]
    http_tls: bool,
    #[command(flatten)]
    tls: Tls,
    /// File with the tokens that are valid and their roles; without it everybody may do everything.
    #[arg(long, env = "GROUNDBREAK_TOKENS")]
    tokens: Option<PathBuf>,
    #[command(flatten)]
    storage: StorageOptions,
    /// URL prefix that surveys may read from and write to; may be given several times. Without it, any.
    #[arg(long = "allow", value_name = "PREFIX")]
    allowed: Vec<String>,
    /// Seconds without a word after which a worker's jobs are given to others.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    lease: u64,
    /// Seconds without progress after which an attempt is given up, although its worker is heard of.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86400))]
    stall: u64,
    /// The most that a worker of this fleet gives one job, such as 4GiB. Surveys with a larger job are refused.
    #[arg(long, default_value = "4GiB")]
    job_memory: ByteSize,
    /// Calls that one address may make in a second with one token; more are told to wait. 0: any number.
    #[arg(long, default_value_t = 1000)]
    calls_per_second: u32,
    /// Connections that one address may hold at the same time; more are closed at once. 0: any number.
    #[arg(long, default_value_t = 500)]
    connections_per_address: u32,
}

/// What proves the coordinator to its callers, and them to it.
#[derive(Debug, clap::Args)]
struct Tls {
    /// Certificate chain (PEM): TLS is spoken, and nothing else.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Certificates (PEM) of the authority that callers' certificates must be signed by.
    #[arg(long, requires = "tls_cert")]
    client_ca: Option<PathBuf>,
}

impl Tls {
    fn config(&self) -> Result<Option<ServerTlsConfig>> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let tls =
            ServerTlsConfig::new().timeout(HANDSHAKE).identity(Identity::from_pem(secret(certificate)?, secret(key)?));
        Ok(Some(match &self.client_ca {
            Some(authority) => tls.client_ca_root(Certificate::from_pem(secret(authority)?)),
            None => tls,
        }))
    }
}

impl Args {
    /// TLS of the HTTP port.
    async fn http_tls(&self) -> Result<Option<RustlsConfig>> {
        let (true, Some(certificate), Some(key)) = (self.http_tls, &self.tls.tls_cert, &self.tls.tls_key) else {
            return Ok(None);
        };
        let tls = RustlsConfig::from_pem(secret(certificate)?, secret(key)?).await;
        Ok(Some(tls.map_err(|error| failure::input(format!("--tls-cert, --tls-key: {error}")))?))
    }
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
pub fn run(args: &Args) -> Result<()> {
    let tls = args.tls.config()?;
    let tokens = match &args.tokens {
        Some(path) => {
            let text = String::from_utf8_lossy(&secret(path)?).into_owned();
            Some(Tokens::parse(&text).map_err(|error| failure::input(format!("{}: {error}", path.display())))?)
        }
        None => None,
    };
    if tokens.is_none() && !args.listen.ip().is_loopback() {
        tracing::warn!(listen = %args.listen, "whoever reaches this address may submit and cancel: give --tokens, or listen on 127.0.0.1");
    }
    if tls.is_none() && tokens.is_some() && !args.listen.ip().is_loopback() {
        tracing::warn!(listen = %args.listen, "tokens travel in the clear: give --tls-cert and --tls-key");
    }
    if !args.http_tls && tokens.is_some() && args.http.is_some_and(|http| !http.ip().is_loopback()) {
        tracing::warn!(
            "tokens of the page's readers travel in the clear: give --http-tls, or keep --http to a trusted network"
        );
    }
    let stores = args.storage.stores()?;
    let state = input::named_output(&args.state, &stores)?;
    runtime::current()?.block_on(async {
        let mut signals = Signals::listen()?;
        state.check_writable().await?;
        let mut config = CoordinatorConfig::new(names::process(), embedded::halo_px);
        config.policy = config.policy.with_lease(Duration::from_secs(args.lease));
        config.policy.stall = Duration::from_secs(args.stall);
        config.max_job_memory = args.job_memory.0;
        config.allowed_prefixes.clone_from(&args.allowed);
        let incoming = TcpIncoming::bind(args.listen)
            .map_err(|error| Failure { code: failure::INPUT, message: format!("--listen {}: {error}", args.listen) })?
            .with_nodelay(Some(true));
        let listens = incoming.local_addr().unwrap_or(args.listen);
        let journal = SlateStore::new(&state, &stores)?;
        let coordinator = Coordinator::start(
            config,
            &journal,
            state.clone(),
            stores.clone(),
            Arc::new(ResultsPublisher),
            Arc::new(RuntimeClock::start()),
        )
        .await
        .map_err(embedded::refusal)?;

        let mut server = coordinator::service::server();
        let clock = Arc::new(RuntimeClock::start());
        let quotas = NonZeroU32::new(args.calls_per_second).map(|per_second| Quotas::new(per_second, clock));
        if let Some(tls) = tls {
            server = server.tls_config(tls).map_err(|error| {
                failure::input(format!(
                    "--tls-cert, --tls-key, --client-ca: {error}; they must be PEM files that belong together"
                ))
            })?;
        }
        let router = coordinator.add_to(server.layer(Gate::new(tokens.clone()).with_quotas(quotas)));
        let router = router.add_service(Scaler::new(coordinator.clone()).service());
        let (leave, left) = tokio::sync::oneshot::channel::<()>();
        let door = Door::new(NonZeroU32::new(args.connections_per_address));
        let incoming = patience::heard(incoming, move |connection| door.let_in(connection));
        let mut serving = tokio::spawn(router.serve_with_incoming_shutdown(incoming, async {
            let _ = left.await;
        }));
        let page = match args.http {
            Some(address) => {
                let tls = args.http_tls().await?;
                Some(http::serve(address, coordinator.clone(), stores.clone(), tokens, tls).await?)
            }
            None => None,
        };
        ready::say(&format!("coordinator ready on {listens}"));
        let outcome = tokio::select! {
            cause = coordinator.stopped() => Err(embedded::refusal(cause)),
            ended = &mut serving => Err(anyhow::anyhow!("the server has ended: {ended:?}")),
            signal = signals.next() => {
                tracing::info!(signal, "coordinator was told to leave");
                Ok(())
            }
        };
        coordinator.stop().await;
        drop(page);
        let _ = leave.send(());
        if !serving.is_finished() && tokio::time::timeout(FAREWELL, &mut serving).await.is_err() {
            serving.abort();
        }
        outcome
    })
}
