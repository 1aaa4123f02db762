//! What the upstream gets: which headers only the filter may set, which headers carry the
//! principal, and what is removed (contract, "Headers of the edge").

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::baggage;
use crate::config::{Baggage, Forward, Gate, PrincipalClaim, Unsendable};
use crate::header_names::{MAX_CLAIMS_BYTES, MAX_VALUE_BYTES, RESERVED_PREFIX, folded};
use crate::token::claims::{Claims, Shape};
use crate::token::jws::UnverifiedMandate;
use crate::token::mandate::{Mandate, Sent};

/// The word for all claims in one header.
const PAYLOAD: &str = "payload";
/// The word for the members of `baggage`.
const BAGGAGE: &str = "baggage";

/// How the headers of a request are changed.
#[derive(Debug, Clone)]
pub struct Forwarding {
    headers: Vec<(String, PrincipalClaim)>,
    /// The reserved names that do not have the reserved prefix, folded.
    reserved: Vec<Vec<u8>>,
    keeps_mandate: bool,
    baggage: Baggage,
    /// The header with all claims.
    claims: Option<String>,
    /// A mandate of which something cannot be sent is refused.
    refuses: bool,
    variables: Vec<(String, PrincipalClaim)>,
    gate: Option<Gate>,
}

impl From<&Forward> for Forwarding {
    fn from(forward: &Forward) -> Self {
        let names = forward.headers.keys().chain(&forward.claims);
        let names = names.map(|name| folded(name.as_bytes()));
        Forwarding {
            reserved: names
                .map(Iterator::collect::<Vec<u8>>)
                .filter(|name| !name.starts_with(RESERVED_PREFIX))
                .collect(),
            headers: listed(&forward.headers),
            keeps_mandate: forward.authorization,
            baggage: forward.baggage,
            claims: forward.claims.clone(),
            refuses: forward.unsendable == Unsendable::Refuse,
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

/// A variable's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VariableValue<'a> {
    /// The claim.
    Claim(Cow<'a, str>),
    /// The mandate does not have the claim.
    Absent,
    /// The claim cannot be sent.
    Unsendable,
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

    /// Whether the upstream must get a header of this name, which therefore must not be one
    /// of the client's connection.
    pub fn must_arrive(&self, name: &[u8]) -> bool {
        let writes_baggage = self.baggage == Baggage::Verified;
        self.is_reserved(name) || writes_baggage && name.eq_ignore_ascii_case(b"baggage")
    }

    /// Whether the upstream gets the mandate.
    pub fn keeps_mandate(&self) -> bool {
        self.keeps_mandate
    }

    /// What becomes of `caracal.*` members of `baggage`.
    pub fn baggage(&self) -> Baggage {
        self.baggage
    }

    /// What is left of the lines of `baggage` of a request that is judged. `None` if nothing
    /// has to change; an empty value if nothing is left.
    pub fn left_of_baggage(&self, lines: &[&[u8]]) -> Option<Vec<u8>> {
        match self.baggage {
            _ if lines.is_empty() => None,
            Baggage::Keep => None,
            Baggage::Remove => baggage::without_ours(lines),
            Baggage::Verified => baggage::foreign_members(lines),
        }
    }

    /// What is sent of a mandate whose signature has verified.
    pub(crate) fn sent(&self, claims: &Claims, token: &UnverifiedMandate) -> Sent {
        let whole = self.claims.as_ref().map(|_| token.encoded_payload());
        let payload = whole.filter(|payload| payload.len() <= MAX_CLAIMS_BYTES);
        Sent {
            unsendable: self.unsendable(claims, whole.map_or(0, <[u8]>::len)),
            payload: payload.map(Box::from),
        }
    }

    /// What is to be sent and cannot be, if that refuses the mandate: the name of a claim, or
    /// a word for several. `payload_bytes` is the length of the encoded payload.
    pub fn unsendable(&self, claims: &Claims, payload_bytes: usize) -> Option<&'static str> {
        if !self.refuses {
            return None;
        }
        let is_bad =
            |claim: PrincipalClaim| value(claims, claim).is_some_and(|value| !is_sendable(&value));
        let mut all = self.headers.iter().chain(&self.variables);
        if let Some((_, claim)) = all.find(|(_, claim)| is_bad(*claim)) {
            return Some(claim.as_str());
        }
        if self.claims.is_some() && payload_bytes > MAX_CLAIMS_BYTES {
            return Some(PAYLOAD);
        }
        if self.baggage == Baggage::Verified && baggage::verified_members(claims).is_none() {
            return Some(BAGGAGE);
        }
        None
    }

    /// What refuses a mandate if it cannot be sent, in the words of [`Forwarding::unsendable`].
    pub fn must_be_sendable(&self) -> Vec<&'static str> {
        if !self.refuses {
            return Vec::new();
        }
        let claims = self.headers.iter().chain(&self.variables);
        let mut all: Vec<&str> = claims.map(|(_, claim)| claim.as_str()).collect();
        all.sort_unstable();
        all.dedup();
        all.extend(self.claims.as_ref().map(|_| PAYLOAD));
        all.extend((self.baggage == Baggage::Verified).then_some(BAGGAGE));
        all
    }

    /// The headers for a principal. A header is left out if its claim is absent. If its
    /// value cannot be sent it has `None`, so that it can be counted.
    pub fn principal<'a>(
        &'a self,
        claims: &'a Claims,
    ) -> impl Iterator<Item = PrincipalHeader<'a>> {
        self.headers.iter().filter_map(|(name, claim)| {
            let value = value(claims, *claim)?;
            // Where that refuses a mandate, the last check has found all values to be good.
            let is_good = self.refuses || is_sendable(&value);
            Some((name.as_str(), is_good.then_some(value)))
        })
    }

    /// The header with all claims, if there is one; with `None` if they are over its bound.
    pub fn all_claims<'a>(&'a self, mandate: &'a Mandate) -> Option<(&'a str, Option<&'a [u8]>)> {
        let name = self.claims.as_deref()?;
        Some((name, mandate.sent().payload.as_deref()))
    }

    /// The variables for a principal, each with its value.
    pub fn variables<'a>(
        &'a self,
        claims: &'a Claims,
    ) -> impl Iterator<Item = (&'a str, VariableValue<'a>)> {
        self.variables.iter().map(|(name, claim)| {
            let value = match value(claims, *claim) {
                None => VariableValue::Absent,
                Some(value) if is_sendable(&value) => VariableValue::Claim(value),
                Some(_) => VariableValue::Unsendable,
            };
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
}
