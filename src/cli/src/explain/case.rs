//! What is judged, and the decision on it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_mandate::decision::context::Context;
use caracal_mandate::decision::explain::Trace;
use caracal_mandate::decision::verifier::Verifier;
use caracal_mandate::jwks::signature::PureRust;
use caracal_mandate::reply::Refusal;
use caracal_mandate::routing::resources::RouteMatch;
use caracal_mandate::token::bearer::bearer_token;
use caracal_mandate::token::cache::MandateCache;
use serde_json::Value;

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
    /// The token, unless claims were given instead.
    pub(crate) fn token(&self) -> Option<&[u8]> {
        match self.claims {
            Some(_) => None,
            None => bearer_token(&self.request.all("authorization")).ok(),
        }
    }

    /// A part of the token as JSON, read leniently. It is only shown, or says whose key set
    /// is asked, and never decides.
    pub(crate) fn part(&self, n: usize) -> Option<Value> {
        let part = self.token()?.split(|b| *b == b'.').nth(n)?;
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        let value = serde_json::from_slice::<Value>(&bytes).ok();
        value.filter(Value::is_object)
    }

    /// The payload, or the claims that were given instead.
    pub(crate) fn payload(&self) -> Option<Value> {
        let payload = match &self.claims {
            Some(claims) => serde_json::from_slice(claims).ok(),
            None => self.part(1),
        };
        payload.filter(Value::is_object)
    }

    /// The route by which the edge challenges. It is known before all that [`Trace`] tells
    /// of a route has passed.
    pub(crate) fn route(&self) -> Option<RouteMatch> {
        let (resource, authorization) = (
            self.request.all("x-caracal-resource"),
            self.request.all("authorization"),
        );
        let mcp = self.request.mcp();
        let view = self.request.view(&resource, &authorization, &mcp);
        let mut at = None;
        // The verdict is the trace's.
        let _: Result<_, Refusal> = self
            .verifier
            .screen_at(&view, &MandateCache::new(0), &mut at);
        at
    }

    pub(crate) fn trace(&self, keys: Option<&Keys>, revocations: &Revocations) -> Trace {
        let (resource, authorization) = (
            self.request.all("x-caracal-resource"),
            self.request.all("authorization"),
        );
        let mcp = self.request.mcp();
        let view = self.request.view(&resource, &authorization, &mcp);
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
