//! The decision: the contract's order of checks, as a pure function with a name
//! for each outcome. The adapter owns waiting, timeouts and replies; every rule
//! is in here.

use std::borrow::Cow;
use std::rc::Rc;

use crate::cache::MandateCache;
use crate::claims::{Claims, InvalidClaim};
use crate::config::Configuration;
use crate::jws::{self, InvalidJws, TokenLimits, UnverifiedMandate};
use crate::keys::{Algorithm, KeySet};
use crate::mandate::{self, Fingerprint, InvalidMandate, Mandate};
use crate::refusal::{ErrorCode, Refusal};
use crate::requirements::{Requirements, RuleId};
use crate::resources::{Place, ResourceId, Resources};
use crate::revocation::{AnchorId, Availability, RevocationView};
use crate::signature::SignatureVerifier;

/// What of a request is read before its mandate is. All of it is the client's word,
/// as it was received: before reserved headers are removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestView<'t> {
    /// The method (`:method`).
    pub method: Option<&'t [u8]>,
    /// The request target (`:path`), with its query.
    pub target: Option<&'t [u8]>,
    /// Host and port (`:authority`).
    pub authority: Option<&'t [u8]>,
    /// The value of every `X-Caracal-Resource` header.
    pub resource: &'t [&'t [u8]],
    /// The value of every `Authorization` header.
    pub authorization: &'t [&'t [u8]],
}

/// What can be said of a request without any dependency (rows 0 to 2 and the
/// unsigned part of row 3).
#[derive(Debug)]
pub enum Screened<'t> {
    /// Under an excluded prefix: continue unverified.
    Excluded,
    /// It carries a token that the zone's keys have to judge.
    Credential(Credential<'t>),
}

/// A token that may be a mandate, and the place of the request that carries it.
pub struct Credential<'t> {
    place: Place,
    fingerprint: Fingerprint,
    token: Token<'t>,
}

enum Token<'t> {
    /// Verified before, and its unsigned part read then: it reads the same today.
    Known(Cow<'t, [u8]>, Rc<Mandate>),
    New(UnverifiedMandate),
}

impl Credential<'_> {
    /// The token's fingerprint, verified or not.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The resource that the request is for.
    pub fn resource(&self) -> ResourceId {
        self.place.resource
    }

    /// The same, for longer than the request's headers last.
    pub fn into_owned(self) -> Credential<'static> {
        Credential {
            place: self.place,
            fingerprint: self.fingerprint,
            token: match self.token {
                Token::Known(token, mandate) => {
                    Token::Known(Cow::Owned(token.into_owned()), mandate)
                }
                Token::New(token) => Token::New(token),
            },
        }
    }
}

/// Without the token: a debug print must not leak a credential.
impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("place", &self.place)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Why a decision has to wait for the key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// There is no usable key set.
    KeySet,
    /// The key set has no key of the token's `kid`.
    Key,
}

/// The outcome of a decision.
#[derive(Debug)]
pub enum Verdict {
    /// Continue, for this principal.
    Admitted(Rc<Mandate>),
    /// Refuse. The mandate is there when it verified and its authority did not do.
    Refused(Refusal, Option<Rc<Mandate>>),
    /// A newer key set may decide otherwise; what to do is the adapter's to know.
    NeedsKeySet(Missing),
    /// The mandate is good but for its revocation, and that state is being read.
    NeedsRevocations,
}

/// What a decision depends on, besides the request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The zone's key set, if there is a usable one.
    pub keys: Option<&'a KeySet>,
    /// The revocation state.
    pub revocation: &'a dyn RevocationView,
    /// Checks signatures.
    pub signatures: &'a dyn SignatureVerifier,
    /// Unix time in whole seconds, floored.
    pub now: u64,
}

/// Judges requests by one configuration.
#[derive(Debug)]
pub struct Verifier {
    issuer: String,
    zone_id: String,
    algorithms: Vec<Algorithm>,
    clock_skew_s: u64,
    max_token_bytes: usize,
    resources: Resources,
}

impl From<&Configuration> for Verifier {
    fn from(configuration: &Configuration) -> Self {
        Verifier {
            issuer: configuration.issuer.clone(),
            zone_id: configuration.zone_id.clone(),
            algorithms: configuration.algorithms.clone(),
            clock_skew_s: configuration.clock_skew_s,
            max_token_bytes: usize::try_from(configuration.limits.max_token_bytes).unwrap_or(0),
            resources: configuration.in_force(),
        }
    }
}

impl Verifier {
    /// Judges what needs no dependency. A token that `cache` knows is not read
    /// again: it was read under the same configuration.
    ///
    /// # Errors
    /// 400 or 401, by rows 0, 2 and 3.
    pub fn screen<'t>(
        &self,
        request: &RequestView<'t>,
        cache: &MandateCache,
    ) -> Result<Screened<'t>, Refusal> {
        let Some(place) = self.place(request)? else {
            return Ok(Screened::Excluded);
        };
        let token = jws::bearer_token(request.authorization)?;
        // Before it is digested: what is too long costs nothing.
        if token.len() > self.max_token_bytes {
            return Err(Refusal::invalid_token(InvalidJws::TooLong));
        }
        if let Some(mandate) = cache.get(token) {
            return Ok(Screened::Credential(Credential {
                place,
                fingerprint: mandate.fingerprint(),
                token: Token::Known(Cow::Borrowed(token), Rc::clone(mandate)),
            }));
        }
        let unverified = self.read(token).map_err(Refusal::invalid_token)?;
        Ok(Screened::Credential(Credential {
            place,
            fingerprint: Fingerprint::of(token),
            token: Token::New(unverified),
        }))
    }

    /// Where a request stands: resource, then path, then method. `None` where it is
    /// excluded, which a resource decides for itself.
    fn place(&self, request: &RequestView<'_>) -> Result<Option<Place>, Refusal> {
        let resource = self
            .resources
            .choose(request.authority, request.resource)
            .map_err(Refusal::invalid_choice)?;
        let Some(rules) = self.resources.get(resource).map(|one| &one.rules) else {
            return Err(Refusal::unavailable("The edge has no such resource"));
        };
        let invalid =
            |why: &dyn std::fmt::Display| Refusal::new(ErrorCode::InvalidRequest, why.to_string());
        let rule = rules.find(request.target).map_err(|why| invalid(&why))?;
        if let RuleId::Excluded(_) = rule {
            return Ok(None);
        }
        let method = rules
            .method(rule, request.method)
            .map_err(Refusal::invalid_method)?;
        Ok(Some(Place {
            resource,
            rule,
            method,
        }))
    }

    fn read(&self, token: &[u8]) -> Result<UnverifiedMandate, InvalidJws> {
        let limits = TokenLimits {
            max_bytes: self.max_token_bytes,
            algorithms: &self.algorithms,
        };
        UnverifiedMandate::parse(token, limits)
    }

    /// Judges the rest of row 3, and rows 4 to 13.
    pub fn decide(
        &self,
        credential: &Credential<'_>,
        with: Context<'_>,
        cache: &mut MandateCache,
    ) -> Verdict {
        let Some(keys) = with.keys else {
            return Verdict::NeedsKeySet(Missing::KeySet);
        };
        let mandate = match self.mandate(credential, keys, with.signatures, cache) {
            Ok(mandate) => mandate,
            Err(verdict) => return verdict,
        };
        match self.judge(&mandate, credential.place, with) {
            Ok(()) => Verdict::Admitted(mandate),
            Err(Stop::Refuse(refusal)) => Verdict::Refused(refusal, Some(mandate)),
            Err(Stop::NeedsRevocations) => Verdict::NeedsRevocations,
        }
    }

    /// The verified mandate of a credential: known, if the very key that verified
    /// it is still in the key set, or verified now.
    fn mandate(
        &self,
        credential: &Credential<'_>,
        keys: &KeySet,
        signatures: &dyn SignatureVerifier,
        cache: &mut MandateCache,
    ) -> Result<Rc<Mandate>, Verdict> {
        let refuse =
            |why: &dyn std::fmt::Display| Verdict::Refused(Refusal::invalid_token(why), None);
        let again;
        let token = match &credential.token {
            Token::Known(_, mandate) if mandate.key_is_in(keys) => return Ok(Rc::clone(mandate)),
            // Its key has gone, or its kid has another one: that one judges.
            Token::Known(token, _) => {
                again = self.read(token).map_err(|why| refuse(&why))?;
                &again
            }
            Token::New(token) => match cache.get(token.as_bytes()) {
                // It waited, and another request brought the same token meanwhile.
                Some(known) if known.key_is_in(keys) => return Ok(Rc::clone(known)),
                _ => token,
            },
        };
        match mandate::verify(token, credential.fingerprint, keys, signatures) {
            Ok(mandate) => {
                let mandate = Rc::new(mandate);
                cache.insert(token.as_bytes(), &mandate);
                Ok(mandate)
            }
            Err(InvalidMandate::UnknownKey) => Err(Verdict::NeedsKeySet(Missing::Key)),
            Err(why) => Err(refuse(&why)),
        }
    }

    /// The refusal of a token whose key no fetch has brought.
    pub fn unknown_key() -> Refusal {
        Refusal::invalid_token(InvalidMandate::UnknownKey)
    }

    /// The resources in force.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    fn judge(&self, mandate: &Mandate, place: Place, with: Context<'_>) -> Result<(), Stop> {
        let claims = mandate.claims();
        // A credential is only made for a place that verifies.
        let Some((audience, required)) = self.resources.required(place) else {
            return Err(Refusal::new(ErrorCode::InvalidRequest, "The request has no rule").into());
        };
        self.row_3(claims, audience, required, with.now)?;
        if claims.zone_id.as_deref() != Some(self.zone_id.as_str()) {
            return Err(
                Refusal::new(ErrorCode::InvalidZone, "The mandate is of another zone").into(),
            );
        }
        row_5(claims, required)?;
        rows_6_to_9(claims, required)?;
        row_10(claims, required)?;
        row_11(claims, required)?;
        row_12(mandate, with)?;
        Ok(row_13(claims, with.revocation)?)
    }

    /// Issuer, audience, times and use. The required claims and their types have
    /// been judged when the payload was parsed: the same row, and the same answer.
    fn row_3(
        &self,
        claims: &Claims,
        audience: &str,
        required: &Requirements,
        now: u64,
    ) -> Result<(), Refusal> {
        let refuse = |why: &str| Err(Refusal::invalid_token(why));
        let latest = now.saturating_add(self.clock_skew_s);
        if claims.iss != self.issuer {
            return refuse("it is of another issuer");
        }
        if !claims.aud.iter().any(|one| one == audience) {
            return refuse("it is for another audience");
        }
        // `exp > now - skew`, without a difference that could go below zero.
        if claims.exp.saturating_add(self.clock_skew_s) <= now {
            return refuse("it has expired");
        }
        if claims.iat > latest {
            return refuse("it was issued in the future");
        }
        if claims.nbf.is_some_and(|nbf| nbf > latest) {
            return refuse("it is not valid yet");
        }
        if claims.token_use != required.required_use {
            return Err(Refusal::invalid_token(format_args!(
                "its use is not {}",
                required.required_use.as_str()
            )));
        }
        Ok(())
    }
}

fn malformed(why: &InvalidClaim) -> Refusal {
    Refusal::invalid_token(why)
}

fn row_5(claims: &Claims, required: &Requirements) -> Result<(), Refusal> {
    let granted = claims.scope.as_deref().unwrap_or_default();
    let missing = required
        .required_scopes
        .iter()
        .find(|scope| !granted.split(' ').any(|one| one == scope.as_str()));
    match missing {
        Some(scope) => Err(Refusal::insufficient_scope(
            scope,
            &required.required_scopes,
        )),
        None => Ok(()),
    }
}

fn rows_6_to_9(claims: &Claims, required: &Requirements) -> Result<(), Refusal> {
    let session = claims.agent_session_id.as_ref().map_err(malformed)?;
    let edge = claims.delegation_edge_id.as_ref().map_err(malformed)?;
    let chain = claims.delegation_chain.as_ref().map_err(malformed)?;
    if required.require_session && session.is_none() {
        return Err(Refusal::new(
            ErrorCode::SessionRequired,
            "The route needs a mandate of an agent session",
        ));
    }
    if required.require_delegation && edge.is_none() {
        return Err(Refusal::new(
            ErrorCode::DelegationRequired,
            "The route needs a delegated mandate",
        ));
    }
    let missing = required
        .require_chain_contains
        .iter()
        .find(|application| !chain.iter().any(|hop| hop.application_id == **application));
    match missing {
        Some(application) => Err(Refusal::new(
            ErrorCode::ChainMismatch,
            format!("Application not in the delegation chain: {application}"),
        )),
        None => Ok(()),
    }
}

fn row_10(claims: &Claims, required: &Requirements) -> Result<(), Refusal> {
    let hops = claims.hop_count.as_ref().map_err(malformed)?.unwrap_or(0);
    if hops > required.max_hop_count {
        return Err(Refusal::new(
            ErrorCode::HopCountExceeded,
            format!(
                "Delegated through more than {} hops",
                required.max_hop_count
            ),
        ));
    }
    Ok(())
}

fn row_11(claims: &Claims, required: &Requirements) -> Result<(), Refusal> {
    claims.delegation_path.as_ref().map_err(malformed)?;
    claims.delegation_graph_epoch.as_ref().map_err(malformed)?;
    let targets = claims.target.as_ref().map_err(malformed)?;
    claims.source_session_id.as_ref().map_err(malformed)?;
    claims.target_session_id.as_ref().map_err(malformed)?;
    if claims.scope.as_deref() == Some("") {
        return Err(Refusal::invalid_token("the claim scope is empty"));
    }
    match required
        .required_targets
        .iter()
        .find(|target| !targets.contains(target))
    {
        Some(target) => Err(Refusal::invalid_token(format_args!(
            "it lacks the required target {target}"
        ))),
        None => Ok(()),
    }
}

/// Why a mandate is not admitted now.
enum Stop {
    Refuse(Refusal),
    NeedsRevocations,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refuse(refusal)
    }
}

fn row_12(mandate: &Mandate, with: Context<'_>) -> Result<(), Stop> {
    if mandate.claims().exp <= with.now {
        return Err(Refusal::invalid_token("it has expired").into());
    }
    match with.revocation.availability() {
        Availability::Ready => {}
        Availability::Pending => return Err(Stop::NeedsRevocations),
        Availability::Unavailable(why) => return Err(Refusal::unavailable(why).into()),
    }
    let revoked = |anchor: &AnchorId| with.revocation.is_revoked(*anchor);
    if mandate.anchors().iter().any(revoked) {
        return Err(Refusal::new(
            ErrorCode::SessionRevoked,
            "The mandate's session has been revoked",
        )
        .into());
    }
    Ok(())
}

fn row_13(claims: &Claims, revocation: &dyn RevocationView) -> Result<(), Refusal> {
    match claims.delegation_graph_epoch.as_ref().map_err(malformed)? {
        Some(epoch) if revocation.delegation_epoch() > *epoch => Err(Refusal::new(
            ErrorCode::DelegationStale,
            "The zone's delegations changed after the mandate was issued",
        )),
        _ => Ok(()),
    }
}
