//! Why a request is refused, in words that never hold the token or a value from it.

use std::borrow::Cow;

use super::code::ErrorCode;
use super::reason::Reason;

/// What the STS answered to an exchange, as far as clients get it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relayed {
    /// 400 to 599.
    pub status: u16,
    /// Its `error`.
    pub error: String,
    /// For `Retry-After`, in seconds.
    pub retry_after_s: Option<u64>,
    /// For `WWW-Authenticate`, as in a step-up.
    pub www_authenticate: Option<String>,
    /// Members of the body about an approval, as JSON texts by name.
    pub approval: Vec<(&'static str, String)>,
}

/// A refused request: the code, and a description that never contains the token or a
/// value from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: ErrorCode,
    description: Cow<'static, str>,
    hint: &'static str,
    reason: Option<Reason>,
    /// Few refusals have any, and all are moved from hand to hand.
    details: Option<Box<Details>>,
}

/// What some refusals have besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Details {
    /// The scopes that the challenge names.
    scope: Option<String>,
    relayed: Option<Relayed>,
    /// The mandate is used up: to send the request again is a replay.
    is_used_up: bool,
}

impl Refusal {
    /// A refusal with a description.
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Refusal {
            code,
            description: description.into(),
            hint: code.hint(),
            reason: None,
            details: None,
        }
    }

    /// The same refusal with what its code leaves open.
    pub fn because(self, reason: Reason) -> Self {
        Refusal {
            reason: Some(reason),
            ..self
        }
    }

    /// The same refusal with a special hint.
    pub(crate) fn with_hint(self, hint: &'static str) -> Self {
        Refusal { hint, ..self }
    }

    pub(crate) fn missing_token() -> Self {
        Refusal::new(ErrorCode::MissingToken, "Missing bearer token")
    }

    pub(crate) fn invalid_token(reason: Reason, why: impl std::fmt::Display) -> Self {
        Refusal::new(
            ErrorCode::InvalidToken,
            format!("Token validation failed: {why}"),
        )
        .because(reason)
    }

    /// The key set or the revocation state that the decision needs is missing.
    pub fn unavailable(what: &'static str) -> Self {
        Refusal::new(ErrorCode::StsUnavailable, what).because(Reason::Edge)
    }

    pub(crate) fn insufficient_scope(missing: &str, required: &[String]) -> Self {
        let mut refusal = Refusal::new(
            ErrorCode::InsufficientScope,
            format!("Missing required scope: {missing}"),
        );
        if let Some(scope) = scope_of(required) {
            let details = Details {
                scope: Some(scope),
                ..Details::default()
            };
            refusal.details = Some(Box::new(details));
        }
        refusal
    }

    /// The same with what the STS answered, which the client gets.
    pub(crate) fn relaying(self, relayed: Relayed) -> Self {
        let details = Details {
            relayed: Some(relayed),
            ..Details::default()
        };
        Refusal {
            details: Some(Box::new(details)),
            ..self
        }
    }

    /// The same for a mandate that was exchanged in vain: the client needs a new one.
    pub fn used_up(self) -> Self {
        let mut details = self.details.unwrap_or_default();
        details.is_used_up = true;
        let description = match self.description.ends_with("used up") {
            true => self.description,
            false => [&self.description, "; the mandate is used up"]
                .concat()
                .into(),
        };
        Refusal {
            details: Some(details),
            description,
            ..self
        }
    }

    /// Whether the mandate is used up.
    pub fn is_used_up(&self) -> bool {
        self.details
            .as_ref()
            .is_some_and(|details| details.is_used_up)
    }

    /// The contract's code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Why, for the operator: one of [`Reason`], or the code if that says it all.
    pub fn reason(&self) -> &'static str {
        self.reason
            .map_or_else(|| self.code.as_str(), Reason::as_str)
    }

    /// What was wrong.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The scopes that its challenge names.
    pub(super) fn scope(&self) -> Option<&str> {
        self.details.as_ref()?.scope.as_deref()
    }

    pub(super) fn relayed(&self) -> Option<&Relayed> {
        self.details.as_ref()?.relayed.as_ref()
    }

    /// What the caller can do about it.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// Scopes for a challenge. None if one of them has a character that RFC 6750 section 3 does
/// not allow: it could end the quoted string.
pub(super) fn scope_of(required: &[String]) -> Option<String> {
    let fits = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_token = |scope: &String| !scope.is_empty() && scope.bytes().all(fits);
    let all_fit = !required.is_empty() && required.iter().all(is_token);
    all_fit.then(|| required.join(" "))
}
