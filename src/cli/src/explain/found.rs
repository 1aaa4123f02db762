//! What a mandate has of what a check compares.

use caracal_mandate::config::Unsendable;
use caracal_mandate::decision::checks::MandateCheck;
use caracal_mandate::forwarding::Forwarding;
use caracal_mandate::token::claims::{Claims, Shape};

use super::dependencies::Revocations;
use super::shown_values::{list, nothing};
use super::subject::Subject;
use crate::terminal::shown;
use crate::timestamps;

fn text(shape: &Shape<Option<String>>) -> String {
    match shape {
        Ok(Some(text)) => shown(text),
        Ok(None) => "absent".to_owned(),
        Err(why) => why.to_string(),
    }
}

fn number(shape: &Shape<Option<u64>>) -> String {
    match shape {
        Ok(Some(number)) => number.to_string(),
        Ok(None) => "absent".to_owned(),
        Err(why) => why.to_string(),
    }
}

fn texts(shape: &Shape<Vec<String>>) -> String {
    match shape {
        Ok(all) => list(all),
        Err(why) => why.to_string(),
    }
}

/// Whether all of these are right, or the first that is not.
fn shapes(all: &[Option<String>]) -> String {
    let first = all.iter().flatten().next();
    first.cloned().unwrap_or_else(|| "they are".to_owned())
}

pub(super) fn found(check: MandateCheck, claims: &Claims, subject: &Subject<'_>) -> String {
    let at = subject.at;
    fn wrong<T>(shape: &Shape<T>) -> Option<String> {
        shape.as_ref().err().map(ToString::to_string)
    }
    match check {
        MandateCheck::Issuer => shown(&claims.iss),
        MandateCheck::Audience => list(&claims.aud),
        MandateCheck::Remaining | MandateCheck::ExpiryWithSkew | MandateCheck::Expiry => {
            timestamps::beside(claims.exp, at)
        }
        MandateCheck::OwnTarget => claims
            .target
            .as_ref()
            .map_or_else(|why| why.to_string(), list),
        MandateCheck::IssuedAt => timestamps::beside(claims.iat, at),
        MandateCheck::NotBefore => match claims.nbf {
            Some(nbf) => timestamps::beside(nbf, at),
            None => "absent".to_owned(),
        },
        MandateCheck::Lifetime => {
            format!("{} s", claims.exp.saturating_sub(claims.iat))
        }
        MandateCheck::Use => shown(claims.token_use.as_str()),
        MandateCheck::Zone => match &claims.zone_id {
            Some(zone) => shown(zone),
            None => "absent, or not a text".to_owned(),
        },
        MandateCheck::Scopes | MandateCheck::ScopeNotEmpty => match &claims.scope {
            Some(scope) => shown(scope),
            None => "absent".to_owned(),
        },
        MandateCheck::DelegationShape => shapes(&[
            wrong(&claims.agent_session_id),
            wrong(&claims.delegation_edge_id),
            wrong(&claims.delegation_chain),
        ]),
        MandateCheck::Session => text(&claims.agent_session_id),
        MandateCheck::Delegation => text(&claims.delegation_edge_id),
        MandateCheck::Chain => match &claims.delegation_chain {
            Ok(hops) => list(hops.iter().map(|hop| &hop.application_id)),
            Err(why) => why.to_string(),
        },
        MandateCheck::HopCount => number(&claims.hop_count),
        MandateCheck::OptionalShape => shapes(&[
            wrong(&claims.delegation_path),
            wrong(&claims.delegation_graph_epoch),
            wrong(&claims.target),
            wrong(&claims.source_session_id),
            wrong(&claims.target_session_id),
        ]),
        MandateCheck::Targets => texts(&claims.target),
        MandateCheck::RevocationState => match subject.revocations {
            Revocations::Disabled => "disabled by the configuration".to_owned(),
            Revocations::NotAsked | Revocations::Pending => nothing(),
            Revocations::Given { .. } => "given on the command line".to_owned(),
            Revocations::Answered(answer) => {
                format!("the companion's, {} ms old", answer.confirmed_age_ms)
            }
            Revocations::Unavailable { why, .. } => why.clone(),
        },
        MandateCheck::Revocation => match subject.revocations {
            Revocations::Given { .. } | Revocations::Answered(_) => revoked(claims, subject),
            Revocations::Disabled => "nobody is asked".to_owned(),
            _ => nothing(),
        },
        MandateCheck::DelegationEpoch => number(&claims.delegation_graph_epoch),
        MandateCheck::Forwarding
            if subject.configuration.forward.unsendable == Unsendable::Omit =>
        {
            nothing()
        }
        MandateCheck::Forwarding => {
            let forwarding = Forwarding::from(&subject.configuration.forward);
            let bytes = subject.trace.payload_bytes;
            match forwarding.unsendable(claims, bytes) {
                Some(what) => format!("not its {what}"),
                None => "it can".to_owned(),
            }
        }
    }
}

/// The revoked anchors, by the claims that carry them.
pub(super) fn revoked(claims: &Claims, subject: &Subject<'_>) -> String {
    let optional = |shape: &Shape<Option<String>>| shape.clone().ok().flatten();
    let anchors = [
        ("sid", Some(claims.sid.clone())),
        ("root_sid", Some(claims.root_sid.clone())),
        ("agent_session_id", optional(&claims.agent_session_id)),
        ("delegation_edge_id", optional(&claims.delegation_edge_id)),
    ];
    let hit: Vec<String> = anchors
        .into_iter()
        .filter_map(|(name, id)| Some((name, id?)))
        .filter(|(_, id)| subject.revocations.revoked().contains(id))
        .map(|(name, id)| format!("{name} {}", shown(&id)))
        .collect();
    match hit.as_slice() {
        [] => "none is".to_owned(),
        hit => format!("revoked: {}", hit.join(", ")),
    }
}
