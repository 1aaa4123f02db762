//! What is judged, and the decision on it.

use caracal_mandate::decision::context::Context;
use caracal_mandate::decision::explain::Trace;
use caracal_mandate::decision::verifier::Verifier;
use caracal_mandate::jwks::signature::PureRust;

use super::dependencies::{Keys, Revocations};
use super::request::Request;

/// What is judged.
pub(crate) struct Case {
    pub(crate) verifier: Verifier,
    pub(crate) at: u64,
    pub(crate) request: Request,
    pub(crate) claims: Option<Vec<u8>>,
}

impl Case {
    pub(crate) fn trace(&self, keys: Option<&Keys>, revocations: &Revocations) -> Trace {
        let (resource, authorization) = (
            self.request.all("x-caracal-resource"),
            self.request.all("authorization"),
        );
        let view = self.request.view(&resource, &authorization);
        let with = Context {
            keys: keys.and_then(|keys| keys.set.as_ref().ok()),
            revocation: revocations,
            signatures: &PureRust,
            now: self.at,
        };
        match &self.claims {
            Some(claims) => self.verifier.trace_claims(&view, claims, with),
            None => self.verifier.trace(&view, with),
        }
    }
}
