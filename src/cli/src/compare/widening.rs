//! What one configuration admits and another refused, as a condition on the mandate.
//!
//! Each configuration admits what satisfies all its conditions. The conditions are about
//! different claims, so each one can be compared by itself. The new configuration
//! additionally admits the mandates that satisfy all of its own conditions and break at
//! least one of the old ones. One [`Extra`] is one such condition.

use caracal_mandate::config::{Configuration, Feed, Revocation};
use caracal_mandate::forwarding::Forwarding;
use caracal_mandate::routing::routes::Requirements;

use super::extra::{Extra, raised};
use super::{gateway, zones};
use crate::terminal::shown;

/// What the old list requires and the new list does not, once each.
fn dropped(old: &[String], new: &[String]) -> Option<Vec<String>> {
    let mut dropped: Vec<String> = Vec::new();
    for one in old {
        if !new.contains(one) && !dropped.contains(one) {
            dropped.push(one.clone());
        }
    }
    (!dropped.is_empty()).then_some(dropped)
}

/// Compares the requirements of a rule, and the audience.
pub(crate) fn of_requirements(
    (old_audience, old): (&str, &Requirements),
    (audience, new): (&str, &Requirements),
) -> Vec<Extra> {
    let scopes = dropped(&old.required_scopes, &new.required_scopes);
    let targets = dropped(&old.required_targets, &new.required_targets);
    let chain = dropped(&old.require_chain_contains, &new.require_chain_contains);
    let when = |is: bool, extra: Extra| is.then_some(extra);
    let all = [
        when(
            old_audience != audience,
            Extra::Audience {
                audience: audience.to_owned(),
                without: old_audience.to_owned(),
            },
        ),
        when(
            old.required_use != new.required_use,
            Extra::Use {
                token_use: new.required_use,
            },
        ),
        scopes.map(|scopes| Extra::WithoutScopes { scopes }),
        when(
            old.require_session && !new.require_session,
            Extra::WithoutSession,
        ),
        when(
            old.require_delegation && !new.require_delegation,
            Extra::WithoutDelegation,
        ),
        chain.map(|applications| Extra::WithoutInChain { applications }),
        raised(old.max_hop_count, new.max_hop_count).map(|(from, to)| Extra::Hops { from, to }),
        targets.map(|targets| Extra::WithoutTargets { targets }),
    ];
    all.into_iter().flatten().collect()
}

/// Compares what the configurations say about every mandate, whatever the request.
pub(crate) fn of_configurations(old: &Configuration, new: &Configuration) -> Vec<Extra> {
    let mut all = Vec::new();
    all.extend(gateway::of_gateway(old, new));
    all.extend(zones::of_zones(old, new));
    let mut algorithms = new.algorithms.clone();
    algorithms.retain(|one| !old.algorithms.contains(one));
    if !algorithms.is_empty() {
        all.push(Extra::Algorithms { algorithms });
    }
    if let Some((from_s, to_s)) = raised(old.clock_skew_s, new.clock_skew_s) {
        all.push(Extra::Ahead { from_s, to_s });
    }
    let limits = (&old.limits, &new.limits);
    if let Some(before) = limits.0.max_lifetime_s {
        let now = limits.1.max_lifetime_s;
        if now.is_none_or(|now| now > before) {
            let from_s = before.saturating_add(1);
            all.push(Extra::Lifetime { from_s, to_s: now });
        }
    }
    if let Some((from, to)) = raised(limits.0.max_token_bytes, limits.1.max_token_bytes) {
        all.push(Extra::TokenBytes { from, to });
    }
    let sendable = |one: &Configuration| -> Vec<String> {
        let forwarding = Forwarding::from(&one.forward);
        let words = forwarding.must_be_sendable().into_iter();
        words.map(str::to_owned).collect()
    };
    if let Some(claims) = dropped(&sendable(old), &sendable(new)) {
        all.push(Extra::Unsendable { claims });
    }
    match (&old.revocation, &new.revocation) {
        (Revocation::Feed(_), Revocation::Disabled(_)) => all.push(Extra::Revoked),
        (Revocation::Feed(before), Revocation::Feed(now)) => {
            let age = |feed: &Feed| feed.max_staleness_s;
            if let Some((from_s, to_s)) = raised(age(before), age(now)) {
                all.push(Extra::StateAge { from_s, to_s });
            }
            if let Some((from, to)) = raised(limits.0.max_anchors, limits.1.max_anchors) {
                all.push(Extra::Anchors { from, to });
            }
        }
        (Revocation::Disabled(_), _) => {}
    }
    all.extend(zones::of_key_sets(old, new));
    all
}

/// Differences that cannot be judged from the files alone.
pub(crate) fn not_compared(old: &Configuration, new: &Configuration) -> Vec<String> {
    let mut notes = zones::other_sources(old, new);
    if let (Revocation::Feed(before), Revocation::Feed(now)) = (&old.revocation, &new.revocation)
        && before.upstream != now.upstream
    {
        notes.push(format!(
            "revocation.upstream was {} and is {}: whether it knows the same revocations is not known here",
            shown(&before.upstream),
            shown(&now.upstream)
        ));
    }
    let waits = |c: &Configuration| (c.limits.max_paused, c.limits.pause_timeout_ms);
    if waits(old) != waits(new) {
        notes.push(
            "limits.max_paused and limits.pause_timeout_ms differ: they say how many requests wait for keys and for how long, and not which are admitted".to_owned(),
        );
    }
    notes
}
