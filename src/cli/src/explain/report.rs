//! The result, for people and for machines.

use anyhow::Result;
use caracal_mandate::decision::checks::MandateCheck;
use caracal_mandate::decision::explain::{Check, Outcome, Traced};
use caracal_mandate::reply::{Reply, ReplyFormat};
use serde_json::{Value, json};

use super::dependencies::Revocations;
use super::expectation::Compared;
use super::row::Row;
use super::shown_values::plain;
use super::subject::Subject;
use super::{advice, gateway, mcp, token_origin};
use crate::terminal::{Tone, prose, shown_bytes};
use crate::timestamps;

pub(crate) struct Report<'s, 'a> {
    subject: &'s Subject<'a>,
    checks: Vec<Row>,
    reply: Option<Reply>,
    /// The code of the refusal, as metrics and logs have it.
    error: Option<&'static str>,
    /// The `error` that the client gets.
    client_error: Option<&'static str>,
    conditions: Vec<&'static str>,
    changes: Vec<String>,
}

impl<'s, 'a> Report<'s, 'a> {
    pub(crate) fn new(subject: &'s Subject<'a>) -> Result<Self> {
        let unknown = [
            MandateCheck::RevocationState,
            MandateCheck::Revocation,
            MandateCheck::DelegationEpoch,
        ];
        let unasked = matches!(subject.revocations, Revocations::NotAsked);
        let mut checks = Vec::new();
        let (mut changes, mut reasons) = (Vec::new(), Vec::new());
        let mut failed = None;
        for (check, outcome) in &subject.trace.checks {
            let mut outcome = outcome.clone();
            let of_revocation = matches!(check, Check::Mandate(one) if unknown.contains(one));
            if of_revocation && unasked && !matches!(outcome, Outcome::Failed(_)) {
                outcome = Outcome::NotMade;
            }
            let first = match &outcome {
                Outcome::Failed(why) => Some((why, "")),
                Outcome::NotReached(Some(Err(why))) => Some((why, "Then also: ")),
                _ => None,
            };
            if let (Outcome::Failed(_), Check::Token(check)) = (&outcome, check) {
                failed = Some(*check);
            }
            let told = match (failed, check) {
                (Some(failed), Check::Mandate(later)) => {
                    token_origin::explains(failed, *later, subject)
                }
                _ => false,
            };
            // Two checks can fail for one reason, which is fixed once.
            if let Some((why, before)) = first
                && !reasons.contains(why)
                && !told
            {
                reasons.push(why.clone());
                changes.push(format!("{before}{}", advice::of(*check, why, subject)));
            }
            checks.push(Row {
                check: *check,
                outcome,
                compared: Compared::of(*check, subject),
            });
        }
        if let Traced::Refused(refusal) = &subject.trace.verdict {
            if changes.is_empty() {
                changes.push(gateway::change(refusal));
            }
            changes.extend(unchecked_revocation(subject));
        }
        let content_type = subject.request.all("content-type");
        let format = ReplyFormat::for_content_type(content_type.first().copied());
        let (mut reply, error, client_error) = match &subject.trace.verdict {
            Traced::Refused(refusal) if subject.is_gateway() => {
                let (reply, error) = gateway::reply(refusal, format, subject);
                (Some(reply), Some(refusal.code().as_str()), Some(error))
            }
            Traced::Refused(refusal) => {
                let error = Some(refusal.code().as_str());
                (Some(Reply::new(refusal, format)), error, error)
            }
            _ => (None, None, None),
        };
        if let (Some(reply), Traced::Refused(refusal), Some((challenge, scopes))) =
            (&mut reply, &subject.trace.verdict, subject.challenge)
        {
            reply.say_in_challenge(refusal, challenge, scopes);
        }
        let mut conditions = Vec::new();
        let admitted = subject.trace.verdict == Traced::Admitted;
        if subject.claims_only && subject.trace.verdict != Traced::Excluded {
            conditions.push("if a key of the zone signed these claims: no signature was checked");
        }
        if admitted && unasked {
            conditions.push(
                "if not revoked: that was not checked; give --feed, or --revoked and --epoch",
            );
        }
        if admitted && matches!(subject.revocations, Revocations::Disabled) {
            conditions.push("whether revoked or not: the configuration disables revocation");
        }
        if admitted {
            conditions.extend(mcp::unread(subject));
        }
        if admitted && subject.is_gateway() {
            conditions.push(gateway::NOT_EXPLAINED);
        }
        Ok(Report {
            subject,
            checks,
            reply,
            error,
            client_error,
            conditions,
            changes,
        })
    }

    /// Whether the edge lets the request through; none if that is not known.
    pub(crate) fn admits(&self) -> Option<bool> {
        match self.subject.trace.verdict {
            Traced::Admitted | Traced::Excluded => Some(true),
            Traced::Refused(_) => Some(false),
            Traced::NeedsRevocations => None,
        }
    }

    /// It is refused, and goes on all the same.
    fn goes_on_in_shadow(&self) -> bool {
        self.subject.in_shadow && self.admits() == Some(false)
    }

    fn verdict(&self) -> &'static str {
        match self.subject.trace.verdict {
            Traced::Excluded => "excluded",
            Traced::Admitted => "admitted",
            Traced::Refused(_) => "refused",
            Traced::NeedsRevocations => "not judged",
        }
    }

    /// The result, with every check.
    pub(crate) fn json(&self) -> Value {
        let subject = self.subject;
        let is_gateway = subject.is_gateway();
        let checks = self.checks.iter().map(|row| row.json(is_gateway));
        let checks: Vec<Value> = checks.collect();
        let readings: Vec<Value> = subject
            .readings()
            .into_iter()
            .map(|(path, rule)| json!({"path": path, "rule": rule}))
            .collect();
        let reply = self.reply.as_ref().map(json_of);
        json!({
            "verdict": self.verdict(), "goes_on_in_shadow": self.goes_on_in_shadow(),
            "conditions": self.conditions, "error": self.error,
            "client_error": self.client_error, "reply": reply, "at": subject.at,
            "method": shown_bytes(&subject.request.method),
            "path": shown_bytes(without_query(&subject.request.target)),
            "resource": subject.resource.map(|resource| &resource.id),
            "rule": subject.trace.location.rule.map(|_| subject.rule_in_words()),
            "requires": subject.required, "readings": readings,
            "subject_fingerprint": subject.trace.fingerprint.map(|f| f.to_string()),
            "checks": checks, "change": self.changes,
        })
    }

    /// Prints the verdict, what to do about it, and what failed; with `all` every check.
    pub(crate) fn print(&self, all: bool) {
        let plain = |lines: &[String]| {
            for line in lines {
                prose(line, Tone::Plain);
            }
        };
        let tone = match self.admits() {
            Some(true) if self.conditions.is_empty() => Tone::Good,
            Some(false) => Tone::Bad,
            _ => Tone::Warning,
        };
        prose(&self.verdict_line(), tone);
        plain(&self.verdict_details());
        if !self.changes.is_empty() {
            prose("", Tone::Plain);
            prose("What to change", Tone::Heading);
            for change in &self.changes {
                prose(&format!("- {change}"), Tone::Plain);
            }
        }
        prose("", Tone::Plain);
        plain(&self.request_lines());
        prose("", Tone::Plain);
        prose("row  check", Tone::Heading);
        let shown = |row: &&Row| all || row.is_telling();
        for row in self.checks.iter().filter(shown) {
            let mut lines = row.lines(self.subject.is_gateway()).into_iter();
            prose(&lines.next().unwrap_or_default(), row.tone());
            plain(&lines.collect::<Vec<_>>());
        }
        let hidden = self.checks.iter().filter(|row| !shown(row)).count();
        if hidden > 0 {
            plain(&[format!(
                "{hidden} more checks passed, would pass or were not reached: --all shows them"
            )]);
        }
    }

    /// The verdict in a sentence.
    pub(super) fn verdict_line(&self) -> String {
        let is_gateway = self.subject.is_gateway();
        match (&self.reply, self.error, self.client_error) {
            (Some(reply), Some(code), Some(error)) if is_gateway => format!(
                "The edge refuses: {} {error} (in metrics and logs: {code})",
                reply.status
            ),
            (Some(reply), Some(error), _) if self.goes_on_in_shadow() => format!(
                "In shadow the edge lets it through unverified. Enforced, it refuses: {} {error}",
                reply.status
            ),
            (Some(reply), Some(error), _) => {
                format!("The edge refuses: {} {error}", reply.status)
            }
            _ => match self.verdict() {
                "admitted" if is_gateway => {
                    "The edge has the mandate exchanged, and lets it through if that is granted"
                        .to_owned()
                }
                "excluded" => {
                    "The edge lets it through unverified: the path is excluded".to_owned()
                }
                "not judged" => {
                    "It could not be judged: whether it is revoked is not known".to_owned()
                }
                _ => "The edge lets it through".to_owned(),
            },
        }
    }

    fn verdict_details(&self) -> Vec<String> {
        let conditions = self.conditions.iter();
        let mut lines: Vec<String> = conditions.map(|one| format!("  {one}")).collect();
        if let Some(reply) = &self.reply {
            let headers = reply.headers.iter();
            lines.extend(headers.map(|(name, value)| format!("  {name}: {value}")));
            lines.push(format!("  {}", plain(&reply.body)));
        }
        lines
    }

    /// The request, the token, and the rule that was used.
    fn request_lines(&self) -> Vec<String> {
        let subject = self.subject;
        let request = subject.request;
        let mut lines = vec![format!(
            "{} {} at {} = {}",
            plain(&request.method),
            plain(without_query(&request.target)),
            subject.at,
            timestamps::date(subject.at)
        )];
        if let Some(fingerprint) = subject.trace.fingerprint {
            lines.push(format!("token with fingerprint {fingerprint}"));
        }
        if subject.trace.location.rule.is_some() {
            lines.push(format!("judged by {}", subject.rule_in_words()));
        }
        let readings = subject.readings();
        if readings.len() > 1 {
            lines.push("the path has these readings".to_owned());
            let each = readings.into_iter();
            lines.extend(each.map(|(path, rule)| format!("  {path}, under {rule}")));
        }
        lines
    }
}

/// Says that revocation was not checked, so that nobody takes the list for complete. None
/// if there are no claims to look up.
fn unchecked_revocation(subject: &Subject<'_>) -> Option<String> {
    subject.payload.as_ref()?;
    let text = match subject.revocations {
        Revocations::NotAsked => {
            "Revocation was not checked: explain was not told where to ask. When the rest is fixed, explain again with --feed URL (the companion's; its token in CARACAL_FEED_TOKEN), or with --revoked ANCHOR for each sid, root_sid, agent session or delegation edge that is revoked, and --epoch NUMBER."
        }
        Revocations::Pending => {
            "Revocation was not checked: the companion (--feed) is asked only if all earlier checks pass. Fix the rest, and explain again with --feed."
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// A reply, with every header.
pub(super) fn json_of(reply: &Reply) -> Value {
    let headers = reply.headers.iter();
    let headers: Vec<Value> = headers.map(|(name, value)| json!([name, value])).collect();
    json!({
        "status": reply.status, "grpc_status": reply.grpc_status, "headers": headers,
        "body": String::from_utf8_lossy(&reply.body),
    })
}

/// The query is not judged, and may contain a credential.
pub(super) fn without_query(target: &[u8]) -> &[u8] {
    target.split(|b| *b == b'?').next().unwrap_or_default()
}
