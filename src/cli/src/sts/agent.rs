//! An application's own request, with its secret: a session mandate to begin with, or a
//! one-shot mandate for the Gateway.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::clock::now;
use super::coordinator::LIFECYCLE;
use super::form::Form;
use super::policy::{Application, Policy};
use super::refusal::Refusal;
use super::sessions::Asked;
use super::state::Sts;
use super::zone::Zone;

/// How long mandates are valid, in seconds, and at most.
const LIFE_S: (u64, u64) = (900, 3_600);

/// The zone and the application that a request names.
pub(super) fn application<'a>(
    sts: &'a Sts,
    policy: &'a Policy,
    form: &'a Form,
) -> Result<(&'a Arc<Zone>, &'a str, &'a Application), Refusal> {
    let unknown = || Refusal::new(401, "access_denied", "invalid client credentials");
    let (id, zone) = (form.get("application_id"), form.get("zone_id"));
    let application = policy.applications.get(id).ok_or_else(unknown)?;
    let zones = &application.zones;
    if !zones.is_empty() && !zones.iter().any(|own| own == zone) {
        let why = "application is registered in another zone";
        return Err(Refusal::new(403, "zone_invalid", why));
    }
    let zone = sts.zone(zone).ok_or_else(unknown)?;
    Ok((zone, id, application))
}

/// Issues a mandate.
pub(super) fn issue(sts: &Sts, policy: &Policy, form: &Form) -> Result<Value, Refusal> {
    let (zone, id, application) = application(sts, policy, form)?;
    if form.get("client_secret") != application.secret {
        let why = "invalid client credentials";
        return Err(Refusal::new(401, "access_denied", why));
    }
    let named = form.get("resource").trim();
    if named.is_empty() {
        return Err(Refusal::malformed("at least one resource is required"));
    }
    if form.has("subject_token") {
        let why = "resource exchanges must use the Gateway";
        return Err(Refusal::new(403, "access_denied", why));
    }
    let life = match form.get("ttl_seconds") {
        "" => LIFE_S.0,
        text => {
            let life = text.parse().ok().filter(|life| *life > 0);
            let life: u64 = life.ok_or_else(|| Refusal::malformed("invalid ttl_seconds"))?;
            life.min(LIFE_S.1)
        }
    };
    let (identifier, resource) = policy.resource(named).ok_or_else(|| Refusal::denied(""))?;
    let (session, edge) = (form.get("agent_session_id"), form.get("delegation_edge_id"));
    let scope = form.get("scope");
    let scopes: Vec<&str> = scope.split_whitespace().collect();
    let sid = match form.get("session_id") {
        "" => format!("sid-{id}"),
        sid => sid.to_owned(),
    };
    let mut claims = json!({
        "iss": zone.issuer(), "aud": [zone.issuer()], "zone_id": zone.id(), "jti": token_id(),
        "iat": now(), "exp": now().saturating_add(life), "sub": id, "sid": sid, "root_sid": sid,
        "client_id": id, "sub_type": "application", "scope": scope,
    });
    let more = match (session.is_empty(), edge.is_empty()) {
        (true, true) => {
            if scopes != [LIFECYCLE] {
                return Err(Refusal::denied(
                    "a session mandate has the scope agent:lifecycle",
                ));
            }
            json!({"use": "session"})
        }
        (false, false) => {
            let known = |scope: &&str| resource.scopes.iter().any(|own| own == scope);
            if scopes.is_empty() || !scopes.iter().all(known) {
                return Err(Refusal::denied("scope_mismatch"));
            }
            sts.sessions.permit(&Asked {
                zone: zone.id(),
                application: id,
                session,
                edge,
                resource: identifier,
                scopes: &scopes,
            })?;
            json!({
                "use": "gateway", "target": [identifier], "agent_session_id": session,
                "delegation_edge_id": edge,
            })
        }
        _ => {
            let why = "a session needs its delegation edge, and an edge its session";
            return Err(Refusal::new(403, "access_denied", why));
        }
    };
    if let (Value::Object(claims), Value::Object(more)) = (&mut claims, more) {
        claims.extend(more);
    }
    let token =
        sign(zone, claims).ok_or_else(|| Refusal::new(500, "internal_error", "cannot sign"))?;
    Ok(json!({
        "access_token": token, "token_type": "Bearer", "expires_in": life, "scope": scope,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "target_resources": [identifier],
    }))
}

fn sign(zone: &Zone, claims: Value) -> Option<String> {
    let Value::Object(claims): Value = claims else {
        return None;
    };
    let claims: Map<String, Value> = claims;
    zone.sign(&claims).ok()
}

/// An id that no other mandate has.
pub(super) fn token_id() -> String {
    format!("dev-{:032x}", rand::random::<u128>())
}
