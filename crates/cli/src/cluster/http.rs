//! The coordinator's HTTP port: health for probes and metrics for Prometheus.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use coordinator::auth::Tokens;
use coordinator::{Coordinator, metrics};
use imagery::store::Stores;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::failure;

/// A running server; dropped, it stops.
pub struct Http(JoinHandle<()>);

impl Drop for Http {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the pages are made of.
#[derive(Clone)]
struct Site {
    coordinator: Coordinator,
}

/// Serves on `address`.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    coordinator: Coordinator,
    _stores: Stores,
    _tokens: Option<Tokens>,
) -> Result<Http> {
    let listener =
        TcpListener::bind(address).await.map_err(|error| failure::input(format!("--http {address}: {error}")))?;
    tracing::info!(address = %listener.local_addr()?, "HTTP port open");
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text))
        .with_state(Site { coordinator });
    Ok(Http(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP port has closed");
        }
    })))
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
