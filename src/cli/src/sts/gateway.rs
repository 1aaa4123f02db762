//! The Gateway's exchange: a mandate of `use` = `gateway` for the way to an upstream.

use std::sync::atomic::Ordering;

use caracal_feed::exchange::signature::{NONCE, SIGNATURE, Signed, TIMESTAMP, TOKEN_PATH};
use serde_json::{Map, Value, json};

use super::agent::{application, token_id};
use super::clock::now;
use super::form::Form;
use super::policy::{Decision, Policy};
use super::refusal::Refusal;
use super::sessions::Asked;
use super::state::Sts;
use super::zone::Zone;

/// How far the Gateway's clock may be off, in seconds, and a mandate's times.
const SKEW_S: u64 = 60;
/// How long a resource mandate is valid, in seconds.
const LIFE_S: u64 = 900;

/// What is answered, and how.
pub(super) struct Granted {
    pub(super) body: Value,
    pub(super) fault: Fault,
}

/// What is wrong with the answer.
pub(super) enum Fault {
    None,
    LateMs(u64),
    Never,
    Oversize,
    NotJson,
    Redirect,
    Unavailable,
}

/// Whether a request is the Gateway's: false without any of its headers.
///
/// # Errors
/// One of them is there and they are not right.
pub(super) fn is_signed(sts: &Sts, form: &Form) -> Result<bool, Refusal> {
    let [timestamp, nonce, signature] = [TIMESTAMP, NONCE, SIGNATURE].map(|name| form.header(name));
    if [timestamp, nonce, signature]
        .iter()
        .all(|value| value.is_empty())
    {
        return Ok(false);
    }
    let signed = Signed {
        timestamp,
        nonce,
        method: "POST",
        path: TOKEN_PATH,
        body: &form.body,
    };
    let request_id = form.header("x-request-id");
    let in_time = timestamp
        .parse::<u64>()
        .is_ok_and(|at| at.abs_diff(now()) <= SKEW_S);
    let is_nonce = nonce.len() == 64 && nonce.bytes().all(|b| b.is_ascii_hexdigit());
    // A nonce is used up by a good signature alone.
    let good = !request_id.is_empty()
        && form.get("gateway_request_id") == request_id
        && in_time
        && is_nonce
        && sts.key.has_signed(signed, signature)
        && sts.is_first(nonce);
    if good {
        sts.exchanges.fetch_add(1, Ordering::SeqCst);
        return Ok(true);
    }
    sts.unsigned.fetch_add(1, Ordering::SeqCst);
    let why = "invalid gateway exchange signature";
    Err(Refusal::new(401, "access_denied", why))
}

/// Exchanges, when everything is right and the policy allows it.
pub(super) fn exchange(sts: &Sts, policy: &Policy, form: &Form) -> Result<Granted, Refusal> {
    let (zone, id, _) = application(sts, policy, form)?;
    let resource = form.get("resource").trim();
    if resource.is_empty() {
        return Err(Refusal::malformed("at least one resource is required"));
    }
    let claims = subject(zone, form.get("subject_token"))
        .ok_or_else(|| Refusal::new(401, "invalid_token", "invalid subject_token"))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("client_id") != id || text("sid").is_empty() {
        let why = "the authority record is of another application";
        return Err(Refusal::new(403, "access_denied", why));
    }
    if text("agent_session_id").is_empty() || text("delegation_edge_id").is_empty() {
        let why = "the mandate has no session and delegation edge";
        return Err(Refusal::new(403, "access_denied", why));
    }
    let (identifier, resource) = policy
        .resource(resource)
        .ok_or_else(|| Refusal::denied(""))?;
    let scopes: Vec<&str> = text("scope").split_whitespace().collect();
    let (method, path) = (form.get("request_method"), form.get("request_path"));
    resource
        .permits(identifier, method, path, &scopes)
        .map_err(|why| Refusal::new(403, "operation_not_permitted", why))?;
    let target = claims.get("target").and_then(Value::as_array);
    if !target.is_some_and(|target| target.contains(&json!(identifier))) {
        return Err(Refusal::denied("mandate_target_mismatch"));
    }
    sts.sessions.permit(&Asked {
        zone: zone.id(),
        application: id,
        session: text("agent_session_id"),
        edge: text("delegation_edge_id"),
        resource: identifier,
        scopes: &scopes,
    })?;
    let fault = match &resource.decision {
        Decision::Allow | Decision::OtherResource => Fault::None,
        Decision::Deny(reason) => return Err(Refusal::denied(reason)),
        Decision::RateLimit => return Err(Refusal::denied("")),
        Decision::TooMany(seconds) => return Err(Refusal::too_many(*seconds)),
        Decision::StepUp => {
            return Err(Refusal::step_up("approval-1", "2030-01-01T00:00:00Z"));
        }
        Decision::LateMs(wait) => Fault::LateMs(*wait),
        Decision::Never => Fault::Never,
        Decision::Oversize => Fault::Oversize,
        Decision::NotJson => Fault::NotJson,
        Decision::Redirect => Fault::Redirect,
        Decision::Unavailable => Fault::Unavailable,
    };
    let minted = mint(zone, &claims, identifier)
        .map_err(|_| Refusal::new(500, "internal_error", "cannot sign"))?;
    let told = match resource.decision {
        Decision::OtherResource => "resource://another",
        _ => identifier,
    };
    let body = json!({
        "access_token": minted, "token_type": "Bearer", "expires_in": LIFE_S,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "scope": text("scope"), "target_resources": [told],
        "upstreams": {told: resource.directive()},
    });
    Ok(Granted { body, fault })
}

/// The claims of a mandate that this zone minted for the Gateway, while it is valid.
fn subject(zone: &Zone, token: &str) -> Option<Map<String, Value>> {
    let claims = zone.verify(token)?;
    let is = |name: &str, value: &str| claims.get(name).and_then(Value::as_str) == Some(value);
    let audience = match claims.get("aud")? {
        Value::String(audience) => audience == zone.issuer(),
        Value::Array(all) => *all == [json!(zone.issuer())],
        _ => false,
    };
    let time = |name: &str| claims.get(name).and_then(Value::as_u64);
    let valid =
        time("exp")?.saturating_add(SKEW_S) > now() && time("iat")? <= now().saturating_add(SKEW_S);
    let right = audience
        && is("iss", zone.issuer())
        && is("zone_id", zone.id())
        && is("use", "gateway")
        && valid;
    right.then_some(claims)
}

/// The resource mandate: the same authority, for one resource.
fn mint(zone: &Zone, subject: &Map<String, Value>, resource: &str) -> anyhow::Result<String> {
    let mut claims = subject.clone();
    let changes = json!({
        "aud": [resource], "target": [resource], "use": "resource", "jti": token_id(),
        "iat": now(), "exp": now().saturating_add(LIFE_S),
    });
    if let Value::Object(changes) = changes {
        claims.extend(changes);
    }
    claims.remove("nbf");
    zone.sign(&claims)
}
