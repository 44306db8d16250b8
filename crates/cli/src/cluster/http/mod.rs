//! The coordinator's HTTP port: health for probes, metrics for Prometheus, and the live page.
//!
//! * `pages`: surveys and workers as pages, parts of pages and JSON; `gather` brings together what they show, `cache`
//!   keeps what was fetched for them, `pace` knows how fast work is done.
//! * `files`: chips, results, style sheet and script.
//! * `access`: who may see these. Whoever asks `/healthz`, `/readyz` and `/metrics` is answered.

mod access;
mod cache;
mod files;
mod gather;
mod pace;
mod pages;
mod reply;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_server::tls_rustls::RustlsConfig;
use coordinator::auth::Tokens;
use coordinator::{Coordinator, metrics};
use imagery::store::Stores;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::failure;

/// A running server; dropped, it stops.
pub struct Http(Vec<JoinHandle<()>>);

impl Drop for Http {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// What the pages are made of. Clones share it.
#[derive(Clone)]
pub(crate) struct Site {
    coordinator: Coordinator,
    stores: Stores,
    known: Arc<cache::Known>,
    paces: Arc<pace::Paces>,
    views: Arc<pages::Views>,
}

/// Serves on `address`, over TLS where it is given. Where there are `tokens`, pages ask for one.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    coordinator: Coordinator,
    stores: Stores,
    tokens: Option<Tokens>,
    tls: Option<RustlsConfig>,
) -> Result<Http> {
    let listener =
        TcpListener::bind(address).await.map_err(|error| failure::input(format!("--http {address}: {error}")))?;
    tracing::info!(address = %listener.local_addr()?, "HTTP port open");
    let site = Site { coordinator, stores, known: Arc::default(), paces: Arc::default(), views: Arc::default() };
    let pacing = tokio::spawn(pace::follow(site.coordinator.clone(), Arc::clone(&site.paces)));
    let router = router(site, tokens);
    let serving = tokio::spawn(async move {
        let served = match tls {
            None => axum::serve(listener, router).await,
            Some(tls) => over_tls(listener, tls, router).await,
        };
        if let Err(error) = served {
            tracing::error!(%error, "the HTTP port has closed");
        }
    });
    Ok(Http(vec![serving, pacing]))
}

async fn over_tls(listener: TcpListener, tls: RustlsConfig, router: Router) -> std::io::Result<()> {
    axum_server::from_tcp_rustls(listener.into_std()?, tls)?.serve(router.into_make_service()).await
}

fn router(site: Site, tokens: Option<Tokens>) -> Router {
    let seen = Router::new()
        .route("/", get(pages::index))
        .route("/parts/{part}", get(pages::index_part))
        .route("/api/surveys", get(pages::index_api))
        .route("/surveys/{survey}", get(pages::survey))
        .route("/surveys/{survey}/parts/{part}", get(pages::survey_part))
        .route("/api/surveys/{survey}", get(pages::survey_api))
        .route("/surveys/{survey}/chips/{name}", get(files::chip))
        .route("/surveys/{survey}/results/{*path}", get(files::result))
        .route("/assets/{name}", get(files::asset))
        .route("/favicon.ico", get(|| files::asset(Path("icon.svg".to_owned()))))
        .layer(axum::middleware::from_fn_with_state(tokens, access::check));
    let open = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text));
    seen.merge(open).with_state(site)
}

/// Whether calls are answered: the journal is open and nobody has taken it over.
async fn ready(State(site): State<Site>) -> Response {
    match site.coordinator.surveys().await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn metrics_text(State(site): State<Site>) -> Response {
    match metrics::text(&site.coordinator).await {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}
