//! The operations listener: is it alive, is it ready, what has it done (contract §6).
//!
//! Owns the three routes. Does not own what they tell: `store` and `oidc` know their own state, `telemetry` the series.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::oidc::Provider;
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// How the operations listener is met.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; a loopback address unless configured. It asks nobody who they are.
    pub listen: SocketAddr,
}

struct Ops {
    store: Arc<Store>,
    providers: Vec<Arc<Provider>>,
    metrics: Metrics,
}

/// `/readyz`: each thing that the service depends on, with its state.
#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    store: &'static str,
    providers: BTreeMap<&'a str, String>,
}

/// The operations listener's routes.
pub fn router(store: Arc<Store>, providers: Vec<Arc<Provider>>, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .with_state(Arc::new(Ops { store, providers, metrics }))
}

/// 503 only when the store is away: without it nothing can be answered, while a provider that is away stops nobody who is
/// signed in.
async fn readyz(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    let store = ops.store.read_time().await;
    let state = |provider: &Arc<Provider>| provider.status().to_string();
    let readiness = Readiness {
        ready: store.is_ok(),
        store: store.as_ref().map_or_else(StoreError::cause, |_| "there"),
        providers: ops.providers.iter().map(|p| (p.settings().name.as_str(), state(p))).collect(),
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn show_metrics(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], ops.metrics.render())
}
