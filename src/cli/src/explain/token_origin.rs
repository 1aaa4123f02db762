//! Where a token says that it comes from. If a key is unknown, does not fit or is of
//! another kind, this can show the cause when the signature cannot. Perhaps nobody has
//! signed what is read here. It is a hint for people, and decides nothing.

use caracal_mandate::decision::checks::MandateCheck;
use caracal_mandate::decision::explain::TokenCheck;
use caracal_mandate::jwks::algorithm::Algorithm;
use caracal_mandate::jwks::key_set::{KeySet, UnusableKey};
use serde_json::Value;

use super::dependencies::edge_url;
use super::shown_values::json_in_words;
use super::subject::Subject;
use crate::terminal::shown;

/// A claim of the token, and the configured value.
struct Named {
    /// What the token has.
    words: String,
    is_text: bool,
    is_own: bool,
}

impl Named {
    fn new(value: Option<&Value>, is_own: impl FnOnce(&str) -> bool) -> Self {
        let text = value.and_then(Value::as_str);
        Named {
            words: json_in_words(value),
            is_text: text.is_some_and(|text| !text.is_empty()),
            is_own: text.is_some_and(is_own),
        }
    }
}

/// What a token says about its issuer and its zone.
pub(super) struct Origin<'s> {
    issuer: Named,
    zone: Named,
    /// The configured issuer and zone.
    own_issuer: &'s str,
    own_zone: &'s str,
}

impl<'s> Origin<'s> {
    /// None if the payload cannot be read.
    pub(super) fn of(subject: &'s Subject<'_>) -> Option<Self> {
        let payload = subject.payload.as_ref()?;
        let (own_issuer, own_zone) = (
            subject.zone.zone.issuer.as_str(),
            subject.zone.zone.id.as_str(),
        );
        // Only the issuer's check compares trailing slashes. Here the STS is the same.
        let same_sts = |iss: &str| iss.trim_end_matches('/') == own_issuer.trim_end_matches('/');
        Some(Origin {
            issuer: Named::new(payload.get("iss"), same_sts),
            zone: Named::new(payload.get("zone_id"), |zone| zone == own_zone),
            own_issuer,
            own_zone,
        })
    }

    fn is_own(&self) -> bool {
        self.issuer.is_own && self.zone.is_own
    }

    pub(super) fn is_of_own_issuer(&self) -> bool {
        self.issuer.is_own
    }

    /// The issuer that the token names.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer.words
    }

    /// The subject of a sentence: the token says that it comes from here.
    fn said(&self) -> String {
        format!(
            "its iss and zone_id (unverified) say that the token comes from the configured STS {}, zone {}",
            shown(self.own_issuer),
            shown(self.own_zone)
        )
    }

    /// How the token differs from the configuration.
    fn difference(&self) -> String {
        let parts = [
            (&self.issuer, "iss", "issuer", self.own_issuer),
            (&self.zone, "zone_id", "zone_id", self.own_zone),
        ];
        let differ: Vec<String> = parts
            .into_iter()
            .filter(|(named, ..)| !named.is_own)
            .map(|(named, claim, setting, own)| {
                format!(
                    "its {claim} (unverified) is {}, and the configured {setting} is {}",
                    named.words,
                    shown(own)
                )
            })
            .collect();
        differ.join("; ")
    }

    /// Where the caller can get a mandate that this edge trusts.
    pub(super) fn asks(&self) -> String {
        format!(
            "The caller asks the STS {} for a mandate of zone {}.",
            shown(self.own_issuer),
            shown(self.own_zone)
        )
    }

    /// The same, or that the configuration is wrong.
    fn remedy(&self) -> String {
        let settings = [(&self.issuer, "issuer"), (&self.zone, "zone_id")];
        let settings: Vec<String> = settings
            .into_iter()
            .filter(|(named, _)| !named.is_own && named.is_text)
            .map(|(named, setting)| format!("{setting} to {}", named.words))
            .collect();
        match settings.as_slice() {
            [] => self.asks(),
            settings => format!(
                "{} Or, if the edge should trust the issuer of this one, the operator sets {} in the filter's configuration.",
                self.asks(),
                settings.join(" and ")
            ),
        }
    }
}

/// Whether the advice for the first failure also covers a later one.
pub(super) fn explains(failed: TokenCheck, later: MandateCheck, subject: &Subject<'_>) -> bool {
    let told = matches!(
        failed,
        TokenCheck::Algorithm | TokenCheck::Key | TokenCheck::Signature
    );
    told && Origin::of(subject).is_some_and(|origin| match later {
        MandateCheck::Issuer => !origin.issuer.is_own,
        MandateCheck::Zone => !origin.zone.is_own,
        _ => false,
    })
}

fn header(name: &str, subject: &Subject<'_>) -> String {
    json_in_words(subject.header.as_ref().and_then(|header| header.get(name)))
}

/// The key set that was searched, if it may differ from the edge's.
fn other_key_set<'s>(subject: &Subject<'s>) -> Option<&'s str> {
    let from = subject.keys?.from.as_str();
    (from != edge_url(&subject.zone)).then_some(from)
}

/// Why a key with the token's `kid` is not used, if there is one.
fn of_kid(set: &KeySet, subject: &Subject<'_>) -> Option<UnusableKey> {
    let kid = subject.header.as_ref()?.get("kid")?.as_str()?;
    let skipped = set.skipped_keys().iter();
    let mut of_kid = skipped.filter(|skipped| skipped.kid.as_deref() == Some(kid));
    of_kid.next().map(|skipped| skipped.why)
}

fn whys(set: &KeySet) -> String {
    let whys = set.skipped_keys().iter().take(4).map(ToString::to_string);
    let whys: Vec<String> = whys.collect();
    format!(" ({})", whys.join("; "))
}

/// The key set has no key with the token's `kid`.
pub(super) fn key_advice(subject: &Subject<'_>) -> String {
    let kid = header("kid", subject);
    let set = subject.keys.and_then(|keys| keys.set.as_ref().ok());
    if let Some(why) = set.and_then(|set| of_kid(set, subject)) {
        return format!(
            "The key set has a key {kid}, and it is not used: {why}. Nothing needs to change in the token or at the edge. Whoever runs the STS corrects that key in the key set. The edge then fetches the set again by itself."
        );
    }
    let skipped = match set {
        Some(set) if set.skipped() > 0 => {
            format!(", and {} that cannot be used{}", set.skipped(), whys(set))
        }
        _ => String::new(),
    };
    let has = format!(
        "The key set has no key {kid}: it has {}{skipped}.",
        subject.kids()
    );
    let Some(origin) = Origin::of(subject) else {
        return format!(
            "{has} The token's payload is not a JSON object, so it does not say who issued it, and it is not a mandate. The caller gets one from the STS {}.",
            shown(&subject.zone.zone.issuer)
        );
    };
    if !origin.is_own() {
        return format!(
            "{has} The cause is that the token comes from elsewhere: {}. This key set has no keys of other issuers. {}",
            origin.difference(),
            origin.remedy()
        );
    }
    let set = match other_key_set(subject) {
        Some(from) => format!(
            "so check the key set first: this one comes from {}, and may be older than {kid}. The operator fetches the key set again from {}, where the edge gets it, and looks for {kid}. If it is there, the STS has changed its key since, and nothing needs to be fixed: when the edge meets an unknown kid it fetches the set again by itself, at most once in 30 s, so the caller tries again after 30 s. If it is not there",
            shown(from),
            shown(&edge_url(&subject.zone))
        ),
        None => "and the key set was fetched just now from where the edge gets it, so it is not too old. Therefore".to_owned(),
    };
    format!(
        "{has} But {}, {set}, the caller gets a new mandate and has it explained with that key set. If the new one passes, {kid} was withdrawn or made up: its tokens stay refused, and the caller uses the new one. If the set lacks the kid of the new one too, the STS signs with a key that it does not serve, and whoever runs the STS adds that key.",
        origin.said()
    )
}

/// No key with the token's `kid` made its signature.
pub(super) fn signature_advice(subject: &Subject<'_>) -> String {
    let kid = header("kid", subject);
    let Some(origin) = Origin::of(subject) else {
        return "The token's payload is not a JSON object. No STS signs such a payload, so the token was altered or cut off after it was signed. The caller gets a new mandate and sends it byte for byte.".to_owned();
    };
    if !origin.is_own() {
        return format!(
            "The token comes from elsewhere: {}. Most likely it was signed with another issuer's key that has the same kid {kid}. {} If the caller did get exactly this token from the right STS, it was altered afterwards. Then the caller gets a new one and sends it byte for byte.",
            origin.difference(),
            origin.remedy()
        );
    }
    let fingerprint = match subject.trace.fingerprint {
        Some(fingerprint) => format!(" {fingerprint}"),
        None => String::new(),
    };
    let fetches = match other_key_set(subject) {
        Some(from) => format!(
            "the operator fetches the key set again from {}, where the edge gets it, and compares x and y of {kid} with those in {}. If they differ, the latter was too old or from another zone: explain with the new one. The edge fetches the set every {} s (jwks.ttl_s) or sooner. If they are equal, ",
            shown(&edge_url(&subject.zone)),
            shown(from),
            subject.zone.jwks.ttl_s
        ),
        None => {
            "it was fetched just now from where the edge gets it, so it is not too old: ".to_owned()
        }
    };
    format!(
        "No key {kid} of the key set made this signature, though {}. So either the token was altered after it was signed, or that STS signs with another key {kid} than the key set has. To tell which, the caller gets a new mandate and has it explained with the same key set. If the new one passes, this one is bad: altered, forged, or from before that STS changed the key under this kid. The caller uses the new one, byte for byte. (The token explained here has the fingerprint{fingerprint}. If it was recorded at the edge, explain also exactly the token that the caller sent. If that one has another fingerprint, something between the two changes it.) If the new one fails here too, the key set does not fit: {fetches}whoever runs the STS serves the key that it signs with, under its own kid.",
        origin.said()
    )
}

/// The token is signed with an algorithm that the edge does not accept.
pub(super) fn algorithm_advice(subject: &Subject<'_>) -> String {
    let alg = header("alg", subject);
    let allowed = subject.algorithms();
    let is_known = Algorithm::ALL.iter().any(|one| alg == shown(one.as_jose()));
    let never = match alg.starts_with('"') {
        true => format!(
            "Nothing needs to change at the edge: never add {alg} to algorithms. Edges accept only {}.",
            Algorithm::ALL.map(Algorithm::as_jose).join(" and ")
        ),
        false => "Nothing needs to change at the edge.".to_owned(),
    };
    let Some(origin) = Origin::of(subject) else {
        return format!(
            "The token's alg is {alg}, and its payload is not a JSON object, so it is not a mandate. The caller gets one from the STS {}, which signs with {allowed}.",
            shown(&subject.zone.zone.issuer)
        );
    };
    match (is_known, origin.is_own()) {
        (_, false) => format!(
            "The token comes from elsewhere: {}, and its alg is {alg}. {}, which signs with {allowed}.{}",
            origin.difference(),
            origin.asks().trim_end_matches('.'),
            match is_known {
                true => String::new(),
                false => format!(" {never}"),
            }
        ),
        (true, true) => format!(
            "The STS and the edge have to agree: {}, and its alg is {alg}. Whoever runs the STS makes it sign with {allowed}; or, if the zone's keys are for {alg}, the operator adds {alg} to algorithms in the filter's configuration.",
            origin.said()
        ),
        (false, true) => format!(
            "The alg of the token is {alg}, though {}. To tell who minted it, the caller gets a new mandate from that STS and has it explained. If its alg is {alg} too, whoever runs the STS makes it sign with {allowed}. If not, another program minted this one (a test, a service with its own secret, an attacker): the caller uses the new one, and finds out where this one came from. {never}",
            origin.said()
        ),
    }
}
