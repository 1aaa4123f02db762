//! Key sets, and what nobody but a developer has: minting anything, rotation, counts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::Sts;
use super::zone::{Order, Zone};

#[derive(Deserialize)]
pub(super) struct Asked {
    zone_id: Option<String>,
}

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

fn failed(status: StatusCode, what: &str) -> (StatusCode, Json<Value>) {
    (status, Json(json!({ "error": what })))
}

fn broken(error: &anyhow::Error) -> (StatusCode, Json<Value>) {
    failed(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
}

/// The zone that is named, or the first one.
fn zone<'a>(sts: &'a Sts, asked: &Asked) -> Result<&'a Arc<Zone>, (StatusCode, Json<Value>)> {
    let named = match &asked.zone_id {
        Some(id) => sts.zone(id),
        None => sts.zones.first(),
    };
    named.ok_or_else(|| failed(StatusCode::NOT_FOUND, "unknown zone"))
}

pub(super) async fn key_set(State(sts): State<Arc<Sts>>, Query(asked): Query<Asked>) -> Answer {
    if asked.zone_id.is_none() {
        return Err(failed(StatusCode::BAD_REQUEST, "zone_id is missing"));
    }
    Ok(Json(zone(&sts, &asked)?.key_set()))
}

/// Claims and header members that differ from those of a good mandate.
pub(super) async fn mint(
    State(sts): State<Arc<Sts>>,
    Query(asked): Query<Asked>,
    Json(order): Json<Order>,
) -> Answer {
    let token = zone(&sts, &asked)?.mint(&order);
    let token = token.map_err(|error| broken(&error))?;
    Ok(Json(json!({ "token": token })))
}

pub(super) async fn rotate(State(sts): State<Arc<Sts>>, Query(asked): Query<Asked>) -> Answer {
    let kid = zone(&sts, &asked)?.rotate();
    let kid = kid.map_err(|error| broken(&error))?;
    Ok(Json(json!({ "kid": kid })))
}

pub(super) async fn stats(State(sts): State<Arc<Sts>>) -> Json<Value> {
    let fetches = sts.zones.iter().map(|zone| zone.fetches());
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::SeqCst);
    Json(json!({
        "key_set_fetches": fetches.fold(0, u64::saturating_add),
        "exchanges": count(&sts.exchanges), "granted": count(&sts.granted),
        "bad_signatures": count(&sts.unsigned),
    }))
}
