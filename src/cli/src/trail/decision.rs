//! One audit event, as it is shown. Events come from a stream that others write to as well:
//! nothing of one is printed before it is made harmless to a terminal.

use serde_json::Value;

use crate::terminal;

/// Longest text in a column.
const MAX_CELL: usize = 40;

/// A recorded decision.
pub(crate) struct Decision {
    event: Value,
}

impl Decision {
    /// `None` if it is no JSON object.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let mut event: Value = serde_json::from_slice(data).ok()?;
        event.as_object()?;
        // The product's services write these members as text, too.
        for name in ["metadata_json", "diagnostics_json"] {
            if let Some(inner) = event.get(name).and_then(Value::as_str)
                && let Ok(inner) = serde_json::from_str::<Value>(inner)
                && let Some(members) = event.as_object_mut()
            {
                members.insert(name.to_owned(), inner);
            }
        }
        Some(Decision { event })
    }

    /// The event.
    pub(crate) fn event(&self) -> &Value {
        &self.event
    }

    /// A member of the event; empty if it has none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.event.get(name).and_then(Value::as_str).unwrap_or("")
    }

    /// A member of the event's metadata; empty if it has none.
    pub(crate) fn metadata(&self, name: &str) -> &str {
        let metadata = self.event.get("metadata_json");
        let member = metadata.and_then(|metadata| metadata.get(name));
        member.and_then(Value::as_str).unwrap_or("")
    }

    /// A number of the event's metadata.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.event.get("metadata_json")?.get(name)?.as_u64()
    }

    /// Whether the edge made it, and not another service of the product.
    pub(crate) fn is_of_an_edge(&self) -> bool {
        let kind = self.text("event_type");
        kind == "edge_resource_request" || kind == "gateway_resource_request"
    }

    /// Whether it was refused.
    pub(crate) fn is_denied(&self) -> bool {
        self.text("decision") == "deny"
    }

    /// Whether it was admitted. An event that says neither is not taken for an admission.
    pub(crate) fn is_allowed(&self) -> bool {
        self.text("decision") == "allow"
    }

    /// Whether it was decided in shadow: if it was refused, it went on all the same.
    pub(crate) fn is_in_shadow(&self) -> bool {
        let metadata = self.event.get("metadata_json");
        metadata.and_then(|all| all.get("shadow")) == Some(&Value::Bool(true))
    }

    /// The contract's code of a refusal; empty for an admitted request.
    pub(crate) fn code(&self) -> &str {
        self.metadata("reason")
    }

    /// Why it was refused, more precisely than the client was told; or the code.
    pub(crate) fn reason(&self) -> &str {
        let first = self
            .event
            .get("diagnostics_json")
            .and_then(|all| all.get(0));
        let reason = first.and_then(|one| one.get("reason"));
        reason
            .and_then(Value::as_str)
            .unwrap_or_else(|| self.code())
    }

    /// The resource, as the edge or another service names it.
    pub(crate) fn resource(&self) -> &str {
        let names = ["resource", "resource_id", "target"];
        let mut given = names.iter().map(|name| self.metadata(name));
        given.find(|text| !text.is_empty()).unwrap_or("")
    }

    /// The client's id.
    pub(crate) fn client(&self) -> &str {
        let names = ["application_id", "client_id"];
        let mut given = names.iter().map(|name| self.metadata(name));
        given.find(|text| !text.is_empty()).unwrap_or("")
    }

    /// A row of the table, with one column for each of [`COLUMNS`].
    pub(crate) fn row(&self) -> String {
        let status = self.number("gateway_status");
        let took = self.number("latency_ms");
        let cells = [
            self.text("occurred_at").to_owned(),
            match self.is_denied() && self.is_in_shadow() {
                true => "shadow".to_owned(),
                false => self.text("decision").to_owned(),
            },
            status.map_or_else(String::new, |status| status.to_string()),
            self.reason().to_owned(),
            self.metadata("method").to_owned(),
            self.resource().to_owned(),
            self.client().to_owned(),
            took.map_or_else(String::new, |ms| format!("{ms} ms")),
            self.text("request_id").to_owned(),
        ];
        row(cells.iter().map(String::as_str))
    }
}

/// The columns of the table, with their widths.
const COLUMNS: [(&str, usize); 9] = [
    ("TIME", 27),
    ("DECISION", 8),
    ("STATUS", 6),
    ("REASON", 19),
    ("METHOD", 7),
    ("RESOURCE", 24),
    ("CLIENT", 16),
    ("TOOK", 8),
    ("REQUEST", 0),
];

/// The table's first line.
pub(crate) fn heading() -> String {
    row(COLUMNS.iter().map(|(name, _)| *name))
}

fn row<'c>(cells: impl Iterator<Item = &'c str>) -> String {
    let cells = cells.zip(COLUMNS).map(|(cell, (_, width))| {
        let cell = if cell.is_empty() {
            "-".to_owned()
        } else {
            cell_of(cell)
        };
        format!("{cell:width$}")
    });
    cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// A code or a reason: as it is if it is a word, otherwise in quotes and harmless.
pub(crate) fn word(text: &str) -> String {
    let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    match text.len() <= 64 && text.bytes().all(is_part) {
        true => text.to_owned(),
        false => terminal::shown(text),
    }
}

/// A text without quotes if it needs none, shortened.
fn cell_of(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() || c == ' ';
    if text.chars().all(is_plain) && text.chars().count() <= MAX_CELL {
        return text.to_owned();
    }
    let cut: String = text.chars().take(MAX_CELL).collect();
    let mark = if cut.len() < text.len() { "~" } else { "" };
    match cut.chars().all(is_plain) {
        true => format!("{cut}{mark}"),
        false => format!("{}{mark}", terminal::shown(&cut)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(event: &Value) -> Decision {
        Decision::read(event.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_others_wrote_cannot_write_to_a_terminal() {
        let decision = read(&json!({
            "occurred_at": "\u{1b}[2J", "request_id": "a\nb", "decision": "x".repeat(5_000),
            "metadata_json": {"resource": "\u{202e}", "application_id": "a b"},
        }));
        let row = decision.row();
        assert!(row.len() < 500, "{row}");
        assert!(
            row.chars().all(|c| c.is_ascii_graphic() || c == ' '),
            "{row}"
        );
    }

    #[test]
    fn a_code_from_others_is_one_word_or_in_quotes() {
        assert_eq!(word("invalid_token"), "invalid_token");
        for bad in [
            "\u{1b}]0;x\u{7}",
            "a\nADMITTED 200",
            "\u{9b}2J",
            &"x".repeat(5_000),
        ] {
            let word = word(bad);
            assert!(word.starts_with('"') && word.len() < 500, "{word}");
            assert!(
                word.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
                "{word}"
            );
        }
    }

    #[test]
    fn a_refusal_in_shadow_is_not_shown_as_one_that_was_carried_out() {
        for (decision, shadow, shown) in [
            ("deny", json!(true), "shadow"),
            ("deny", json!("true"), "deny"),
            ("deny", json!(null), "deny"),
            ("allow", json!(true), "allow"),
        ] {
            let read = read(&json!({"decision": decision, "metadata_json": {"shadow": shadow}}));
            assert_eq!(read.is_denied(), decision == "deny");
            let row = read.row();
            assert_eq!(row.split_whitespace().nth(1), Some(shown), "{row}");
        }
    }

    #[test]
    fn only_allow_is_an_admission() {
        for (text, allowed, denied) in [
            ("allow", true, false),
            ("deny", false, true),
            ("partial", false, false),
            ("", false, false),
        ] {
            let decision = read(&json!({"decision": text}));
            assert_eq!(
                (decision.is_allowed(), decision.is_denied()),
                (allowed, denied)
            );
        }
    }

    #[test]
    fn members_may_be_texts() {
        let plain = json!({"metadata_json": {"reason": "invalid_token"}, "diagnostics_json": [{"reason": "expired"}]});
        let texts = json!({
            "metadata_json": plain["metadata_json"].to_string(),
            "diagnostics_json": plain["diagnostics_json"].to_string(),
        });
        for event in [plain, texts] {
            let decision = read(&event);
            assert_eq!(
                (decision.code(), decision.reason()),
                ("invalid_token", "expired")
            );
        }
        let other = read(&json!({"metadata_json": 7, "diagnostics_json": "{", "decision": 1}));
        assert_eq!((other.code(), other.text("decision")), ("", ""));
        assert!(Decision::read(b"[]").is_none() && Decision::read(b"").is_none());
    }
}
