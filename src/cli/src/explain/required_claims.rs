//! The claims that row 3 of the contract requires: which are absent, which have another
//! type, and who can fix it. An absent claim usually means another kind of token. A wrong
//! type means that the STS must be corrected.

use caracal_mandate::decision::explain::{Check, Outcome, TokenCheck};
use caracal_mandate::token::claims::TokenUse;
use serde_json::Value;

use super::shown_values::json_in_words;
use super::subject::Subject;
use super::token_origin::Origin;
use crate::terminal::shown;

/// All of them, and the zone's claim, which a later row judges: whoever adds the others
/// needs to know about it too.
const REQUIRED: [&str; 12] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "jti",
    "sub",
    "sid",
    "root_sid",
    "client_id",
    "use",
    "sub_type",
    "zone_id",
];

/// The claim that failed the check, and its value.
pub(super) fn failed(subject: &Subject<'_>) -> Option<(String, String)> {
    let check = Check::Token(TokenCheck::RequiredClaims);
    let mut checks = subject.trace.checks.iter();
    let (_, Outcome::Failed(why)) = checks.find(|(one, _)| *one == check)? else {
        return None;
    };
    let name = why.strip_prefix("the claim ")?.split(' ').next()?;
    let value = subject.payload.as_ref()?.get(name);
    Some((name.to_owned(), typed(value)))
}

/// A claim's value with its type. For a list, the first entry that is not a text.
fn typed(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) if text.is_empty() => "an empty text".to_owned(),
        Some(Value::String(text)) => format!("the text {}", shown(text)),
        Some(Value::Array(items)) => match items.iter().find(|item| !item.is_string()) {
            Some(item) => format!(
                "{}, one of them {}",
                json_in_words(value),
                json_in_words(Some(item))
            ),
            None => json_in_words(value),
        },
        other => json_in_words(other),
    }
}

/// Whether a claim is right.
fn is_right(name: &str, value: &Value) -> bool {
    let text = value.as_str().filter(|text| !text.is_empty());
    match name {
        "exp" | "iat" => value.as_u64().is_some_and(|n| i64::try_from(n).is_ok()),
        "aud" => match value {
            Value::Array(items) => items.iter().all(Value::is_string),
            other => other.is_string(),
        },
        "use" => text.is_some_and(|text| TokenUse::from_name(text).is_some()),
        "sub_type" => matches!(text, Some("user" | "application")),
        _ => text.is_some(),
    }
}

/// Sentences about the other claims that are not right.
fn others(first: &str, payload: &Value) -> String {
    let (mut absent, mut wrong) = (Vec::new(), Vec::new());
    for name in REQUIRED.into_iter().filter(|name| *name != first) {
        match payload.get(name) {
            None => absent.push(name.to_owned()),
            Some(value) if !is_right(name, value) => {
                wrong.push(format!("{name} is {}", typed(Some(value))));
            }
            Some(_) => {}
        }
    }
    let sentence = |start: &str, all: &[String]| match all {
        [] => String::new(),
        all => format!(" {start}: {}.", all.join(", ")),
    };
    let absent = sentence("Also absent", &absent);
    absent + &sentence("Also not right", &wrong)
}

/// A required claim is not right; `why` says which.
pub(super) fn advice(why: &str, subject: &Subject<'_>) -> String {
    let (Some((name, found)), Some(payload), Some(origin)) = (
        failed(subject),
        subject.payload.as_ref(),
        Origin::of(subject),
    ) else {
        return format!("Whoever runs the STS corrects the claims: {why}.");
    };
    // Claims without a token have no signature, so nobody knows who wrote them.
    let is_signed = subject.outcome(TokenCheck::Signature) == Some(true);
    let names = match is_signed {
        true => "A key of the zone signed the token, which names",
        false => "These claims name",
    };
    let is_own = origin.is_of_own_issuer();
    let issuer = match is_own {
        true => format!("{names} the configured issuer {}", origin.issuer()),
        false => format!(
            "{names} as issuer {}, and not the configured {}",
            origin.issuer(),
            shown(&subject.zone.zone.issuer)
        ),
    };
    let value = payload.get(&name);
    let use_of_another = name == "use" && value.is_some_and(Value::is_string);
    let mend = match (value, is_own) {
        _ if use_of_another => {
            format!(
                "A mandate with this use is not for an edge. {}",
                origin.asks()
            )
        }
        (None, true) => format!(
            "{} (an access token or an ID token has no {name}). {} If it did ask for a mandate, whoever runs that STS makes it issue the absent claims.",
            match is_signed {
                true => "So the right STS issued it, but probably not as a mandate",
                false => "This is probably not a mandate",
            },
            origin.asks()
        ),
        (None, false) => format!(
            "So it is probably not a mandate, but an access token or an ID token from elsewhere. {}",
            origin.asks()
        ),
        (Some(_), true) => format!(
            "So whoever runs that STS corrects what it issues as {name}. The caller cannot fix this, and gets a new mandate afterwards."
        ),
        (Some(_), false) => format!(
            "So it is probably not a mandate from the Caracal STS, which never issues {name} like this. {}",
            origin.asks()
        ),
    };
    let place = match subject.claims_only {
        true => "these claims",
        false => "this token",
    };
    format!(
        "In {place} {why}; here it is {found}.{} {issuer}. {mend}",
        others(&name, payload)
    )
}
