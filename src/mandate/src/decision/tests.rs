//! Decisions on real tokens, over time: what is remembered, for how long, and what each
//! kind of revocation state does. The vectors test the single rows.

mod forwarding;
mod gateway;
mod reasons;
mod zones;

use std::cell::Cell;

use serde_json::json;

use super::context::Context;
use super::verifier::{Credential, Missing, Screened, Verdict, Verifier};
use crate::config::Configuration;
use crate::jwks::algorithm::Algorithm;
use crate::jwks::key_set::KeySet;
use crate::jwks::signature::{PublicKey, PureRust, SignatureVerifier};
use crate::mint::{Key, configuration, key_set};
use crate::reply::ErrorCode;
use crate::request::RequestView;
use crate::revocation::{AnchorId, Availability, Disabled, RevocationView};
use crate::token::cache::MandateCache;

const NOW: u64 = 1_700_000_000;

/// A request with a token that names resources.
fn with_bearer<T>(
    token: &str,
    resources: &[&[u8]],
    use_it: impl FnOnce(&RequestView<'_>) -> T,
) -> T {
    let authorization = format!("Bearer {token}").into_bytes();
    use_it(&RequestView {
        target: Some(b"/"),
        authorization: &[&authorization],
        resource: resources,
        ..RequestView::default()
    })
}

/// Checks real signatures, and counts them.
#[derive(Default)]
struct Counted(Cell<u32>);

impl SignatureVerifier for Counted {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        self.0.set(self.0.get().saturating_add(1));
        PureRust.verify(key, message, signature)
    }
}

struct Edge {
    verifier: Verifier,
    cache: MandateCache,
    signatures: Counted,
}

impl Edge {
    fn new() -> Self {
        let document = configuration(json!({})).to_string();
        let configuration = Configuration::from_json(document.as_bytes(), &|_| None).unwrap();
        Edge {
            verifier: Verifier::from(&configuration),
            cache: MandateCache::new(10),
            signatures: Counted::default(),
        }
    }

    /// Screens a request with a token, as an owned value that can wait.
    fn screen(&self, token: &str) -> Credential<'static> {
        self.screen_for(token, &[])
    }

    /// The same of a request that names resources.
    fn screen_for(&self, token: &str, resources: &[&[u8]]) -> Credential<'static> {
        with_bearer(token, resources, |request| {
            match self.verifier.screen(request, &self.cache).unwrap() {
                Screened::Credential(credential) => credential.into_owned(),
                Screened::Excluded => panic!("nothing is excluded"),
            }
        })
    }

    fn decide(&mut self, credential: &Credential<'_>, keys: Option<&KeySet>) -> Verdict {
        self.decide_by(credential, keys, &Disabled)
    }

    fn decide_by(
        &mut self,
        credential: &Credential<'_>,
        keys: Option<&KeySet>,
        revocation: &dyn RevocationView,
    ) -> Verdict {
        let with = Context {
            keys,
            revocation,
            signatures: &self.signatures,
            now: NOW,
        };
        self.verifier.decide(credential, with, &mut self.cache)
    }

    fn judge(&mut self, token: &str, keys: &KeySet) -> Verdict {
        let credential = self.screen(token);
        self.decide(&credential, Some(keys))
    }

    fn verified(&self) -> u32 {
        self.signatures.0.get()
    }
}

fn keys(all: &[&Key]) -> KeySet {
    KeySet::parse(key_set(all).to_string().as_bytes(), &[Algorithm::Es256]).unwrap()
}

fn refused(verdict: &Verdict) -> Option<ErrorCode> {
    match verdict {
        Verdict::Refused(refusal, _) => Some(refusal.code()),
        _ => None,
    }
}

fn is_admitted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Admitted(_))
}

#[test]
fn a_mandate_is_verified_once_and_judged_each_time() {
    let (mut edge, key) = (Edge::new(), Key::new("k1", 1));
    let (token, keys) = (key.mandate(NOW, json!({})), keys(&[&key]));
    for _ in 0..3 {
        assert!(is_admitted(&edge.judge(&token, &keys)));
    }
    assert_eq!(edge.verified(), 1);
    let expired = key.mandate(NOW, json!({"exp": NOW}));
    for _ in 0..2 {
        let verdict = edge.judge(&expired, &keys);
        assert_eq!(refused(&verdict), Some(ErrorCode::InvalidToken));
    }
    assert_eq!(edge.verified(), 2);
}

#[test]
fn without_a_key_set_nothing_is_decided() {
    let (mut edge, key) = (Edge::new(), Key::new("k1", 1));
    let credential = edge.screen(&key.mandate(NOW, json!({})));
    let verdict = edge.decide(&credential, None);
    assert!(matches!(verdict, Verdict::NeedsKeySet(Missing::KeySet)));
    // Nor for a mandate that is known.
    let keys = keys(&[&key]);
    assert!(is_admitted(&edge.decide(&credential, Some(&keys))));
    let verdict = edge.decide(&credential, None);
    assert!(matches!(verdict, Verdict::NeedsKeySet(Missing::KeySet)));
}

#[test]
fn a_remembered_mandate_does_not_outlive_its_key() {
    let (mut edge, key) = (Edge::new(), Key::new("k1", 1));
    let token = key.mandate(NOW, json!({}));
    let (with, other) = (Key::new("k2", 2), Key::new("k1", 3));
    let (before, gone) = (keys(&[&key]), keys(&[&with]));
    assert!(is_admitted(&edge.judge(&token, &before)));
    let verdict = edge.judge(&token, &gone);
    assert!(matches!(verdict, Verdict::NeedsKeySet(Missing::Key)));
    // The kid comes back with another key, which must judge the token.
    let replaced = keys(&[&other]);
    let verdict = edge.judge(&token, &replaced);
    assert_eq!(refused(&verdict), Some(ErrorCode::InvalidToken));
    let both = keys(&[&other, &key]);
    assert!(is_admitted(&edge.judge(&token, &both)));
    // One by the first set, two without success, and one more was not needed.
    assert_eq!(edge.verified(), 2);
}

#[test]
fn one_that_waited_is_judged_by_the_keys_that_are_there_then() {
    let (mut edge, key) = (Edge::new(), Key::new("k1", 1));
    let token = key.mandate(NOW, json!({}));
    // All arrived before any was verified.
    let waiting = [
        edge.screen(&token),
        edge.screen(&token),
        edge.screen(&token),
    ];
    let (before, replaced) = (keys(&[&key]), keys(&[&Key::new("k1", 3)]));
    assert!(is_admitted(&edge.decide(&waiting[0], Some(&before))));
    assert!(is_admitted(&edge.decide(&waiting[1], Some(&before))));
    assert_eq!(edge.verified(), 1);
    let verdict = edge.decide(&waiting[2], Some(&replaced));
    assert_eq!(refused(&verdict), Some(ErrorCode::InvalidToken));
}

/// A revocation state, in any condition.
struct State {
    availability: Availability,
    revoked: Vec<AnchorId>,
    epoch: u64,
}

impl RevocationView for State {
    fn availability(&self) -> Availability {
        self.availability
    }

    fn is_revoked(&self, anchor: AnchorId) -> bool {
        self.revoked.contains(&anchor)
    }

    fn delegation_epoch(&self) -> u64 {
        self.epoch
    }
}

#[test]
fn what_the_revocation_state_says_is_the_end_of_every_decision() {
    let (mut edge, key) = (Edge::new(), Key::new("k1", 1));
    let token = key.mandate(
        NOW,
        json!({"agent_session_id": "agent-1", "delegation_edge_id": "edge-1", "delegation_graph_epoch": 7}),
    );
    let keys = keys(&[&key]);
    let state = |availability, revoked: &[&str], epoch| State {
        availability,
        revoked: revoked.iter().map(|anchor| AnchorId::of(anchor)).collect(),
        epoch,
    };
    let mut judge = |state: &State| {
        let credential = edge.screen(&token);
        edge.decide_by(&credential, Some(&keys), state)
    };
    let ready = Availability::Ready;
    assert!(is_admitted(&judge(&state(ready, &["other"], 7))));
    for anchor in ["sid-1", "root-1", "agent-1", "edge-1"] {
        let verdict = judge(&state(ready, &[anchor], 7));
        assert_eq!(
            refused(&verdict),
            Some(ErrorCode::SessionRevoked),
            "{anchor}"
        );
    }
    let verdict = judge(&state(ready, &[], 8));
    assert_eq!(refused(&verdict), Some(ErrorCode::DelegationStale));
    let verdict = judge(&state(Availability::Pending, &[], 7));
    assert!(matches!(verdict, Verdict::NeedsRevocations(_)));
    let verdict = judge(&state(Availability::Unavailable("too old"), &["sid-1"], 7));
    assert_eq!(refused(&verdict), Some(ErrorCode::StsUnavailable));
}
