//! What the upstream gets: which headers only the filter may set, which headers carry the
//! principal, and what is removed (contract, "Headers of the edge").

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::config::{Forward, Gate, PrincipalClaim};
use crate::header_names::{MAX_VALUE_BYTES, RESERVED_PREFIX};
use crate::token::claims::{Claims, Shape};

/// How the headers of a request are changed.
#[derive(Debug, Clone)]
pub struct Forwarding {
    headers: Vec<(String, PrincipalClaim)>,
    /// The reserved names that do not have the reserved prefix, folded.
    reserved: Vec<Vec<u8>>,
    keeps_mandate: bool,
    variables: Vec<(String, PrincipalClaim)>,
    gate: Option<Gate>,
}

impl From<&Forward> for Forwarding {
    fn from(forward: &Forward) -> Self {
        let names = forward.headers.keys().map(|name| folded(name.as_bytes()));
        Forwarding {
            reserved: names
                .map(Iterator::collect::<Vec<u8>>)
                .filter(|name| !name.starts_with(RESERVED_PREFIX))
                .collect(),
            headers: listed(&forward.headers),
            keeps_mandate: forward.authorization,
            variables: listed(&forward.variables),
            gate: forward.gate.clone(),
        }
    }
}

fn listed(claims: &BTreeMap<String, PrincipalClaim>) -> Vec<(String, PrincipalClaim)> {
    claims
        .iter()
        .map(|(name, claim)| (name.clone(), *claim))
        .collect()
}

/// A principal header: its name, and its value, or none if the value cannot be sent.
pub type PrincipalHeader<'a> = (&'a str, Option<Cow<'a, str>>);

/// A name in the form to which upstreams may fold it.
pub(crate) fn folded(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    name.iter().map(|b| {
        if b.is_ascii_alphanumeric() {
            b.to_ascii_lowercase()
        } else {
            b'-'
        }
    })
}

impl Forwarding {
    /// Whether an incoming header is removed before the upstream sees it.
    ///
    /// Upstreams fold names: a CGI program gets `X_Caracal_Sub`, `x.caracal.sub` and
    /// `x-caracal-sub` as the same variable. So case and punctuation are ignored here.
    pub fn is_reserved(&self, name: &[u8]) -> bool {
        let beginning = name.get(..RESERVED_PREFIX.len());
        beginning.is_some_and(|start| folded(start).eq(RESERVED_PREFIX.iter().copied()))
            || self
                .reserved
                .iter()
                .any(|own| own.len() == name.len() && folded(name).eq(own.iter().copied()))
    }

    /// Whether the upstream gets the mandate, and `caracal.*` baggage with it.
    pub fn keeps_mandate(&self) -> bool {
        self.keeps_mandate
    }

    /// The headers for a principal. A header is left out if its claim is absent. If its
    /// value cannot be sent it has `None`, so that it can be counted.
    pub fn principal<'a>(
        &'a self,
        claims: &'a Claims,
    ) -> impl Iterator<Item = PrincipalHeader<'a>> {
        self.headers.iter().filter_map(|(name, claim)| {
            let value = value(claims, *claim)?;
            Some((name.as_str(), is_sendable(&value).then_some(value)))
        })
    }

    /// The variables for a principal. Each has its claim's value, or none if the claim is
    /// absent or its value cannot be sent.
    pub fn variables<'a>(
        &'a self,
        claims: &'a Claims,
    ) -> impl Iterator<Item = PrincipalHeader<'a>> {
        self.variables.iter().map(|(name, claim)| {
            let value = value(claims, *claim).filter(|value| is_sendable(value));
            (name.as_str(), value)
        })
    }

    /// The variable that is the gate to the upstream.
    pub fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref()
    }
}

fn value(claims: &Claims, claim: PrincipalClaim) -> Option<Cow<'_, str>> {
    match claim {
        PrincipalClaim::Sub => Some(claims.sub.as_str().into()),
        PrincipalClaim::ClientId => Some(claims.client_id.as_str().into()),
        PrincipalClaim::ZoneId => claims.zone_id.as_deref().map(Cow::from),
        PrincipalClaim::Scope => claims.scope.as_deref().map(Cow::from),
        PrincipalClaim::Use => Some(claims.token_use.as_str().into()),
        PrincipalClaim::SubType => Some(claims.sub_type.as_str().into()),
        PrincipalClaim::Sid => Some(claims.sid.as_str().into()),
        PrincipalClaim::RootSid => Some(claims.root_sid.as_str().into()),
        PrincipalClaim::Jti => Some(claims.jti.as_str().into()),
        PrincipalClaim::AgentSessionId => text(&claims.agent_session_id),
        PrincipalClaim::DelegationEdgeId => text(&claims.delegation_edge_id),
        PrincipalClaim::SourceSessionId => text(&claims.source_session_id),
        PrincipalClaim::TargetSessionId => text(&claims.target_session_id),
        PrincipalClaim::HopCount => number(&claims.hop_count),
        PrincipalClaim::DelegationGraphEpoch => number(&claims.delegation_graph_epoch),
    }
}

fn text(claim: &Shape<Option<String>>) -> Option<Cow<'_, str>> {
    claim.as_ref().ok()?.as_deref().map(Cow::from)
}

fn number(claim: &Shape<Option<u64>>) -> Option<Cow<'_, str>> {
    // Most mandates have one or two hops, so the usual case needs no allocation.
    const SMALL: [&str; 11] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let number = claim.as_ref().ok().copied().flatten()?;
    let small = usize::try_from(number).ok().and_then(|n| SMALL.get(n));
    Some(small.map_or_else(|| number.to_string().into(), |text| Cow::from(*text)))
}

/// Visible ASCII with spaces inside, bounded. It contains nothing that ends a header line
/// or reads differently in another character set: a signed claim may be a name that
/// somebody chose.
pub fn is_sendable(value: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_graphic());
    value.len() <= MAX_VALUE_BYTES
        && edge(value.bytes().next())
        && edge(value.bytes().last())
        && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

/// A `baggage` value (W3C Baggage) without its `caracal.*` entries. `None` if there is
/// nothing to remove; an empty value if nothing is left.
pub fn without_caracal_baggage(value: &[u8]) -> Option<Vec<u8>> {
    let is_ours = |entry: &[u8]| {
        entry
            .trim_ascii()
            .get(..8)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"caracal."))
    };
    let mut kept = Vec::new();
    let mut is_changed = false;
    for entry in value.split(|b| *b == b',') {
        match is_ours(entry) {
            true => is_changed = true,
            false => kept.push(entry),
        }
    }
    is_changed.then(|| kept.join(&b','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_FORWARD_HEADERS;

    #[test]
    fn the_namespace_is_reserved_however_it_is_written() {
        let mut forward = Forward::default();
        forward
            .headers
            .insert("x-user".to_owned(), PrincipalClaim::Sub);
        let forwarding = Forwarding::from(&forward);
        for name in [
            "x-caracal-sub",
            "X-Caracal-Resource",
            "x_caracal_sub",
            "X-CARACAL_anything",
            "x.caracal.sub",
            "x-caracal-",
            "X-User",
            "x_user",
        ] {
            assert!(forwarding.is_reserved(name.as_bytes()), "{name}");
        }
        for name in [
            "x-caracal",
            "x-caracalx",
            "caracal-sub",
            "x-users",
            "authorization",
            ":path",
            "",
        ] {
            assert!(!forwarding.is_reserved(name.as_bytes()), "{name}");
        }
        assert_eq!(
            DEFAULT_FORWARD_HEADERS.len(),
            Forward::default().headers.len()
        );
    }

    #[test]
    fn values_are_visible_ascii() {
        for good in ["a", "user:1 2", "~!", &"x".repeat(1024)] {
            assert!(is_sendable(good), "{good}");
        }
        for bad in [
            "",
            " a",
            "a ",
            "a\tb",
            "a\r\nb",
            "é",
            "a\u{7f}",
            "a\0",
            &"x".repeat(1025),
        ] {
            assert!(!is_sendable(bad), "{bad:?}");
        }
    }

    #[test]
    fn only_caracal_baggage_is_dropped() {
        let clean = |value: &str| {
            without_caracal_baggage(value.as_bytes()).map(|v| String::from_utf8(v).unwrap())
        };
        assert_eq!(clean("a=1,b=2;p"), None);
        assert_eq!(clean("xcaracal.a=1"), None);
        assert_eq!(clean("caracal.zone=z"), Some(String::new()));
        assert_eq!(
            clean("a=1, Caracal.zone=z;p=1 ,b=2"),
            Some("a=1,b=2".to_owned())
        );
    }
}
