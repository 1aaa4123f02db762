//! The conformance vectors, run against the core natively: every row of the contract, in
//! seconds.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unreachable,
    clippy::exit,
    clippy::print_stdout,
    reason = "a test, which is a program of its own"
)]

#[path = "../../../tests/conformance/mod.rs"]
mod conformance;

use caracal_mandate::config::Configuration;
use caracal_mandate::decision::context::Context;
use caracal_mandate::decision::explain::{Check, Outcome, TokenCheck, Trace, Traced};
use caracal_mandate::decision::verifier::{Missing, Screened, Verdict, Verifier};
use caracal_mandate::jwks::key_set::KeySet;
use caracal_mandate::jwks::signature::PureRust;
use caracal_mandate::reply::{ErrorCode, Reason, Refusal};
use caracal_mandate::request::RequestView;
use caracal_mandate::revocation::{AnchorId, Availability, RevocationView};
use caracal_mandate::token::cache::MandateCache;
use conformance::{Case, File, Observed, Report, Revocation};

fn main() {
    let mut report = Report::new("native");
    for (_, file) in conformance::load() {
        for case in &file.cases {
            observe(&file, case, &mut report);
        }
    }
    report.finish();
}

fn observe(file: &File, case: &Case, report: &mut Report) {
    let document =
        conformance::complete(&file.configs[&case.config], "sts", file.revocation.as_ref());
    let configuration = Configuration::from_json(&document, &|_| None).unwrap();
    let verifier = Verifier::from(&configuration);
    let headers = case.request.headers();
    let all = |name: &str| -> Vec<&[u8]> {
        let named = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    };
    let (authorization, resource) = (all("authorization"), all("x-caracal-resource"));
    let view = RequestView {
        method: Some(case.request.method.as_bytes()),
        target: Some(case.request.path.as_bytes()),
        authority: Some(all("host").first().copied().unwrap_or(b"edge.test")),
        resource: &resource,
        authorization: &authorization,
        names_client: false,
        lists_end_to_end: false,
        mcp: None,
    };
    let answer = &file.key_sets[&case.key_set];
    let keys = KeySet::parse(&answer.body(), &configuration.algorithms).ok();
    let context = Context {
        keys: keys.as_ref().filter(|_| answer.status == 200),
        revocation: &View {
            state: file.revocation.as_ref(),
            zone: configuration.zone_id.as_deref().unwrap_or_default(),
        },
        signatures: &PureRust,
        now: file.now,
    };
    let trace = verifier.trace(&view, context);
    let mut cache = MandateCache::new(1);
    let verdict = match verifier.screen(&view, &cache) {
        Ok(Screened::Excluded) => Traced::Excluded,
        Err(refusal) => Traced::Refused(refusal),
        Ok(Screened::Credential(credential)) => {
            match verifier.decide(&credential, context, &mut cache) {
                Verdict::Admitted(_) => Traced::Admitted,
                Verdict::Refused(refusal, _) => Traced::Refused(refusal),
                // Another fetch brings the same answer, so this is the final verdict.
                Verdict::NeedsKeySet(Missing::KeySet) => {
                    let refusal = Refusal::unavailable("The zone's key set cannot be fetched");
                    Traced::Refused(refusal.because(Reason::KeySet))
                }
                Verdict::NeedsKeySet(Missing::Key) => Traced::Refused(Verifier::unknown_key()),
                Verdict::NeedsRevocations(_) => unreachable!("the state is there"),
            }
        }
    };
    if let Some(what) = contradiction(&trace, &verdict) {
        report.wrong(case, &what);
    }
    let observed = match verdict {
        Traced::Refused(refusal) => Observed {
            status: refusal.code().http_status(),
            error: Some(refusal.code().as_str().to_owned()),
        },
        _ => Observed::admitted(),
    };
    report.add(case, &observed);
}

/// What is wrong with an explanation: its verdict differs from the decision's, or its
/// checks contradict it.
fn contradiction(trace: &Trace, verdict: &Traced) -> Option<String> {
    if trace.verdict != *verdict {
        return Some(format!("explained as {:?}", trace.verdict));
    }
    if !trace
        .checks
        .iter()
        .map(|(check, _)| *check)
        .eq(Check::all(false, false, false))
    {
        return Some("not every check is explained".to_owned());
    }
    let decided = trace
        .checks
        .iter()
        .position(|(_, outcome)| !matches!(outcome, Outcome::Passed));
    let after = decided.map_or(0, |at| {
        at + usize::from(!matches!(verdict, Traced::Excluded))
    });
    let rest = &trace.checks[if decided.is_some() {
        after
    } else {
        trace.checks.len()
    }..];
    if rest
        .iter()
        .any(|(_, outcome)| !matches!(outcome, Outcome::NotReached(_)))
    {
        return Some("a check behind the verdict was made".to_owned());
    }
    match (verdict, decided.map(|at| &trace.checks[at])) {
        (Traced::Admitted, None) => None,
        (Traced::Excluded, Some((Check::Token(TokenCheck::Method), _))) => None,
        (Traced::Refused(refusal), Some((check, Outcome::Failed(why)))) => {
            let same = refusal.description().ends_with(why.as_str());
            let row = rows(refusal.code()).contains(&check.row());
            (!same || !row).then(|| format!("{check:?} fails: {why}"))
        }
        (_, other) => Some(format!("{other:?} decides")),
    }
}

/// The rows of the contract that answer with a code.
fn rows(code: ErrorCode) -> &'static [u8] {
    match code {
        ErrorCode::InvalidRequest => &[0],
        ErrorCode::MissingToken => &[2],
        ErrorCode::InvalidToken => &[2, 3, 6, 10, 11, 12, 14],
        ErrorCode::InvalidZone => &[4],
        ErrorCode::InsufficientScope => &[5],
        ErrorCode::SessionRequired => &[7],
        ErrorCode::DelegationRequired => &[8],
        ErrorCode::ChainMismatch => &[9],
        ErrorCode::HopCountExceeded => &[10],
        ErrorCode::SessionRevoked => &[12],
        ErrorCode::DelegationStale => &[13],
        ErrorCode::StsUnavailable => &[3, 12],
        // The vectors are of connector mode.
        _ => &[],
    }
}

/// A file's revocation state. Without one, nothing is revoked.
struct View<'a> {
    state: Option<&'a Revocation>,
    zone: &'a str,
}

impl RevocationView for View<'_> {
    fn availability(&self) -> Availability {
        Availability::Ready
    }

    fn is_revoked(&self, anchor: AnchorId) -> bool {
        let revoked = self.state.map_or(&[][..], |state| &state.anchors);
        revoked.iter().any(|one| AnchorId::of(one) == anchor)
    }

    fn delegation_epoch(&self) -> u64 {
        let epochs = self.state.map(|state| &state.epochs);
        epochs
            .and_then(|epochs| epochs.get(self.zone))
            .copied()
            .unwrap_or(0)
    }
}
