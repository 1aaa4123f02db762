//! Broken mandates, and what has to be said of them.

use caracal_tests::mint::{Key, claims, configuration};
use serde_json::{Value, json};

use crate::NOW;

/// A mandate that is broken, the request that carries it, and what the text must say.
pub(crate) struct Broken {
    pub(crate) name: &'static str,
    pub(crate) token: String,
    pub(crate) more: Vec<&'static str>,
    pub(crate) code: &'static str,
    /// The check that fails, what it expected and what it found.
    pub(crate) check: [&'static str; 3],
    pub(crate) fix: &'static [&'static str],
}

pub(crate) fn broken() -> Vec<Broken> {
    let key = Key::new("k1", 1);
    let good = |changes: Value| key.mandate(NOW, changes);
    let of = |name, token, code, check, fix| Broken {
        name,
        token,
        more: vec!["--path", "/invoices"],
        code,
        check,
        fix,
    };
    let on = |path, broken: Broken| Broken {
        more: vec!["--method", "POST", "--path", path],
        ..broken
    };
    let mut changed = good(json!({}));
    // The first character of the signature: all of its bits count.
    let at = changed.rfind('.').unwrap() + 1;
    let other = if changed[at..].starts_with('A') {
        "B"
    } else {
        "A"
    };
    changed.replace_range(at..=at, other);
    vec![
        of(
            "expired",
            good(json!({"exp": NOW - 300, "iat": NOW - 1200})),
            "401 invalid_token",
            [
                "expiry, with leeway",
                "2025-12-31T23:59:00Z, 60 s ago",
                "2025-12-31T23:55:00Z, 300 s (5 min 0 s) ago",
            ],
            &["gets a new mandate", "clocks"],
        ),
        of(
            "other audience",
            good(json!({"aud": "resource://crm-api"})),
            "401 invalid_token",
            [
                "audience",
                "\"resource://billing-api\" in aud",
                "[\"resource://crm-api\"]",
            ],
            &[
                "asks the STS for a mandate whose audience is \"resource://billing-api\"",
                "the operator sets that as the audience",
            ],
        ),
        of(
            "issuer with a slash",
            good(json!({"iss": "https://sts.example.test/"})),
            "401 invalid_token",
            [
                "issuer",
                "iss \"https://sts.example.test\"",
                "\"https://sts.example.test/\"",
            ],
            &[
                "trailing slashes",
                "The operator sets issuer to \"https://sts.example.test/\"",
            ],
        ),
        of(
            "missing scope",
            good(json!({"scope": "billing:write"})),
            "403 insufficient_scope",
            ["scopes", "[\"billing:read\"]", "\"billing:write\""],
            &[
                "also has scope [\"billing:read\"]",
                "if the rule outside routes needs less, the operator removes it from required_scopes",
            ],
        ),
        of(
            "an edge that is no header value",
            good(json!({"delegation_edge_id": "edge-é"})),
            "401 invalid_token",
            [
                "forwarding",
                "what is forwarded can be sent in headers",
                "not its delegation_edge_id",
            ],
            &[
                "visible ASCII",
                "no longer forwards it",
                "forward.unsendable",
            ],
        ),
        of(
            "unknown kid",
            Key::new("k9", 1).mandate(NOW, json!({})),
            "401 invalid_token",
            [
                "key",
                "a key of kid \"k9\" in the key set",
                "keys of kid [\"k1\"]",
            ],
            &[
                "has no key \"k9\": it has [\"k1\"].",
                "from the configured STS \"https://sts.example.test\", zone \"zone-1\"",
                "check the key set first",
                "fetches the key set again from \"https://sts.example.test/.well-known/jwks.json?zone_id=zone-1\"",
                "If it is there, the STS has changed its key since",
                "If the set lacks the kid of the new one too, the STS signs with a key that it does not serve",
            ],
        ),
        of(
            "signature changed",
            changed,
            "401 invalid_token",
            [
                "signature",
                "a signature by one of them",
                "it does not verify",
            ],
            &[
                "from the configured STS \"https://sts.example.test\", zone \"zone-1\"",
                "either the token was altered after it was signed, or that STS signs with another key \"k1\"",
                "If the new one passes, this one is bad: altered, forged, or from before",
                "The token explained here has the fingerprint ",
                "If the new one fails here too, the key set does not fit",
                "compares x and y of \"k1\"",
            ],
        ),
        on(
            "/agents/run",
            of(
                "no agent session",
                good(json!({})),
                "403 session_required",
                ["agent session", "agent_session_id", "absent"],
                &[
                    "starts an agent session with Caracal's SDK",
                    "only if the route \"/agents\" may be called outside of any agent session",
                ],
            ),
        ),
        on(
            "/agents/run",
            of(
                "too many hops",
                good(json!({"agent_session_id": "agent-1", "hop_count": 4})),
                "403 hop_count_exceeded",
                ["hop count", "hop_count at most 2", "4"],
                &[
                    "For the route \"/agents\", authority may be delegated through at most 2 hops, and this one was delegated through 4",
                    "delegates it to application \"",
                    "raises max_hop_count there to at least 4",
                ],
            ),
        ),
        Broken {
            more: vec!["--path", "/invoices", "--revoked", "root-1"],
            ..of(
                "revoked",
                good(json!({})),
                "401 session_revoked",
                [
                    "revocation",
                    "none of sid, root_sid, agent_session_id, delegation_edge_id revoked",
                    "revoked: root_sid \"root-1\"",
                ],
                &[
                    "a new authorized session, which depends on nothing that is revoked",
                    "(--feed)",
                ],
            )
        },
        of(
            "other zone",
            good(json!({"zone_id": "zone-2"})),
            "401 invalid_zone",
            ["zone", "zone_id \"zone-1\"", "\"zone-2\""],
            &[
                "asks the STS \"https://sts.example.test\" for a mandate of zone \"zone-1\"",
                "sets zone_id",
            ],
        ),
        of(
            "algorithm",
            key.sign_as(
                &json!({"alg": "HS256", "kid": "k1"}),
                &claims(NOW, json!({})),
            ),
            "401 invalid_token",
            ["algorithm", "alg one of [ES256]", "\"HS256\""],
            &[
                "To tell who minted it, the caller gets a new mandate",
                "from the configured STS \"https://sts.example.test\", zone \"zone-1\"",
                "whoever runs the STS makes it sign with ES256",
                "never add \"HS256\" to algorithms",
            ],
        ),
        of(
            "not yet valid",
            good(json!({"nbf": NOW + 200})),
            "401 invalid_token",
            [
                "not before",
                "not after 1767225660",
                "in 200 s (3 min 20 s)",
            ],
            &[
                "waits 140 s",
                "the STS itself set nbf 200 s (3 min 20 s) later than iat",
            ],
        ),
        of(
            "lives too long",
            good(json!({"exp": NOW + 3601})),
            "401 invalid_token",
            ["lifetime", "exp at most 3600 s after iat", "3601 s"],
            &[
                "a mandate that is valid for at most 3600 s: this one is valid for 3601 s",
                "raises limits.max_lifetime_s",
            ],
        ),
        on(
            "/payouts",
            of(
                "not delegated",
                good(json!({"scope": "billing:payout"})),
                "403 delegation_required",
                ["delegation", "delegation_edge_id", "absent"],
                &["delegates it to application", "require_delegation to false"],
            ),
        ),
        of(
            "an ID token",
            good(json!({"sid": null, "root_sid": null, "zone_id": null})),
            "401 invalid_token",
            ["claims", "sid, root_sid", "sid is absent"],
            &[
                "the claim sid must be a non-empty string; here it is absent",
                "Also absent: root_sid, zone_id.",
                "A key of the zone signed the token, which names the configured issuer \"https://sts.example.test\"",
                "So the right STS issued it, but probably not as a mandate (an access token or an ID token has no sid)",
                "The caller asks the STS \"https://sts.example.test\" for a mandate of zone \"zone-1\"",
            ],
        ),
    ]
}

pub(crate) fn edge() -> Value {
    configuration(json!({
        "revocation": {"upstream": "feed"},
        "required_scopes": ["billing:read"],
        "limits": {"max_lifetime_s": 3600},
        "routes": {
            "/payouts": {"required_scopes": ["billing:payout"], "require_delegation": true},
            "/agents": {"require_session": true, "max_hop_count": 2},
        },
    }))
}
