//! What a verifier tells besides verdicts: what is in force, a resource's public document,
//! and what a challenge says. Nothing is decided by it.

use super::credential::Screened;
use super::verifier::Verifier;
use crate::metadata::Document;
use crate::readiness::is_asked;
use crate::reply::{Challenge, Refusal};
use crate::request::RequestView;
use crate::routing::resources::{Resources, RouteMatch};
use crate::token::cache::MandateCache;
use crate::zone::Zones;

impl Verifier {
    /// [`Verifier::screen_at`] for those who do not need the route of a refused request.
    ///
    /// # Errors As there.
    pub fn screen<'t>(
        &self,
        request: &RequestView<'t>,
        cache: &MandateCache,
    ) -> Result<Screened<'t>, Refusal> {
        self.screen_at(request, cache, &mut None)
    }

    /// The document that a request asks for, which is answered before anything is judged
    /// (RFC 9728).
    pub fn document(&self, request: &RequestView<'_>) -> Option<&Document> {
        self.public
            .documents
            .as_ref()?
            .find(request, &self.resources)
    }

    /// Whether a request asks if the edge is ready, which is answered before anything is
    /// judged.
    pub fn asks_readiness(&self, request: &RequestView<'_>) -> bool {
        let path = self.public.readiness_path.as_deref();
        path.is_some_and(|path| is_asked(path, request))
    }

    /// Every document.
    pub fn documents(&self) -> &[Document] {
        self.public.documents.as_ref().map_or(&[], |all| all.all())
    }

    /// What the challenge of a refusal says besides, if anything is configured, and the
    /// scopes of the operation.
    pub fn challenge(&self, matched: Option<RouteMatch>) -> Option<(&Challenge, &[String])> {
        let Some(matched) = matched else {
            return self.public.challenge.as_ref().map(|one| (one, &[][..]));
        };
        let (resource, required) = self.resources.required(matched)?;
        let challenge = resource.challenge.as_ref()?;
        Some((challenge, &required.required_scopes))
    }

    /// The zones in force.
    pub fn zones(&self) -> &Zones {
        &self.policy.zones
    }

    /// The resources in force.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }
}
