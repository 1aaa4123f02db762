//! The vectors, put to the core natively.

use caracal_mandate::cache::MandateCache;
use caracal_mandate::config::Configuration;
use caracal_mandate::decide::{Context, Missing, RequestView, Screened, Verdict, Verifier};
use caracal_mandate::keys::KeySet;
use caracal_mandate::refusal::Refusal;
use caracal_mandate::revocation::{AnchorId, Availability, RevocationView};
use caracal_mandate::signature::PureRust;
use caracal_tests::conformance::{self, Case, File, Observed, Report, Revocation};

fn main() {
    let mut report = Report::new("native");
    for (_, file) in conformance::load() {
        for case in &file.cases {
            report.add(case, &observe(&file, case));
        }
    }
    report.finish();
}

fn observe(file: &File, case: &Case) -> Observed {
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
    };
    let refused = |refusal: Refusal| Observed {
        status: refusal.code().http_status(),
        error: Some(refusal.code().as_str().to_owned()),
    };
    let mut cache = MandateCache::new(1);
    let credential = match verifier.screen(&view, &cache) {
        Ok(Screened::Credential(credential)) => credential,
        Ok(Screened::Excluded) => return Observed::admitted(),
        Err(refusal) => return refused(refusal),
    };
    let answer = &file.key_sets[&case.key_set];
    let keys = KeySet::parse(&answer.body(), &configuration.algorithms).ok();
    let context = Context {
        keys: keys.as_ref().filter(|_| answer.status == 200),
        revocation: &View {
            state: file.revocation.as_ref(),
            zone: &configuration.zone_id,
        },
        signatures: &PureRust,
        now: file.now,
    };
    match verifier.decide(&credential, context, &mut cache) {
        Verdict::Admitted(_) => Observed::admitted(),
        Verdict::Refused(refusal, _) => refused(refusal),
        // Another fetch brings the same answer, so this is the last word.
        Verdict::NeedsKeySet(Missing::KeySet) => refused(Refusal::unavailable("no key set")),
        Verdict::NeedsKeySet(Missing::Key) => refused(Verifier::unknown_key()),
        Verdict::NeedsRevocations => unreachable!("the state is there"),
    }
}

/// A file's revocation state; without one nothing is revoked.
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
