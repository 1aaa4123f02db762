//! What to change, and who has to change it: one or two sentences for each check that
//! failed.

use caracal_mandate::config::Revocation;
use caracal_mandate::decision::checks::MandateCheck;
use caracal_mandate::decision::explain::{Check, TokenCheck};
use caracal_mandate::routing::path::InvalidPath;
use caracal_mandate::routing::routes::Requirements;
use caracal_mandate::token::claims::{Claims, TokenUse};

use super::dependencies::Revocations;
use super::expectation;
use super::found;
use super::mcp;
use super::shown_values::{json_in_words, list, min_remaining_s};
use super::subject::Subject;
use super::{required_claims, token_origin, zone};
use crate::terminal::shown;
use crate::timestamps;

/// The largest `clock_skew_s`.
const MAX_SKEW_S: u64 = 300;

/// How to fix the failure of a check. `why` is the edge's description.
pub(crate) fn of(check: Check, why: &str, subject: &Subject<'_>) -> String {
    match check {
        Check::Token(check) => of_token(check, why, subject),
        Check::Tool => mcp::tool_advice(subject),
        Check::Mandate(check) => match subject.trace.claims.as_ref() {
            Some(claims) => of_mandate(check, claims, subject),
            None => why.to_owned(),
        },
    }
}

fn of_token(check: TokenCheck, why: &str, subject: &Subject<'_>) -> String {
    let header = |name: &str| json_in_words(subject.header.as_ref().and_then(|h| h.get(name)));
    match check {
        TokenCheck::Resource => subject.resource_advice(why),
        TokenCheck::Path if subject.trace.location.readings.is_empty() => format!(
            "The caller sends a path that can be read: {why}. A path starts with /, each % is followed by two hexadecimal digits, and there is no # and no NUL."
        ),
        TokenCheck::Path if why == InvalidPath::Spelled.to_string() => "The caller spells the path as the route does, in upper and lower case too: a server that ignores case would serve this path as one of that route.".to_owned(),
        TokenCheck::Path if subject.is_gateway() => "The caller sends the path without encoded or doubled slashes, dot segments, backslashes and ;parameters: the STS decides by the whole path, so there may be one way to read it.".to_owned(),
        TokenCheck::Path => "The caller sends the path without encoded or doubled slashes, dot segments, backslashes and ;parameters. Or the operator gives all readings that are listed above the same rule.".to_owned(),
        TokenCheck::Excluded => "Nothing: the path is excluded.".to_owned(),
        TokenCheck::Method => format!(
            "The caller sends the method in upper case. {why}: methods are case-sensitive, and the route lists this one."
        ),
        TokenCheck::Origin | TokenCheck::Mcp => mcp::advice(check, why, subject),
        TokenCheck::Credential => match subject.request.all("authorization").len() {
            0 => "The caller gets a mandate from the STS and sends it as the header Authorization: Bearer <mandate>. If it does send one, something before the edge removes the header.".to_owned(),
            1 => "The caller sends exactly one credential: the word Bearer, a space and the mandate, and nothing else in the header Authorization. A comma comes from two headers that were joined.".to_owned(),
            n => format!(
                "The caller, or a proxy before the edge, sends Authorization once and not {n} times."
            ),
        },
        TokenCheck::ClientId => "The caller leaves X-Caracal-Client-ID out: the client is the one that the mandate names.".to_owned(),
        TokenCheck::Connection => "The caller, or a proxy before the edge, lists in Connection only headers of its own connection: no Host, no Authorization, no Transfer-Encoding, no Content-* and no X-Caracal-*.".to_owned(),
        TokenCheck::Size => format!(
            "The STS issues a shorter mandate (fewer scopes, a shorter delegation chain), or the operator raises limits.max_token_bytes to at least {} (65536 at most).",
            subject.token.map_or(0, <[u8]>::len)
        ),
        TokenCheck::Parts => "The caller sends the mandate as the STS gave it: header.payload.signature. This token is opaque, encrypted, or was cut off.".to_owned(),
        TokenCheck::Base64 => "The caller sends the mandate byte for byte as the STS gave it: a part of it was changed or cut off, or encoded with another alphabet or with padding.".to_owned(),
        TokenCheck::Header => format!(
            "The caller sends a mandate from the Caracal STS: {why}."
        ),
        TokenCheck::Algorithm => token_origin::algorithm_advice(subject),
        TokenCheck::KeyId => "Whoever issues this token adds the kid of its key to the header. Tokens from the Caracal STS always have a kid, so this one is probably not from there.".to_owned(),
        TokenCheck::Critical => "Whoever issues this token leaves out crit: no extension is supported. Tokens from the Caracal STS have no crit.".to_owned(),
        TokenCheck::PayloadEncoding => "Whoever issues this token leaves out \"b64\": false: a mandate's payload is encoded.".to_owned(),
        TokenCheck::Zone => zone::advice(
            subject.configuration,
            subject.resource.map(|one| one.id.as_str()),
            subject.payload.as_ref(),
        ),
        TokenCheck::KeySet => key_set_advice(subject),
        TokenCheck::Key => token_origin::key_advice(subject),
        TokenCheck::KeyAlgorithm => format!(
            "The key {} of the zone is not for {}: whoever issues the token signs with the algorithm that its key has in the key set.",
            header("kid"),
            header("alg")
        ),
        TokenCheck::Signature => token_origin::signature_advice(subject),
        TokenCheck::Payload => format!("Whoever runs the STS makes it issue claims in strict JSON: {why}."),
        TokenCheck::RequiredClaims => required_claims::advice(why, subject),
    }
}

fn key_set_advice(subject: &Subject<'_>) -> String {
    match subject.keys {
        Some(keys) => format!(
            "The operator makes {} answer 200 with a key set that has a usable key ({}). The edge itself reaches it through the upstream {} of its proxy. The caller needs to fix nothing, and tries again later.",
            shown(&keys.from),
            keys.set.as_ref().err().map_or("it does", String::as_str),
            shown(&subject.zone.jwks.upstream)
        ),
        None => "The operator makes the zone's key set reachable.".to_owned(),
    }
}

fn of_mandate(check: MandateCheck, claims: &Claims, subject: &Subject<'_>) -> String {
    let (configuration, at) = (subject.configuration, subject.at);
    let none = Requirements::default();
    let required = subject.required.unwrap_or(&none);
    let skew = configuration.clock_skew_s;
    let rule = subject.rule_in_words();
    match check {
        MandateCheck::Issuer => issuer_advice(claims, subject),
        MandateCheck::Audience | MandateCheck::Use if subject.is_gateway() => format!(
            "The caller asks the STS for a mandate for the Gateway, with its agent session and its delegation edge: use is then gateway and the audience is {}. This one has use={} and the audience {}.",
            shown(&subject.zone.zone.issuer),
            claims.token_use.as_str(),
            list(&claims.aud)
        ),
        MandateCheck::Audience => format!(
            "The caller asks the STS for a mandate whose audience is {}: this one is for {}, so it may have been meant for another gateway. Or, if this edge protects {}, the operator sets that as the audience in the filter's configuration.",
            shown(subject.audience.as_deref().unwrap_or_default()),
            list(&claims.aud),
            list(&claims.aud)
        ),
        MandateCheck::ExpiryWithSkew | MandateCheck::Expiry => format!(
            "The caller gets a new mandate from the STS: this one ended {}. If it was issued just now, the clocks of STS and edge differ: compare them (the edge's time is {at} = {}), and correct the wrong one (NTP).",
            timestamps::beside(claims.exp, at),
            timestamps::date(at)
        ),
        MandateCheck::IssuedAt => {
            let ahead = claims.iat.saturating_sub(at);
            format!(
                "The clocks differ: the mandate was issued {} ahead of the edge's clock, and {skew} s are allowed. Synchronize the clocks of the STS and the edge (NTP); {}",
                timestamps::length(ahead),
                skew_advice(ahead)
            )
        }
        MandateCheck::Remaining => format!(
            "The caller gets a new mandate and sends it at once: an exchange needs one that is valid for {} s more (gateway.min_remaining_s).",
            min_remaining_s(configuration)
        ),
        MandateCheck::OwnTarget => format!(
            "The caller asks the STS for a mandate whose target is {}, or names another resource in X-Caracal-Resource.",
            shown(subject.resource.map_or("", |one| &one.id))
        ),
        MandateCheck::NotBefore => not_before_advice(claims, subject),
        MandateCheck::Lifetime => format!(
            "The caller asks the STS for a mandate that is valid for at most {} s: this one is valid for {} s. Or the operator raises limits.max_lifetime_s.",
            configuration.limits.max_lifetime_s.unwrap_or(u64::MAX),
            claims.exp.saturating_sub(claims.iat)
        ),
        MandateCheck::Use if claims.token_use == TokenUse::Gateway => "This mandate is for Caracal's Gateway, which exchanges it for a resource mandate. The caller sends it to the Gateway. Or, if this edge is the Gateway, the operator sets \"mode\": \"gateway\" in the filter's configuration.".to_owned(),
        MandateCheck::Use => format!(
            "The caller asks the STS for a mandate with use={}: this one has use={}. Or the operator sets required_use to {} for {rule}.",
            required.required_use.as_str(),
            claims.token_use.as_str(),
            claims.token_use.as_str()
        ),
        MandateCheck::Zone => format!(
            "The caller asks the STS {} for a mandate of zone {}: this one is from {}. Or, if this edge should serve that zone instead of its own, the operator sets zone_id to it in the filter's configuration. Mandates of {} are then refused.",
            shown(&subject.zone.zone.issuer),
            shown(&subject.zone.zone.id),
            claims
                .zone_id
                .as_deref()
                .map_or("no zone, or one that is not a text".to_owned(), shown),
            shown(&subject.zone.zone.id)
        ),
        MandateCheck::Scopes => {
            let missing: Vec<String> = required
                .required_scopes
                .iter()
                .filter(|scope| !claims.scopes().any(|one| one == scope.as_str()))
                .cloned()
                .collect();
            format!(
                "The caller asks the STS for a mandate that also has scope {}; if the STS does not give it, whoever administers the caller's grant adds it there first. Or, if {rule} needs less, the operator removes it from required_scopes.",
                list(&missing)
            )
        }
        MandateCheck::Session => format!(
            "The caller's application starts an agent session with Caracal's SDK before it calls, and gets its mandate within that session. Such a mandate has agent_session_id. If the claim is still absent, whoever runs the STS finds out why. The operator sets require_session to false there only if {rule} may be called outside of any agent session: every mandate with the scopes then passes."
        ),
        MandateCheck::Delegation => format!(
            "Only delegated authority is accepted here. Whoever holds the authority (an application with Caracal's SDK, or the administrator of the grant) delegates it to application {}, which then gets its mandate through that delegation. Such a mandate has delegation_edge_id. The operator sets require_delegation to false there only if {rule} may be called without delegation: every mandate with the scopes then passes.",
            shown(&claims.client_id)
        ),
        MandateCheck::Chain => {
            let chain = claims.delegation_chain.as_deref().unwrap_or_default();
            let missing: Vec<String> = required
                .require_chain_contains
                .iter()
                .filter(|one| !chain.iter().any(|hop| hop.application_id == **one))
                .cloned()
                .collect();
            format!(
                "The caller uses authority that was delegated through {}, which is not a hop of this chain (client_id does not count). Or the operator removes it from require_chain_contains of {rule}.",
                list(&missing)
            )
        }
        MandateCheck::HopCount => match &claims.hop_count {
            Ok(hops) => format!(
                "For {rule}, authority may be delegated through at most {} hops, and this one was delegated through {}. A mandate cannot be shortened. Whoever holds the authority earlier in the chain (it names {}; only hop_count is checked) delegates it to application {} with fewer applications in between, and the caller gets a new mandate from that. Or the operator raises max_hop_count there to at least {}, but only if such a long chain is intended.",
                required.max_hop_count,
                hops.unwrap_or(0),
                chain_in_words(claims),
                shown(&claims.client_id),
                hops.unwrap_or(0)
            ),
            Err(why) => format!("Whoever runs the STS corrects the claim: {why}."),
        },
        MandateCheck::DelegationShape | MandateCheck::OptionalShape => format!(
            "Whoever runs the STS corrects the claim: {}.",
            expectation::Compared::of(Check::Mandate(check), subject).found
        ),
        MandateCheck::ScopeNotEmpty => "The caller asks the STS for a mandate with at least one scope: an empty scope is never accepted. A mandate without the claim would be.".to_owned(),
        MandateCheck::Targets => {
            let targets = claims.target.as_deref().unwrap_or_default();
            let missing: Vec<String> = required
                .required_targets
                .iter()
                .filter(|one| !targets.contains(one))
                .cloned()
                .collect();
            format!(
                "The caller asks the STS for a mandate that also has target {}. Or the operator removes it from required_targets of {rule}.",
                list(&missing)
            )
        }
        MandateCheck::RevocationState => revocation_state_advice(subject),
        MandateCheck::Revocation => format!(
            "The caller starts a new authorized session, which depends on nothing that is revoked, and gets a mandate in it. This one is {}, and no mandate with that is accepted again. If you gave it with --revoked, ask the companion whether it is true (--feed). Caracal's audit trail says who revoked it.",
            found::revoked(claims, subject)
        ),
        MandateCheck::DelegationEpoch => "The caller gets a new mandate: the zone's delegations changed after this one was issued. If a new one is refused too, the delegation_graph_epoch that the STS issues lags behind the stream that the companion reads.".to_owned(),
        MandateCheck::Forwarding => "A claim in a header is visible ASCII with inner spaces, of at most 1,024 bytes; all claims in one header, or in baggage, have at most 8,192 bytes. Whoever chose the name or the id in that claim chooses another, and the caller gets a new mandate. Or the operator no longer forwards it (forward.headers, forward.variables, forward.claims, forward.baggage). With forward.unsendable \"omit\" it is left out: the service then takes the mandate for one without it.".to_owned(),
    }
}

fn chain_in_words(claims: &Claims) -> String {
    let chain = claims.delegation_chain.as_deref().unwrap_or_default();
    let names: Vec<String> = chain.iter().map(|hop| hop.application_id.clone()).collect();
    match names.as_slice() {
        [] => "none of them".to_owned(),
        names => list(names),
    }
}

fn not_before_advice(claims: &Claims, subject: &Subject<'_>) -> String {
    let (at, skew) = (subject.at, subject.configuration.clock_skew_s);
    let nbf = claims.nbf.unwrap_or(0);
    let ahead = nbf.saturating_sub(at);
    let wait = format!(
        "The caller waits {}, until {} (nbf minus {skew} s of leeway), or asks the STS for a mandate that is valid now.",
        timestamps::length(ahead.saturating_sub(skew)),
        timestamps::date(nbf.saturating_sub(skew))
    );
    let dated_ahead = nbf.saturating_sub(claims.iat);
    if dated_ahead > skew {
        return format!(
            "{wait} Clocks are not the cause: the STS itself set nbf {} later than iat. If that is not intended, whoever runs the STS fixes it.",
            timestamps::length(dated_ahead)
        );
    }
    format!(
        "{wait} The STS made it valid from its issue, so the clocks of the STS and the edge differ: synchronize them (NTP), {}",
        skew_advice(ahead)
    )
}

fn skew_advice(ahead: u64) -> String {
    if ahead <= MAX_SKEW_S {
        format!("or the operator raises clock_skew_s to at least {ahead}.")
    } else {
        format!("clock_skew_s is at most {MAX_SKEW_S}, which is not enough.")
    }
}

fn issuer_advice(claims: &Claims, subject: &Subject<'_>) -> String {
    let (own, theirs) = (subject.zone.zone.issuer.as_str(), claims.iss.as_str());
    let cut = |text: &str| text.trim_end_matches('/').to_owned();
    if cut(own) == cut(theirs) {
        return format!(
            "The mandate's iss and the configured issuer differ only in trailing slashes, and are compared byte for byte. The operator sets issuer to {} in the filter's configuration.",
            shown(theirs)
        );
    }
    format!(
        "The caller asks the STS {} for its mandate: this one is from {}. Or, if the edge should trust that STS, the operator sets issuer to it in the filter's configuration.",
        shown(own),
        shown(theirs)
    )
}

fn revocation_state_advice(subject: &Subject<'_>) -> String {
    let oldest = match &subject.configuration.revocation {
        Revocation::Feed(feed) => feed.max_staleness_s,
        Revocation::Disabled(_) => 0,
    };
    match subject.revocations {
        Revocations::Unavailable { why, .. } => format!(
            "The operator makes sure that the companion answers and is connected to Redis (`/readyz` says whether it is): {why}. The edge uses a state that is at most {oldest} s old (revocation.max_staleness_s). The caller tries again later."
        ),
        _ => "The operator makes sure that the companion answers.".to_owned(),
    }
}
