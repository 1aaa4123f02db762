//! What a verifier tells besides verdicts: what is in force, a resource's public document,
//! and what a challenge says. Nothing is decided by it.

use super::credential::Screened;
use super::verifier::Verifier;
use crate::metadata::Document;
use crate::readiness::is_asked;
use crate::reply::{Challenge, Refusal};
use crate::request::RequestView;
use crate::routing::resources::{InShadow, Resources, RouteMatch};
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

    /// How much is in shadow.
    pub fn in_shadow(&self) -> InShadow {
        self.in_shadow
    }

    /// Whether a request is in shadow: if it is refused, it goes on all the same. Of one
    /// whose rule is not known that holds only if no rule is enforced. Otherwise a path that
    /// nobody can read would lead around the rules that are.
    #[inline]
    pub fn is_in_shadow(&self, matched: Option<RouteMatch>) -> bool {
        self.in_shadow != InShadow::Nothing && self.is_under_shadow(matched)
    }

    #[cold]
    #[inline(never)]
    fn is_under_shadow(&self, matched: Option<RouteMatch>) -> bool {
        let rule_is = |matched: RouteMatch| {
            let resource = self.resources.get(matched.resource);
            resource.is_some_and(|one| one.rules.is_in_shadow(matched.rule))
        };
        match self.in_shadow {
            InShadow::Nothing => false,
            InShadow::Everything => true,
            InShadow::Parts => matched.is_some_and(rule_is),
        }
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
