//! What stands behind a recorded reason: the check, what it compares, and what to do.

use caracal_mandate::config::Configuration;

use crate::terminal::shown;

/// See the module.
pub(crate) struct Cause {
    /// The row of the contract or of Gateway mode ("Order of checks").
    pub(crate) row: &'static str,
    /// What was compared with what.
    pub(crate) compared: String,
    /// What to do, and who does it.
    pub(crate) advice: &'static str,
}

const NEW_MANDATE: &str = "The caller gets a new mandate from the STS.";
const KEYS: &str = "The operator looks at jwks_age_seconds and jwks_fetches_total of the edge, and asks the STS for its key set from where the edge runs.";

/// The cause of a refusal. `None` for a reason that this version does not know.
pub(crate) fn of(reason: &str, configuration: Option<&Configuration>) -> Option<Cause> {
    let configured = |value: Option<String>, otherwise: &str| {
        value.unwrap_or_else(|| format!("{otherwise} (give the configuration to see it)"))
    };
    let of_limits = |name: &str, read: fn(&Configuration) -> u64| {
        configured(
            configuration.map(|known| format!("{} s ({name})", read(known))),
            name,
        )
    };
    let (row, compared, advice): (_, String, _) = match reason {
        "missing_token" => (
            "2",
            "the Authorization header with `Bearer <mandate>`".into(),
            "The caller sends its mandate. If it does, something before the edge removes the header.",
        ),
        "several_credentials" => (
            "2",
            "the number of Authorization credentials with one".into(),
            "The caller, or a proxy before the edge, sends Authorization once.",
        ),
        "malformed" => (
            "3, 6, 10 or 11",
            "the token with the form of a mandate: three base64url parts, strict JSON, every claim of the right type".into(),
            "The caller sends the mandate as the STS gave it. If it does, the STS makes mandates that are none: `caracal-edge explain --token-file` names the claim.",
        ),
        "algorithm" => (
            "3",
            format!(
                "`alg` of the token with {}",
                configured(configuration.map(|known| format!("{:?}", known.algorithms)), "algorithms")
            ),
            "The STS signs with an accepted algorithm, or the operator accepts this one (`algorithms`).",
        ),
        "unknown_key" => (
            "3",
            "`kid` of the token with the keys of the zone's key set, also after a new fetch".into(),
            "The caller gets a mandate of this zone's STS. After a rotation the STS publishes a key before it signs with it.",
        ),
        "signature" => (
            "3",
            "the signature with the zone's key of that `kid`".into(),
            "The token was changed, forged, or signed by another STS with the same `kid`. If its sender is known, look there.",
        ),
        "issuer" => (
            "3",
            format!(
                "`iss` with {}",
                configured(configuration.map(issuers), "the zone's issuer")
            ),
            "The caller uses this zone's STS, or the operator corrects `issuer`: it is compared byte for byte.",
        ),
        "audience" => (
            "3",
            "`aud` with the audience of the resource".into(),
            "The caller asks the STS for a mandate for this resource, or the operator corrects `audience`.",
        ),
        "expired" => (
            "3 or 12",
            format!(
                "`exp` with the time of the decision, and at row 3 with a leeway of {}",
                of_limits("clock_skew_s", |known| known.clock_skew_s)
            ),
            "The caller gets a new mandate before the old one ends. If mandates seem to end early, compare the clocks of STS and edge.",
        ),
        "not_yet_valid" => (
            "3",
            format!(
                "`iat` and `nbf` with the time of the decision and a leeway of {}",
                of_limits("clock_skew_s", |known| known.clock_skew_s)
            ),
            "The operator compares the clocks of STS and edge.",
        ),
        "lifetime" => (
            "3",
            "`exp` less `iat` with limits.max_lifetime_s".into(),
            "The STS issues shorter mandates, or the operator raises limits.max_lifetime_s and keeps revocations as long.",
        ),
        "use" => (
            "3",
            "`use` with required_use".into(),
            "The caller sends a mandate for a resource. One with use=gateway is for Gateway mode alone.",
        ),
        "target" => (
            "11",
            "`target` with required_targets".into(),
            "The caller asks the STS for a mandate with that target.",
        ),
        "unsendable" => (
            "14",
            "what `forward` sends of the mandate with what a header can hold".into(),
            "A claim has characters other than visible ASCII, or is too long: whoever chose it chooses another name. With forward.unsendable `omit` the upstream would go without it.",
        ),
        "message" => (
            "0",
            "the message of MCP, or its headers, with what can be judged".into(),
            "The caller sends one JSON-RPC message in a version of MCP that the route takes; docs/mcp.md lists what it needs.",
        ),
        "origin_denied" => (
            "0",
            "`Origin` with the route's mcp.origins".into(),
            "The operator lists the origin if pages of it may call the server. Other clients send none.",
        ),
        "tool_denied" => (
            "14",
            "the tool with the route's mcp.tools".into(),
            "The operator lists the tool with what it requires, or the caller calls another.",
        ),
        "body_too_large" => (
            "-",
            "the message's length with limits.max_body_bytes".into(),
            "The caller sends a shorter message, or the operator raises the limit.",
        ),
        "body_timeout" => (
            "-",
            "how long the message took with limits.body_timeout_ms".into(),
            "The caller sends the message at once. If every message gets this, Envoy lacks allow_on_headers_stop_iteration: `caracal-edge check` says so.",
        ),
        "invalid_zone" => (
            "4",
            "`zone_id` with the zones that are accepted".into(),
            "The caller uses the STS of an accepted zone, or the operator accepts this zone.",
        ),
        "insufficient_scope" => (
            "5",
            "`scope` with required_scopes of the rule".into(),
            "The caller asks the STS for the scopes that the answer's WWW-Authenticate names. `caracal-edge check` lists the rules.",
        ),
        "session_required" => ("7", "`agent_session_id` with require_session".into(), "The agent starts a session and gets its mandate for it."),
        "delegation_required" => ("8", "`delegation_edge_id` with require_delegation".into(), "The caller acts under a delegation."),
        "chain_mismatch" => ("9", "the applications of `delegation_chain` with require_chain_contains".into(), "The delegation goes through the required application."),
        "hop_count_exceeded" => ("10", "`hop_count` with max_hop_count".into(), "The authority is delegated through fewer hops, or the operator raises max_hop_count."),
        "session_revoked" => (
            "12",
            "`sid`, `root_sid`, `agent_session_id` and `delegation_edge_id` with what is revoked".into(),
            "Somebody ended this session or delegation. The caller starts a new session.",
        ),
        "delegation_stale" => (
            "13",
            "`delegation_graph_epoch` with the zone's delegation epoch".into(),
            NEW_MANDATE,
        ),
        "ambiguous" | "invalid_request" => (
            "0",
            "all readings of path, method and host with each other".into(),
            "The caller sends the path without encoded or doubled slashes, dot segments and backslashes, the method in upper case, and one Host.",
        ),
        "resource" => (
            "0",
            "X-Caracal-Resource and Host with the resources of the configuration".into(),
            "The caller sends X-Caracal-Resource once, with a resource that this host serves.",
        ),
        "key_set" | "sts_unavailable" => ("-", "the age of the zone's key set with jwks.ttl_s".into(), KEYS),
        "revocations" => (
            "-",
            "the age of the revocation state with revocation.max_staleness_s".into(),
            "The operator looks at the companion's /readyz and at revocation_age_seconds of the edge: the companion, its Redis, or the way to it fails.",
        ),
        "waiting" => (
            "-",
            "the requests that wait with limits.max_waiting, or the wait with its deadline".into(),
            "The operator looks at paused_requests, and at why the key set or the companion takes so long.",
        ),
        "edge" => (
            "-",
            "nothing: the edge itself failed".into(),
            "The operator reads the proxy's log for lines with `caracal`.",
        ),
        "credential_expiring" => ("G3", "`exp` with gateway.min_remaining_s".into(), NEW_MANDATE),
        "token_replay" => ("G8", "the mandate's `jti` with those that were used".into(), "A mandate for the Gateway is good for one request. The caller gets a new one for each."),
        _ => return None,
    };
    Some(Cause {
        row,
        compared,
        advice,
    })
}

fn issuers(configuration: &Configuration) -> String {
    let zones = configuration.accepted_zones();
    let issuers: Vec<String> = zones.iter().map(|one| shown(&one.zone.issuer)).collect();
    issuers.join(" or ")
}

#[cfg(test)]
mod tests {
    use caracal_mandate::reply::{ErrorCode, Reason};

    use super::*;

    #[test]
    fn every_reason_has_a_cause() {
        for reason in Reason::ALL {
            assert!(of(reason.as_str(), None).is_some(), "{}", reason.as_str());
        }
        // The others say only that the mandate is invalid, or are the STS's own words.
        let codes = ErrorCode::ALL
            .iter()
            .filter(|code| **code != ErrorCode::InvalidToken);
        for code in codes {
            assert!(of(code.as_str(), None).is_some(), "{}", code.as_str());
        }
        assert!(of("unheard_of", None).is_none());
    }
}
