//! What is wrong with a configuration, for the person who mends it: the core's errors, with
//! the place in the text, and for a key that is unknown the one that was meant.

use std::fmt;

use caracal_mandate::config::ConfigError as CoreError;
use saphyr::{LoadableYamlNode as _, Yaml};
use serde_json::Value;

use crate::json_position::Position;

/// The committed schema, which a test compares with the types.
pub(crate) const SCHEMA: &str = include_str!("../../mandate/config.schema.json");
/// Deepest nesting of the schema's objects that is looked into.
const MAX_DEPTH: usize = 8;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// Path of the key; empty for the document.
    pub(crate) path: String,
    pub(crate) problem: String,
    /// Where it stands in the configuration's text.
    pub(crate) position: Option<Position>,
    lines: Lines,
}

/// Whose lines are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// The file is the configuration.
    OfFile,
    /// It is a text in a proxy's file.
    OfText,
    /// A proxy's file has it as an object: it has no lines of its own.
    Lost,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, "line {line}, column {column}")?;
            f.write_str(match self.lines {
                Lines::OfText => " of its JSON: ",
                Lines::OfFile | Lines::Lost => ": ",
            })?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

/// The core's errors in a configuration's text.
pub(crate) fn in_text(document: &[u8], lines: Lines, errors: Vec<CoreError>) -> Vec<ConfigError> {
    let text = std::str::from_utf8(document).unwrap_or_default();
    let place = |position: Option<Position>| position.filter(|_| lines != Lines::Lost);
    if let Some((problem, position)) = not_json(text) {
        return vec![ConfigError {
            path: String::new(),
            problem,
            position: place(position),
            lines,
        }];
    }
    let one = |error: CoreError| ConfigError {
        position: place(Position::of_path(text, &error.path)),
        problem: match meant(&error) {
            Some(hint) => {
                let hint = format!("unknown key; {hint}");
                error.problem.replacen("unknown key;", &hint, 1)
            }
            None => error.problem,
        },
        path: error.path,
        lines,
    };
    errors.into_iter().map(one).collect()
}

/// Why a text is no JSON; none where it is, or where there is none.
fn not_json(text: &str) -> Option<(String, Option<Position>)> {
    if text.trim().is_empty() {
        return None;
    }
    let why = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
    let (line, column) = (why.line(), why.column());
    let why = why.to_string();
    let why = why.split(" at line ").next().unwrap_or_default();
    let problem = match is_yaml_object(text) {
        true => "this looks like YAML; the filter's configuration is a JSON object".to_owned(),
        false => format!("the configuration is not JSON: {why}"),
    };
    let position = (line > 0).then_some(Position { line, column });
    Some((problem, position))
}

/// Whether it has keys as YAML writes them. JSON with a mistake in it begins with a brace.
fn is_yaml_object(text: &str) -> bool {
    !text.trim_start().starts_with(['{', '['])
        && Yaml::load_from_str(text).is_ok_and(|all| all.iter().any(Yaml::is_mapping))
}

/// Whether a YAML text is a filter's configuration, and no proxy's file.
pub(crate) fn is_yaml_configuration(text: &str) -> bool {
    let keys = ["issuer", "audience", "jwks", "revocation", "resources"];
    let has_key = |yaml: &Yaml<'_>| keys.iter().any(|key| yaml.contains_mapping_key(key));
    Yaml::load_from_str(text).is_ok_and(|all| all.first().is_some_and(has_key))
}

/// What somebody meant who wrote a key that is unknown.
fn meant(error: &CoreError) -> Option<String> {
    let known = error.known_keys()?;
    let name = error.path.rsplit('.').next().unwrap_or_default();
    if let Some(near) = nearest(name, &known) {
        return Some(format!("did you mean {near}?"));
    }
    let schema: Value = serde_json::from_str(SCHEMA).unwrap_or_default();
    let mut all = Vec::new();
    paths_of(name, &schema, &schema, "", 0, &mut all);
    (!all.is_empty()).then(|| format!("did you mean {}?", all.join(" or ")))
}

/// The known key that a name is most like, if it is like one.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let most = name.len().checked_div(3).unwrap_or_default().max(1);
    let distance = |key: &&str| strsim::osa_distance(name, key);
    let like = known.iter().copied().filter(|key| distance(key) <= most);
    like.min_by_key(distance).or_else(|| {
        // `scopes` for `required_scopes`.
        let has = |key: &&str| name.len() > 3 && key.contains(name);
        known.iter().copied().find(has)
    })
}

/// The paths of every key of a name that the schema has, each once.
fn paths_of(
    name: &str,
    schema: &Value,
    here: &Value,
    prefix: &str,
    depth: usize,
    all: &mut Vec<String>,
) {
    if depth > MAX_DEPTH {
        return;
    }
    let reference = here.get("$ref").and_then(Value::as_str);
    if let Some(target) = reference.and_then(|at| schema.pointer(at.strip_prefix('#')?)) {
        paths_of(name, schema, target, prefix, depth.saturating_add(1), all);
    }
    for one in here
        .get("anyOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        paths_of(name, schema, one, prefix, depth.saturating_add(1), all);
    }
    for (key, value) in here
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let path = match prefix {
            "" => key.clone(),
            prefix => format!("{prefix}.{key}"),
        };
        if key == name && !all.contains(&path) {
            all.push(path.clone());
        }
        paths_of(name, schema, value, &path, depth.saturating_add(1), all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caracal_mandate::config::Configuration;

    fn errors(text: &str) -> Vec<String> {
        let found = Configuration::from_json(text.as_bytes(), &|_| None).unwrap_err();
        let found = in_text(text.as_bytes(), Lines::OfFile, found);
        found.iter().map(ToString::to_string).collect()
    }

    const GOOD: &str = r#""issuer": "https://sts.example", "zone_id": "z", "audience": "a",
        "jwks": {"upstream": "sts"}, "revocation": {"upstream": "feed"}"#;

    #[test]
    fn the_key_that_was_meant_is_named() {
        for (extra, path, hint) in [
            (
                r#""requierd_scopes": []"#,
                "requierd_scopes",
                "required_scopes",
            ),
            (r#""scopes": []"#, "scopes", "required_scopes"),
            (
                r#""max_staleness_s": 5"#,
                "max_staleness_s",
                "revocation.max_staleness_s",
            ),
            (
                r#""limits": {"max_pausd": 5}"#,
                "limits.max_pausd",
                "max_paused",
            ),
            (
                r#""routes": {"/a": {"scope": []}}"#,
                "routes[\"/a\"].scope",
                "required_scopes",
            ),
        ] {
            let said = errors(&format!("{{{GOOD},\n{extra}}}"));
            let expected = format!("{path}: unknown key; did you mean {hint}? expected one of ");
            assert!(
                said.len() == 1 && said[0].starts_with("line 3, column "),
                "{said:?}"
            );
            assert!(said[0].contains(&expected), "{said:?}");
        }
        let said = errors(&format!("{{{GOOD}, \"qqqqqqq\": 1}}"));
        assert!(
            said[0].contains("qqqqqqq: unknown key; expected one of "),
            "{said:?}"
        );
    }

    #[test]
    fn what_is_no_json_is_named_with_its_place() {
        for (text, expected) in [
            (
                "{\n  \"issuer\": \"x\",\n}",
                "line 3, column 1: the configuration is not JSON: key must be a string",
            ),
            (
                "{\"a\": 1",
                "line 1, column 7: the configuration is not JSON: EOF while parsing an object",
            ),
            (
                "issuer: https://sts.example\nzone_id: z\n",
                "line 1, column 1: this looks like YAML; the filter's configuration is a JSON object",
            ),
            (
                "hello",
                "line 1, column 1: the configuration is not JSON: expected value",
            ),
        ] {
            assert_eq!(errors(text), [expected]);
        }
        assert_eq!(
            errors(""),
            ["the configuration is empty; expected a JSON object"]
        );
        assert_eq!(errors("[]").len(), 1);
    }

    #[test]
    fn an_object_of_a_proxys_file_has_no_lines() {
        let text = r#"{"issuer": 1}"#;
        let found = Configuration::from_json(text.as_bytes(), &|_| None).unwrap_err();
        let found = in_text(text.as_bytes(), Lines::Lost, found);
        assert!(found.iter().all(|one| one.position.is_none()));
    }
}
