//! The decision: the contract's order of checks, as a pure function with a name for each
//! outcome. The filter handles waiting, timeouts and replies. Every rule is in this
//! crate.

use std::borrow::Cow;
use std::rc::Rc;

use super::checks::{self, Facts};
use super::context::{Context, TokenPolicy};
use super::credential::Token;
pub use super::credential::{Credential, Screened};
pub use super::gateway::listed_end_to_end;
use super::gateway::said_of_headers;
use super::public_settings::PublicSettings;
use super::stop::Stop;
use crate::config::Configuration;
use crate::jwks::key_set::KeySet;
use crate::jwks::signature::SignatureVerifier;
use crate::mcp::rule::unlisted;
use crate::reply::{ErrorCode, Refusal};
use crate::request::RequestView;
use crate::routing::path::only_reading;
use crate::routing::resources::{InShadow, ResourceId, Resources, RouteMatch};
use crate::routing::routes::RuleId;
use crate::token::bearer::bearer_token;
use crate::token::cache::MandateCache;
use crate::token::claims::{Claims, InvalidClaims};
use crate::token::fingerprint::Fingerprint;
use crate::token::jws::{InvalidJws, TokenLimits, UnverifiedMandate};
use crate::token::mandate::{self, InvalidMandate, Mandate};
use crate::zone::ZoneIndex;

/// Why a decision has to wait for the key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// There is no usable key set.
    KeySet,
    /// The key set has no key with the token's `kid`.
    Key,
}

/// The outcome of a decision.
#[derive(Debug)]
pub enum Verdict {
    /// Continue, for this principal.
    Admitted(Rc<Mandate>),
    /// Refuse. The mandate is included when its signature was good but a later check
    /// failed.
    Refused(Refusal, Option<Rc<Mandate>>),
    /// A newer key set may change the decision. The caller knows what to do.
    NeedsKeySet(Missing),
    /// The mandate is good, but its revocation state is still being read.
    NeedsRevocations(Rc<Mandate>),
}

/// Judges requests under one configuration.
#[derive(Debug)]
pub struct Verifier {
    pub(crate) policy: TokenPolicy,
    pub(super) resources: Resources,
    pub(super) public: PublicSettings,
    /// Whether any route has rules of MCP.
    pub(super) has_mcp: bool,
    /// How much is in shadow.
    pub(super) in_shadow: InShadow,
}

impl From<&Configuration> for Verifier {
    fn from(configuration: &Configuration) -> Self {
        let resources = configuration.in_force();
        Verifier {
            policy: TokenPolicy::from(configuration),
            public: PublicSettings::new(configuration, &resources),
            has_mcp: resources.have_mcp(),
            in_shadow: resources.in_shadow(),
            resources,
        }
    }
}

impl Verifier {
    /// Makes the checks that need no dependency. A token that `cache` knows is not read
    /// again: the configuration is the same. `at` gets the route once it is known.
    ///
    /// # Errors 400 or 401, by rows 0, 2 and 3.
    pub fn screen_at<'t>(
        &self,
        request: &RequestView<'t>,
        cache: &MandateCache,
        at: &mut Option<RouteMatch>,
    ) -> Result<Screened<'t>, Refusal> {
        let mut matched = match self.resources.match_route(request) {
            Ok(matched) => matched,
            Err(refusal) => return Err(self.first_refusal(request, refusal)),
        };
        *at = Some(matched);
        if self.has_mcp {
            matched = self.match_mcp(request, matched, at)?;
        }
        if let RuleId::Excluded(_) = matched.rule {
            return Ok(Screened::Excluded);
        }
        if self.policy.min_remaining_s.is_some()
            && let Err(why) = only_reading(request.target)
        {
            return Err(Refusal::new(ErrorCode::InvalidRequest, why.to_string()));
        }
        let token = bearer_token(request.authorization)?;
        if self.policy.min_remaining_s.is_some() {
            self.check_named(request, matched.resource)?;
        }
        // Checked before the digest is computed, so that a token that is too long costs
        // nothing.
        if token.len() > self.policy.max_token_bytes {
            return Err(Refusal::from(InvalidJws::TooLong));
        }
        if let Some(mandate) = cache.get(token) {
            return Ok(Screened::Credential(Credential {
                matched,
                zone: self.zone_of(matched.resource, mandate.claims()),
                fingerprint: mandate.fingerprint(),
                token: Token::Known(Cow::Borrowed(token), Rc::clone(mandate)),
            }));
        }
        let unverified = self.read(token).map_err(Refusal::from)?;
        let zone = self.zone_named(matched.resource, &unverified)?;
        Ok(Screened::Credential(Credential {
            matched,
            zone,
            fingerprint: Fingerprint::of(token),
            token: Token::New(unverified),
        }))
    }

    /// The zone that judges a mandate. It is known before the key set of any zone is
    /// needed, so a mandate of another zone costs no fetch.
    pub(super) fn zone_of(&self, resource: ResourceId, claims: &Claims) -> Option<ZoneIndex> {
        match self.policy.zones.are_chosen() {
            false => Some(ZoneIndex::FIRST),
            true => self.chosen_zone(resource, claims.zone_id.as_deref()),
        }
    }

    #[cold]
    fn chosen_zone(&self, resource: ResourceId, id: Option<&str>) -> Option<ZoneIndex> {
        let zone = self.policy.zones.find(id?)?;
        let zones = self.resources.get(resource)?.zones;
        zones.contains(zone).then_some(zone)
    }

    /// The zone that judges a token: the one that it names, which nothing has verified, or
    /// the only one. It decides which key set must verify the token, and nothing else.
    ///
    /// # Errors The payload is no JSON object (row 3).
    pub(super) fn zone_named(
        &self,
        resource: ResourceId,
        token: &UnverifiedMandate,
    ) -> Result<Option<ZoneIndex>, Refusal> {
        match self.policy.zones.are_chosen() {
            false => Ok(Some(ZoneIndex::FIRST)),
            true => self.read_zone(resource, token),
        }
    }

    #[cold]
    fn read_zone(
        &self,
        resource: ResourceId,
        token: &UnverifiedMandate,
    ) -> Result<Option<ZoneIndex>, Refusal> {
        let id = token.zone_id();
        let id = id.map_err(|why| InvalidMandate::Claims(InvalidClaims::Json(why)))?;
        Ok(self.chosen_zone(resource, id.as_deref()))
    }

    /// The refusal of a request that matches no route. In Gateway mode the path comes
    /// before the bearer, and the bearer before the resource (rows G0 and G2).
    #[cold]
    pub(super) fn first_refusal(&self, request: &RequestView<'_>, refusal: Refusal) -> Refusal {
        if self.policy.min_remaining_s.is_none() {
            return refusal;
        }
        if let Err(why) = only_reading(request.target) {
            return Refusal::new(ErrorCode::InvalidRequest, why.to_string());
        }
        match bearer_token(request.authorization) {
            Err(missing) => missing,
            Ok(_) => self.gateway_refusal(request, refusal),
        }
    }

    /// Gateway mode: a request says nothing about the client, keeps its headers, and names
    /// its resource unless the host does (row G2).
    #[cold]
    fn check_named(&self, request: &RequestView<'_>, resource: ResourceId) -> Result<(), Refusal> {
        if let Some(refusal) = said_of_headers(request) {
            return Err(refusal);
        }
        Ok(self.resources.check_named(resource, request.resource)?)
    }

    /// The same once there is a bearer.
    pub(super) fn gateway_refusal(&self, request: &RequestView<'_>, refusal: Refusal) -> Refusal {
        if let Some(refusal) = said_of_headers(request) {
            return refusal;
        }
        if self.resources.is_unknown(request.resource) {
            let what = "X-Caracal-Resource names no resource that is protected here";
            return Refusal::new(ErrorCode::AccessDenied, what);
        }
        refusal
    }

    fn read(&self, token: &[u8]) -> Result<UnverifiedMandate, InvalidJws> {
        let limits = TokenLimits {
            max_bytes: self.policy.max_token_bytes,
            algorithms: &self.policy.algorithms,
        };
        UnverifiedMandate::parse(token, limits)
    }

    /// Makes the rest of row 3, and rows 4 to 13.
    pub fn decide(
        &self,
        credential: &Credential<'_>,
        with: Context<'_>,
        cache: &mut MandateCache,
    ) -> Verdict {
        let mandate = match (credential.zone, with.keys) {
            (None, _) => Err(Verdict::Refused(checks::other_zone(), None)),
            (Some(_), None) => Err(Verdict::NeedsKeySet(Missing::KeySet)),
            (Some(zone), Some(keys)) => self
                .mandate(credential, keys, with.signatures, cache)
                .map(|mandate| (mandate, zone)),
        };
        let (mandate, zone) = match mandate {
            Ok(mandate) => mandate,
            Err(verdict) => return self.unless_expiring(credential, with.now, verdict),
        };
        let least_s = self.policy.min_remaining_s;
        self.verdict(mandate, zone, least_s, credential.matched, with)
    }

    fn verdict(
        &self,
        mandate: Rc<Mandate>,
        zone: ZoneIndex,
        least_s: Option<u64>,
        matched: RouteMatch,
        with: Context<'_>,
    ) -> Verdict {
        match self.judge(&mandate, zone, least_s, matched, with) {
            Ok(()) => Verdict::Admitted(mandate),
            Err(Stop::Refuse(refusal)) => Verdict::Refused(refusal, Some(mandate)),
            Err(Stop::NeedsRevocations) => Verdict::NeedsRevocations(mandate),
        }
    }

    /// The verdict on a token that has not verified. In Gateway mode one that says of
    /// itself that it ends too soon is refused for that, which comes first (row G3). An
    /// unverified claim admits nothing here: it only names the reason.
    #[cold]
    fn unless_expiring(&self, credential: &Credential<'_>, now: u64, verdict: Verdict) -> Verdict {
        let Some(least_s) = self.policy.min_remaining_s else {
            return verdict;
        };
        let expires_at = match &credential.token {
            Token::New(token) => token.expires_at(),
            Token::Known(_, mandate) => Some(mandate.claims().exp),
        };
        match expires_at {
            Some(exp) if !checks::lasts(exp, now, least_s) => {
                Verdict::Refused(checks::expiring(), None)
            }
            _ => verdict,
        }
    }

    /// Judges a mandate once more that was admitted, after a wait: what may have changed
    /// is the time, the key set and what is revoked. The context is that of
    /// [`Verifier::zone_again`].
    pub fn decide_again(
        &self,
        mandate: &Rc<Mandate>,
        matched: RouteMatch,
        with: Context<'_>,
    ) -> Verdict {
        let Some(zone) = self.zone_of(matched.resource, mandate.claims()) else {
            return Verdict::Refused(checks::other_zone(), Some(Rc::clone(mandate)));
        };
        match with.keys {
            None => return Verdict::NeedsKeySet(Missing::KeySet),
            Some(keys) if !mandate.key_is_in(keys) => {
                return Verdict::Refused(Verifier::unknown_key(), Some(Rc::clone(mandate)));
            }
            Some(_) => {}
        }
        // The exchange is done: it is enough that the mandate is still valid.
        let least_s = self.policy.min_remaining_s.map(|least_s| least_s.min(1));
        self.verdict(Rc::clone(mandate), zone, least_s, matched, with)
    }

    /// The zone of a mandate that is judged once more.
    pub fn zone_again(&self, mandate: &Mandate, matched: RouteMatch) -> Option<ZoneIndex> {
        self.zone_of(matched.resource, mandate.claims())
    }

    /// The verified mandate of a credential. It is taken from the cache if the key that
    /// verified it is still in the key set. Otherwise it is verified now.
    fn mandate(
        &self,
        credential: &Credential<'_>,
        keys: &KeySet,
        signatures: &dyn SignatureVerifier,
        cache: &mut MandateCache,
    ) -> Result<Rc<Mandate>, Verdict> {
        let again;
        let token = match &credential.token {
            Token::Known(_, mandate) if mandate.key_is_in(keys) => return Ok(Rc::clone(mandate)),
            // Its key has gone, or its `kid` has another key now, which must judge it.
            Token::Known(token, _) => {
                again = self
                    .read(token)
                    .map_err(|why| Verdict::Refused(why.into(), None))?;
                &again
            }
            Token::New(token) => match cache.get(token.as_bytes()) {
                // While it waited, another request with the same token was verified.
                Some(known) if known.key_is_in(keys) => return Ok(Rc::clone(known)),
                _ => token,
            },
        };
        match mandate::verify(token, credential.fingerprint, keys, signatures) {
            Ok(mandate) => {
                let sent = self.policy.forwarding.sent(mandate.claims(), token);
                let mandate = Rc::new(mandate.with_sent(sent));
                cache.insert(token.as_bytes(), &mandate);
                Ok(mandate)
            }
            Err(InvalidMandate::UnknownKey) => Err(Verdict::NeedsKeySet(Missing::Key)),
            Err(why) => Err(Verdict::Refused(why.into(), None)),
        }
    }

    /// The refusal of a token whose key is in no fetched key set.
    pub fn unknown_key() -> Refusal {
        InvalidMandate::UnknownKey.into()
    }

    fn judge(
        &self,
        mandate: &Mandate,
        zone: ZoneIndex,
        least_s: Option<u64>,
        matched: RouteMatch,
        with: Context<'_>,
    ) -> Result<(), Stop> {
        // There is a credential only if the route verifies.
        let listed = self.resources.required(matched);
        let required = listed.or_else(|| self.resources.required_of_unlisted(matched));
        let Some((resource, required)) = required else {
            return Err(Refusal::new(ErrorCode::InvalidRequest, "The request has no rule").into());
        };
        let Some(zone) = self.policy.zones.get(zone) else {
            return Err(checks::other_zone().into());
        };
        checks::judge(&Facts {
            policy: &self.policy,
            zone,
            least_s,
            claims: mandate.claims(),
            anchors: mandate.anchors(),
            unsendable: mandate.sent().unsendable,
            audience: self.policy.audience_of(zone, resource),
            resource: &resource.id,
            required,
            with,
        })?;
        match listed {
            Some(_) => Ok(()),
            None => Err(unlisted().into()),
        }
    }
}
