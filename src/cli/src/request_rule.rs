//! The rule for one request: its resource, the readings of its path, and its
//! requirements.

use caracal_mandate::config::Configuration;
use caracal_mandate::decision::explain::TokenCheck;
use caracal_mandate::decision::verifier::Verifier;
use caracal_mandate::mcp::rule::unlisted as unlisted_tool;
use caracal_mandate::request::RequestView;
use serde_json::{Map, Value, json};

use crate::rule_names;
use crate::terminal::shown_bytes;

/// The requirements, without those that require nothing.
pub(crate) fn requires_text(requires: &Map<String, Value>) -> String {
    let demands = |value: &Value| *value != json!([]) && *value != json!(false);
    let requires: Vec<String> = requires
        .iter()
        .filter(|(_, value)| demands(value))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    requires.join(" ")
}

/// The rule in force for a request.
pub(crate) fn in_force(configuration: &Configuration, request: &RequestView<'_>) -> Value {
    let verifier = Verifier::from(configuration);
    let location = verifier.locate(request);
    let resources = verifier.resources();
    let resource = location.resource.and_then(|id| resources.get(id));
    let in_words = |rule, method| {
        resource.map(|resource| rule_names::rule_in_words(&resource.rules, rule, method))
    };
    let readings: Vec<Value> = location
        .readings
        .iter()
        .map(|one| json!({"path": shown_bytes(&one.path), "rule": in_words(one.rule, None)}))
        .collect();
    let method = location.matched.map(|matched| matched.method);
    let required = location
        .matched
        .and_then(|matched| resources.required(matched));
    let unlisted = location
        .matched
        .and_then(|matched| resources.required_of_unlisted(matched));
    let denied = unlisted.map(|_| (TokenCheck::Mcp, unlisted_tool()));
    let refused = location.refused.or(denied).map(|(_, refusal)| {
        json!({
            "status": refusal.code().http_status(), "error": refusal.code().as_str(),
            "error_description": refusal.description(),
        })
    });
    let is_excluded = refused.is_none() && required.is_none();
    let document = verifier.document(request);
    let document = document.and_then(|one| serde_json::from_slice::<Value>(one.body()).ok());
    json!({
        "document": document,
        "resource": resource.filter(|_| resources.are_named()).map(|one| &one.id),
        "audience": required.map(|(resource, _)| &resource.audience),
        "rule": location.rule.and_then(|rule| in_words(rule, method)),
        "excluded": is_excluded, "refused": refused,
        "requires": required.map(|(_, required)| required), "readings": readings,
    })
}

pub(crate) fn in_words(said: &Value) -> Vec<String> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let part = |name: &str| text(said.get(name));
    let mut lines = Vec::new();
    if let Some(document) = said.get("document").filter(|one| !one.is_null()) {
        lines.push("answered  by the filter, without a mandate: metadata of a resource".to_owned());
        lines.push(format!("document  {document}"));
        return lines;
    }
    if let Some(id) = said.get("resource").and_then(Value::as_str) {
        lines.push(format!("resource  {id}"));
    }
    let readings = said.get("readings").and_then(Value::as_array);
    for reading in readings.into_iter().flatten() {
        let (path, rule) = (text(reading.get("path")), text(reading.get("rule")));
        lines.push(format!("read as   {path}, under {rule}"));
    }
    if let Some(refused) = said.get("refused").filter(|refused| !refused.is_null()) {
        let status = refused.get("status").map(Value::to_string);
        lines.push(format!(
            "refused   {} {}: {}",
            status.unwrap_or_default(),
            text(refused.get("error")),
            text(refused.get("error_description"))
        ));
        return lines;
    }
    lines.push(format!("rule      {}", part("rule")));
    match said.get("requires").and_then(Value::as_object) {
        Some(requires) => {
            lines.push(format!("audience  {}", part("audience")));
            lines.push(format!("requires  {}", requires_text(requires)));
        }
        None => lines.push("requires  nothing: it passes without a mandate".to_owned()),
    }
    lines
}
