//! The part of Caracal's Coordinator that an application needs before it calls the Gateway:
//! sessions of agents, and delegations between them. There are no leases, no listings, no
//! other applications and no delegations of delegations: what is not played is refused. An
//! end is known here only: nothing is written to a stream.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::clock::now;
use super::refusal::Refusal;
use super::sessions::{Edge, Session};
use super::state::Sts;

/// How long a session is valid where the request does not say it, and at most, in seconds.
const LIFE_S: (u64, u64) = (3_600, 86_400);
/// The scope of a mandate that may start and end sessions.
pub(super) const LIFECYCLE: &str = "agent:lifecycle";

type Answer = Result<Response, Refusal>;

#[derive(Deserialize)]
pub(super) struct NewSession {
    application_id: String,
    ttl_seconds: Option<u64>,
    parent_id: Option<String>,
    parent_authority: Option<String>,
    subject_session_id: Option<String>,
    subject_token: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct NewDelegation {
    issuer_application_id: String,
    receiver_application_id: String,
    source_session_id: String,
    target_session_id: String,
    scopes: Vec<String>,
    resource_id: Option<String>,
    parent_edge_id: Option<String>,
    #[serde(default)]
    constraints: Constraints,
    ttl_seconds: Option<u64>,
}

#[derive(Deserialize, Default)]
struct Constraints {
    resources: Option<Vec<String>>,
}

/// `POST /zones/{zone}/agents`
pub(super) async fn start(
    State(sts): State<Arc<Sts>>,
    Path(zone): Path<String>,
    headers: HeaderMap,
    Json(asked): Json<NewSession>,
) -> Answer {
    let application = caller(&sts, &zone, &headers)?;
    same(&application, &asked.application_id)?;
    if asked.subject_session_id.is_some() || asked.subject_token.is_some() {
        return Err(not_played("a session for another subject"));
    }
    let inherits = asked.parent_authority.as_deref() == Some("inherit");
    let parent = asked.parent_id.filter(|_| inherits);
    if parent.is_some_and(|parent| sts.sessions.is_delegated(&parent)) {
        return Err(not_played("inheriting a delegation"));
    }
    let session = Session {
        zone,
        application,
        until: until(asked.ttl_seconds),
    };
    let id = sts.sessions.start(session).ok_or_else(full)?;
    Ok(created(
        json!({"agent_session_id": id, "lease_generation": 0}),
    ))
}

/// `POST /zones/{zone}/delegations`
pub(super) async fn delegate(
    State(sts): State<Arc<Sts>>,
    Path(zone): Path<String>,
    headers: HeaderMap,
    Json(asked): Json<NewDelegation>,
) -> Answer {
    let application = caller(&sts, &zone, &headers)?;
    same(&application, &asked.issuer_application_id)?;
    same(&application, &asked.receiver_application_id)?;
    if asked.scopes.is_empty() {
        return Err(Refusal::malformed("a delegation has at least one scope"));
    }
    if asked.parent_edge_id.is_some() {
        return Err(not_played("delegating a delegation"));
    }
    for session in [&asked.source_session_id, &asked.target_session_id] {
        if !sts.sessions.is_live(session, &zone, &application) {
            let why = "the delegation names a session that is not active";
            return Err(Refusal::new(403, "access_denied", why));
        }
    }
    let resources = match (asked.resource_id, asked.constraints.resources) {
        (Some(one), Some(all)) => Some(all.into_iter().filter(|other| *other == one).collect()),
        (Some(one), None) => Some(vec![one]),
        (None, all) => all,
    };
    let edge = Edge {
        source: asked.source_session_id,
        target: asked.target_session_id,
        scopes: asked.scopes.clone(),
        resources,
        until: until(asked.ttl_seconds),
    };
    let id = sts.sessions.delegate(edge).ok_or_else(full)?;
    Ok(created(
        json!({"delegation_edge_id": id, "scopes": asked.scopes}),
    ))
}

/// `DELETE /zones/{zone}/agents/{session}`
pub(super) async fn end(
    State(sts): State<Arc<Sts>>,
    Path((zone, session)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let application = caller(&sts, &zone, &headers)?;
    if !sts.sessions.is_live(&session, &zone, &application) {
        return Err(Refusal::new(404, "not_found", "no such session is active"));
    }
    sts.sessions.end(&session);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The application whose session mandate comes with a request.
fn caller(sts: &Sts, zone: &str, headers: &HeaderMap) -> Result<String, Refusal> {
    let refused = || Refusal::new(401, "invalid_token", "a session mandate is required");
    let bearer = headers.get(header::AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let zone = sts.zone(zone).ok_or_else(refused)?;
    let claims = token.and_then(|token| zone.verify(token));
    let claims: Map<String, Value> = claims.ok_or_else(refused)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_valid = claims.get("exp").and_then(Value::as_u64) > Some(now());
    let may = text("scope").split(' ').any(|scope| scope == LIFECYCLE);
    if !is_valid || !may || text("use") != "session" || text("zone_id") != zone.id() {
        return Err(refused());
    }
    Ok(text("client_id").to_owned())
}

fn same(application: &str, named: &str) -> Result<(), Refusal> {
    if application == named {
        return Ok(());
    }
    let why = "the mandate is of another application";
    Err(Refusal::new(403, "access_denied", why))
}

fn until(ttl_seconds: Option<u64>) -> u64 {
    now().saturating_add(ttl_seconds.unwrap_or(LIFE_S.0).min(LIFE_S.1))
}

fn not_played(what: &str) -> Refusal {
    let why = format!("the development STS does not play this: {what}");
    Refusal::new(501, "not_implemented", why)
}

fn full() -> Refusal {
    Refusal::new(503, "unavailable", "too many sessions for development")
}

fn created(body: Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}
