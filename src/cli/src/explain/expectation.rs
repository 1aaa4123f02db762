//! What each check compares: what was expected, and what was found. Values from the token
//! are shown only here and in the advice, only if a check compares them, and only through
//! [`shown`].

use caracal_mandate::config::Unsendable;
use caracal_mandate::decision::checks::MandateCheck;
use caracal_mandate::decision::explain::{Check, TokenCheck};
use caracal_mandate::routing::routes::Requirements;
use serde_json::Value;

use super::dependencies::Revocations;
use super::found::found;
use super::mcp;
use super::request::CLIENT_ID_HEADER;
use super::required_claims;
use super::shown_values::{json_in_words, list, min_remaining_s, nothing};
use super::subject::Subject;
use super::zone;
use crate::terminal::{shown, shown_bytes};
use crate::timestamps;

/// What was expected, and what was found; `-` if that is not known.
pub(crate) struct Compared {
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Compared {
    pub(crate) fn of(check: Check, subject: &Subject<'_>) -> Self {
        let (expected, found) = match check {
            Check::Token(check) => of_token(check, subject),
            Check::Mandate(check) => of_mandate(check, subject),
            Check::Tool => mcp::tool_compared(subject),
        };
        Compared { expected, found }
    }
}

fn of_token(check: TokenCheck, subject: &Subject<'_>) -> (String, String) {
    let header = |name: &str| json_in_words(subject.header.as_ref().and_then(|h| h.get(name)));
    let has_header = |found: String| match subject.header {
        Some(_) => found,
        None => nothing(),
    };
    match check {
        TokenCheck::Resource => subject.resource_compared(),
        TokenCheck::Path if subject.is_gateway() => (
            "one reading of the path".to_owned(),
            subject.readings_in_words(),
        ),
        TokenCheck::Path => (
            "every reading of the path under one rule".to_owned(),
            subject.readings_in_words(),
        ),
        TokenCheck::Excluded => (
            "a path that is not excluded".to_owned(),
            subject.rule_in_words(),
        ),
        TokenCheck::Method => (
            "a method that is listed in upper case, or not at all".to_owned(),
            shown_bytes(&subject.request.method),
        ),
        TokenCheck::Origin | TokenCheck::Mcp => mcp::compared(check, subject),
        TokenCheck::Credential => (
            "one Authorization: Bearer <mandate>".to_owned(),
            credential(subject),
        ),
        TokenCheck::ClientId => (
            "no X-Caracal-Client-ID".to_owned(),
            match subject.request.all(CLIENT_ID_HEADER).len() {
                0 => "none".to_owned(),
                n => format!("{n} of them"),
            },
        ),
        TokenCheck::Connection => (
            "no end-to-end header in Connection".to_owned(),
            match subject.request.all("connection").as_slice() {
                [] => "no Connection".to_owned(),
                all => shown_bytes(&all.join(&b", "[..])),
            },
        ),
        TokenCheck::Size => (
            format!(
                "at most {} bytes (limits.max_token_bytes)",
                subject.configuration.limits.max_token_bytes
            ),
            match subject.token {
                Some(token) => format!("{} bytes", token.len()),
                None => nothing(),
            },
        ),
        TokenCheck::Parts => (
            "three parts with dots between them".to_owned(),
            match subject.token {
                Some(token) => format!("{} parts", token.split(|b| *b == b'.').count()),
                None => nothing(),
            },
        ),
        TokenCheck::Base64 => (
            "base64url without padding in each part".to_owned(),
            subject.undecoded_parts(),
        ),
        TokenCheck::Header => (
            "a strict JSON object as header".to_owned(),
            match (&subject.header, subject.token) {
                (Some(_), _) => "an object".to_owned(),
                (None, Some(_)) => "none".to_owned(),
                (None, None) => nothing(),
            },
        ),
        TokenCheck::Algorithm => (
            format!("alg one of [{}]", subject.algorithms()),
            has_header(header("alg")),
        ),
        TokenCheck::KeyId => (
            "kid, a text that is not empty".to_owned(),
            has_header(header("kid")),
        ),
        TokenCheck::Critical => ("no crit".to_owned(), has_header(header("crit"))),
        TokenCheck::PayloadEncoding => (
            "b64 absent, or not false".to_owned(),
            has_header(header("b64")),
        ),
        TokenCheck::Zone => (
            format!(
                "zone_id one of {}",
                zone::accepted(subject.configuration, subject.resource.map(|one| one.id.as_str()))
            ),
            json_in_words(subject.payload.as_ref().and_then(|all| all.get("zone_id"))),
        ),
        TokenCheck::KeySet => ("a usable key set".to_owned(), key_set(subject)),
        TokenCheck::Key => (
            format!("a key of kid {} in the key set", header("kid")),
            kids(subject),
        ),
        TokenCheck::KeyAlgorithm => (
            format!("one of them for alg {}", header("alg")),
            algorithms_of_keys(subject),
        ),
        TokenCheck::Signature => (
            "a signature by one of them over header and payload".to_owned(),
            match subject.outcome(check) {
                Some(true) => "it verifies".to_owned(),
                Some(false) => "it does not verify".to_owned(),
                None => nothing(),
            },
        ),
        TokenCheck::Payload => (
            "a strict JSON object as payload".to_owned(),
            match subject.outcome(check) {
                Some(true) => "an object".to_owned(),
                Some(false) => "none, or not a strict one".to_owned(),
                None => nothing(),
            },
        ),
        TokenCheck::RequiredClaims => (
            "iss, aud, exp, iat, jti, sub, sid, root_sid, client_id, use, sub_type, each of its type"
                .to_owned(),
            match (subject.outcome(check), required_claims::failed(subject)) {
                (Some(true), _) => "all there".to_owned(),
                (Some(false), Some((name, value))) => format!("{name} is {value}"),
                _ => nothing(),
            },
        ),
    }
}

fn credential(subject: &Subject<'_>) -> String {
    if subject.claims_only {
        return "claims without a token".to_owned();
    }
    let values = subject.request.all("authorization");
    let Some(first) = values.first() else {
        return "no Authorization header".to_owned();
    };
    if values.len() > 1 {
        return format!("{} Authorization headers", values.len());
    }
    if first.trim_ascii().is_empty() {
        return "an empty Authorization header".to_owned();
    }
    let scheme = first.split(|b| matches!(b, b' ' | b'\t')).next();
    let scheme = scheme.unwrap_or_default();
    match scheme {
        // A word that is not a scheme may be a token.
        _ if scheme.len() > 16 || !scheme.iter().all(u8::is_ascii_alphabetic) => {
            "one Authorization header without a scheme".to_owned()
        }
        _ if !scheme.eq_ignore_ascii_case(b"bearer") => {
            format!("one of scheme {}", shown_bytes(scheme))
        }
        _ if first.contains(&b',') => "one with a comma: two headers that were joined".to_owned(),
        _ if first.len() == scheme.len() => "one without a token".to_owned(),
        _ => "one".to_owned(),
    }
}

fn key_set(subject: &Subject<'_>) -> String {
    let Some(keys) = subject.keys else {
        return nothing();
    };
    let from = shown(&keys.from);
    match &keys.set {
        Ok(set) => format!(
            "{} usable, {} skipped, from {from}",
            set.keys().len(),
            set.skipped()
        ),
        Err(why) => format!("none from {from}: {why}"),
    }
}

fn kids(subject: &Subject<'_>) -> String {
    let Some(Ok(set)) = subject.keys.map(|keys| &keys.set) else {
        return nothing();
    };
    let kids: Vec<String> = set.keys().iter().map(|key| key.kid().to_owned()).collect();
    format!("keys of kid {}", list(&kids))
}

fn algorithms_of_keys(subject: &Subject<'_>) -> String {
    let kid = subject.header.as_ref().and_then(|header| header.get("kid"));
    let (Some(Ok(set)), Some(kid)) = (
        subject.keys.map(|keys| &keys.set),
        kid.and_then(Value::as_str),
    ) else {
        return nothing();
    };
    let of_kid = set.keys().iter().filter(|key| key.kid() == kid);
    let all: Vec<&str> = of_kid.map(|key| key.algorithm().as_jose()).collect();
    match all.as_slice() {
        [] => "no key of that kid".to_owned(),
        all => all.join(", "),
    }
}

fn of_mandate(check: MandateCheck, subject: &Subject<'_>) -> (String, String) {
    let none = Requirements::default();
    let required = subject.required.unwrap_or(&none);
    let claims = subject.trace.claims.as_ref();
    let found = claims.map_or_else(nothing, |claims| found(check, claims, subject));
    (expected(check, required, subject), found)
}

fn expected(check: MandateCheck, required: &Requirements, subject: &Subject<'_>) -> String {
    let (configuration, at) = (subject.configuration, subject.at);
    let skew = configuration.clock_skew_s;
    let needed = |is: bool, what: &str| match is {
        true => what.to_owned(),
        false => "nothing".to_owned(),
    };
    let all_of = |texts: &[String], what: &str| match texts {
        [] => "nothing".to_owned(),
        texts => format!("{what} {}", list(texts)),
    };
    match check {
        MandateCheck::Remaining => format!("exp at least {} s away", min_remaining_s(configuration)),
        MandateCheck::OwnTarget => match subject.resource {
            Some(resource) => format!("{} in target", shown(&resource.id)),
            None => nothing(),
        },
        MandateCheck::Issuer => format!("iss {}", shown(&subject.zone.zone.issuer)),
        MandateCheck::Audience => match &subject.audience {
            Some(audience) => format!("{} in aud", shown(audience)),
            None => nothing(),
        },
        MandateCheck::ExpiryWithSkew => format!(
            "exp after {}",
            timestamps::beside(at.saturating_sub(skew), at)
        ),
        MandateCheck::IssuedAt => format!(
            "iat not after {}",
            timestamps::beside(at.saturating_add(skew), at)
        ),
        MandateCheck::NotBefore => format!(
            "nbf absent, or not after {}",
            timestamps::beside(at.saturating_add(skew), at)
        ),
        MandateCheck::Lifetime => match configuration.limits.max_lifetime_s {
            Some(most) => format!("exp at most {most} s after iat"),
            None => "nothing".to_owned(),
        },
        MandateCheck::Use => format!("use {}", shown(required.required_use.as_str())),
        MandateCheck::Zone => format!("zone_id {}", shown(&subject.zone.zone.id)),
        MandateCheck::Scopes => all_of(&required.required_scopes, "in scope all of"),
        MandateCheck::DelegationShape => {
            "agent_session_id, delegation_edge_id, delegation_chain absent or of their types"
                .to_owned()
        }
        MandateCheck::Session => needed(required.require_session, "agent_session_id"),
        MandateCheck::Delegation => needed(required.require_delegation, "delegation_edge_id"),
        MandateCheck::Chain => all_of(
            &required.require_chain_contains,
            "as application_id in delegation_chain all of",
        ),
        MandateCheck::HopCount => format!("hop_count at most {}", required.max_hop_count),
        MandateCheck::OptionalShape => {
            "delegation_path, delegation_graph_epoch, target, source_session_id, target_session_id absent or of their types"
                .to_owned()
        }
        MandateCheck::ScopeNotEmpty => "scope absent, or not empty".to_owned(),
        MandateCheck::Targets => all_of(&required.required_targets, "in target all of"),
        MandateCheck::Expiry => format!("exp after {at} = {}, now", timestamps::date(at)),
        MandateCheck::RevocationState => "a usable revocation state".to_owned(),
        MandateCheck::Revocation => {
            "none of sid, root_sid, agent_session_id, delegation_edge_id revoked".to_owned()
        }
        MandateCheck::DelegationEpoch => match subject.revocations {
            Revocations::Given { .. } | Revocations::Answered(_) => {
                use caracal_mandate::revocation::RevocationView as _;
                let epoch = subject.revocations.delegation_epoch();
                format!("delegation_graph_epoch absent, or at least {epoch}")
            }
            _ => "delegation_graph_epoch absent, or at least the zone's epoch".to_owned(),
        },
        MandateCheck::Forwarding => {
            let refuses = configuration.forward.unsendable == Unsendable::Refuse;
            needed(refuses, "what is forwarded can be sent in headers")
        }
    }
}
