//! A development zone: the key set endpoint as in Caracal's STS, and, under `/dev`,
//! endpoints for tests and for trying things out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::keys::ZoneKeys;
use crate::mint::{DEMO_ZONE, Draft};
use crate::{loopback, output};

/// Largest body of a request to `/dev`, in bytes.
const MAX_BODY: usize = 64 * 1024;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7701")]
    listen: SocketAddr,
    /// Listens beyond loopback, where anybody who reaches it can mint.
    #[arg(long)]
    allow_remote: bool,
    /// The zone of this STS.
    #[arg(long, env = "CARACAL_ZONE_ID", default_value = DEMO_ZONE)]
    zone: String,
    /// Keeps the zone's private keys in this file, which is made if it is missing (mode
    /// 0600). Without this option the keys are only in memory.
    #[arg(long)]
    keys: Option<PathBuf>,
    /// Writes the address to this file when it listens.
    #[arg(long)]
    address_file: Option<PathBuf>,
}

/// The zone behind the endpoints.
pub(crate) struct Zone {
    issuer: String,
    zone: String,
    keys: Mutex<ZoneKeys>,
    file: Option<PathBuf>,
    fetches: AtomicU64,
}

impl Zone {
    pub(crate) fn new(issuer: String, zone: String, file: Option<PathBuf>) -> Result<Arc<Self>> {
        let keys = match &file {
            Some(file) => ZoneKeys::open(file)?,
            None => ZoneKeys::generate()?,
        };
        Ok(Arc::new(Zone {
            issuer,
            zone,
            keys: Mutex::new(keys),
            file,
            fetches: AtomicU64::new(0),
        }))
    }

    pub(crate) fn routes(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/jwks.json", get(key_set))
            .route("/dev/mint", post(mint))
            .route("/dev/rotate", post(rotate))
            .route("/dev/stats", get(stats))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Arc::clone(self))
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, ZoneKeys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The zone's id.
    pub(crate) fn id(&self) -> &str {
        &self.zone
    }

    /// Mints with the current key.
    pub(crate) fn mint(&self, order: &Order) -> Result<String> {
        let mut draft = Draft::demo(&self.issuer);
        draft.zone.clone_from(&self.zone);
        let claims = draft.claims(&order.claims)?;
        self.keys().sign(&order.header, &claims)
    }

    /// Rotates the key, and returns the id of the new one.
    pub(crate) fn rotate(&self) -> Result<String> {
        let mut keys = self.keys();
        let mut next = keys.clone();
        next.rotate()?;
        if let Some(file) = &self.file {
            next.write(file)?;
        }
        *keys = next;
        Ok(keys.kid().to_owned())
    }

    /// Number of key set fetches so far.
    pub(crate) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let listener = loopback::bind(arguments.listen, arguments.allow_remote).await?;
    let issuer = format!("http://{}", listener.local_addr()?);
    output::line(&format!(
        "development STS of zone {}: never let a real verifier trust it",
        arguments.zone
    ));
    let zone = Zone::new(issuer, arguments.zone, arguments.keys)?;
    loopback::serve(listener, zone.routes(), arguments.address_file.as_deref()).await?;
    Ok(ExitCode::SUCCESS)
}

/// The body of `/dev/mint`: claims and header members that differ from those of a good
/// mandate.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Order {
    pub(crate) claims: Map<String, Value>,
    pub(crate) header: Map<String, Value>,
}

#[derive(Deserialize)]
struct Asked {
    zone_id: Option<String>,
}

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

fn failed(status: StatusCode, what: &str) -> (StatusCode, Json<Value>) {
    (status, Json(json!({ "error": what })))
}

async fn key_set(State(zone): State<Arc<Zone>>, Query(asked): Query<Asked>) -> Answer {
    zone.fetches.fetch_add(1, Ordering::SeqCst);
    match asked.zone_id {
        Some(id) if id == zone.zone => Ok(Json(zone.keys().key_set())),
        Some(_) => Err(failed(StatusCode::NOT_FOUND, "unknown zone")),
        None => Err(failed(StatusCode::BAD_REQUEST, "zone_id is missing")),
    }
}

async fn mint(State(zone): State<Arc<Zone>>, Json(order): Json<Order>) -> Answer {
    match zone.mint(&order) {
        Ok(token) => Ok(Json(json!({ "token": token }))),
        Err(error) => Err(failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            &error.to_string(),
        )),
    }
}

async fn rotate(State(zone): State<Arc<Zone>>) -> Answer {
    match zone.rotate() {
        Ok(kid) => Ok(Json(json!({ "kid": kid }))),
        Err(error) => Err(failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            &error.to_string(),
        )),
    }
}

async fn stats(State(zone): State<Arc<Zone>>) -> Json<Value> {
    Json(json!({"key_set_fetches": zone.fetches()}))
}
