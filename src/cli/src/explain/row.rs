//! One check of the result: what it compared, and how it ended.

use caracal_mandate::decision::checks::MandateCheck;
use caracal_mandate::decision::explain::{Check, Outcome, TokenCheck};
use serde_json::{Value, json};

use super::expectation::Compared;
use super::shown_values::plain;
use crate::terminal::Tone;

pub(super) struct Row {
    pub(super) check: Check,
    pub(super) outcome: Outcome,
    pub(super) compared: Compared,
}

impl Row {
    /// Whether it failed, would fail or could not be made.
    pub(super) fn is_telling(&self) -> bool {
        match &self.outcome {
            Outcome::Failed(_) | Outcome::NotMade | Outcome::NotReached(Some(Err(_))) => true,
            Outcome::Passed | Outcome::NotReached(None | Some(Ok(()))) => false,
        }
    }

    pub(super) fn tone(&self) -> Tone {
        match &self.outcome {
            Outcome::Failed(_) => Tone::Bad,
            Outcome::NotMade | Outcome::NotReached(Some(Err(_))) => Tone::Warning,
            Outcome::Passed | Outcome::NotReached(None | Some(Ok(()))) => Tone::Plain,
        }
    }

    fn words(&self) -> &'static str {
        match &self.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed(_) => "FAILED",
            Outcome::NotMade => "not checked",
            Outcome::NotReached(None) => "not reached",
            Outcome::NotReached(Some(Ok(()))) => "not reached, would pass",
            Outcome::NotReached(Some(Err(_))) => "not reached, WOULD FAIL",
        }
    }

    pub(super) fn lines(&self, is_gateway: bool) -> Vec<String> {
        let name = name(self.check);
        let row = match is_gateway {
            true => self.check.gateway_row().to_owned(),
            false => self.check.row().to_string(),
        };
        let head = format!("{row:>3}  {name:<18}  {:<23}", self.words());
        if let Outcome::NotReached(None) = self.outcome {
            return vec![head.trim_end().to_owned()];
        }
        let Compared { expected, found } = &self.compared;
        let mut lines = vec![format!("{head}  expected {expected}; found {found}")];
        if let Outcome::Failed(why) = &self.outcome {
            lines.push(format!("       {}", plain(why.as_bytes())));
        }
        lines
    }

    pub(super) fn json(&self, is_gateway: bool) -> Value {
        let gateway_row = is_gateway.then(|| self.check.gateway_row());
        let (outcome, would, why) = match &self.outcome {
            Outcome::Passed => ("ok", None, None),
            Outcome::Failed(why) => ("failed", None, Some(why)),
            Outcome::NotMade => ("not_checked", None, None),
            Outcome::NotReached(None) => ("not_reached", None, None),
            Outcome::NotReached(Some(Ok(()))) => ("not_reached", Some("pass"), None),
            Outcome::NotReached(Some(Err(why))) => ("not_reached", Some("fail"), Some(why)),
        };
        json!({
            "row": self.check.row(), "gateway_row": gateway_row, "check": name(self.check), "outcome": outcome,
            "would": would, "why": why,
            "expected": self.compared.expected, "found": self.compared.found,
        })
    }
}

/// A check's name, for people.
fn name(check: Check) -> &'static str {
    match check {
        Check::Token(check) => match check {
            TokenCheck::Resource => "resource",
            TokenCheck::Path => "path",
            TokenCheck::Excluded => "exclude",
            TokenCheck::Method => "method",
            TokenCheck::Origin => "origin",
            TokenCheck::Mcp => "mcp message",
            TokenCheck::Credential => "credential",
            TokenCheck::ClientId => "client id",
            TokenCheck::Connection => "connection",
            TokenCheck::Size => "token size",
            TokenCheck::Parts => "token parts",
            TokenCheck::Base64 => "token encoding",
            TokenCheck::Header => "header",
            TokenCheck::Algorithm => "algorithm",
            TokenCheck::KeyId => "kid",
            TokenCheck::Critical => "crit",
            TokenCheck::PayloadEncoding => "b64",
            TokenCheck::Zone => "zone chosen",
            TokenCheck::KeySet => "key set",
            TokenCheck::Key => "key",
            TokenCheck::KeyAlgorithm => "key algorithm",
            TokenCheck::Signature => "signature",
            TokenCheck::Payload => "payload",
            TokenCheck::RequiredClaims => "claims",
        },
        Check::Tool => "tool",
        Check::Mandate(check) => match check {
            MandateCheck::Remaining => "time left",
            MandateCheck::OwnTarget => "own target",
            MandateCheck::Issuer => "issuer",
            MandateCheck::Audience => "audience",
            MandateCheck::ExpiryWithSkew => "expiry, with leeway",
            MandateCheck::IssuedAt => "issued at",
            MandateCheck::NotBefore => "not before",
            MandateCheck::Lifetime => "lifetime",
            MandateCheck::Use => "use",
            MandateCheck::Zone => "zone",
            MandateCheck::Scopes => "scopes",
            MandateCheck::DelegationShape => "delegation claims",
            MandateCheck::Session => "agent session",
            MandateCheck::Delegation => "delegation",
            MandateCheck::Chain => "delegation chain",
            MandateCheck::HopCount => "hop count",
            MandateCheck::OptionalShape => "optional claims",
            MandateCheck::ScopeNotEmpty => "scope not empty",
            MandateCheck::Targets => "targets",
            MandateCheck::Expiry => "expiry",
            MandateCheck::RevocationState => "revocation state",
            MandateCheck::Revocation => "revocation",
            MandateCheck::DelegationEpoch => "delegation epoch",
            MandateCheck::Forwarding => "forwarding",
        },
    }
}
