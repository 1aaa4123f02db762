//! The filter's JSON Schema (draft 2020-12) as Kong takes it: draft 4, which is all that
//! its validator knows, and without what the filter refuses on Kong.

use serde_json::{Map, Value, json};

/// Keywords that mean in draft 4 what they mean in 2020-12, with no schema in them.
const SAME: [&str; 13] = [
    "type",
    "enum",
    "required",
    "uniqueItems",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "pattern",
];
/// Those with words for people.
const WORDS: [&str; 2] = ["title", "description"];
/// What is left out: Kong writes its own `$schema`, a `format` such as uint64 says nothing
/// that `minimum` and `maximum` do not, and the filter has its defaults itself.
const LEFT_OUT: [&str; 3] = ["$schema", "default", "format"];
/// `host:port`, which nothing but Envoy's clusters does without.
const ADDRESS: &str = ":[0-9]{1,5}$";

/// `caracal_filter.meta.json`.
pub(crate) fn meta(schema: &Value) -> Value {
    let mut schema = schema.clone();
    for_kong(&mut schema);
    let mut schema = draft4(&schema);
    schema["$schema"] = json!("http://json-schema.org/draft-04/schema#");
    json!({ "config_schema": schema })
}

/// What the filter says on Kong. Each step fails where the schema has moved on.
fn for_kong(schema: &mut Value) {
    let host = at(schema, "/properties/host");
    let words = host["description"].clone();
    *host = json!({"description": words, "type": "string", "enum": ["kong"]});
    let required = at(schema, "/required").as_array_mut().unwrap();
    required.push(json!("host"));
    for (object, name) in [
        // Only `host` had it.
        ("/$defs", "ProxyKind"),
        ("/properties", "filter_state"),
        ("/$defs/Limits/properties", "max_paused"),
        ("/$defs/Limits/properties", "pause_timeout_ms"),
    ] {
        let object = at(schema, object).as_object_mut().unwrap();
        assert!(object.remove(name).is_some(), "{name} has moved");
    }
    for user in ["Jwks", "Feed"] {
        let upstream = at(schema, &format!("/$defs/{user}/properties/upstream"));
        upstream["pattern"] = json!(ADDRESS);
    }
}

fn at<'a>(schema: &'a mut Value, pointer: &str) -> &'a mut Value {
    let found = schema.pointer_mut(pointer);
    found.unwrap_or_else(|| panic!("{pointer} has moved"))
}

/// A schema in draft 4. A keyword that is not known here fails the test: Kong would pass
/// over it, and take what the filter refuses.
fn draft4(schema: &Value) -> Value {
    let Value::Object(members) = schema else {
        return schema.clone();
    };
    if let Some(only) = choice(members) {
        return only;
    }
    let mut new = Map::new();
    let mut all_of = Vec::new();
    for (keyword, value) in members {
        let (name, value) = match keyword.as_str() {
            "$defs" => ("definitions", each(value)),
            "properties" | "patternProperties" => (keyword.as_str(), each(value)),
            "items" | "not" | "additionalProperties" => (keyword.as_str(), draft4(value)),
            "anyOf" | "oneOf" => (keyword.as_str(), several(value).into()),
            "allOf" => {
                all_of.append(&mut several(value));
                continue;
            }
            "const" => ("enum", json!([value])),
            // What stands beside a reference counts for nothing in draft 4.
            "$ref" => {
                let name = value
                    .as_str()
                    .unwrap()
                    .replace("#/$defs/", "#/definitions/");
                all_of.push(json!({ "$ref": name }));
                continue;
            }
            "if" => {
                let (holds, part) = (draft4(value), |name| draft4(&members[name]));
                all_of.push(json!({"anyOf": [
                    {"allOf": [holds, part("then")]},
                    {"allOf": [{"not": holds}, part("else")]},
                ]}));
                continue;
            }
            "then" | "else" => continue,
            same if SAME.contains(&same) || WORDS.contains(&same) => (same, value.clone()),
            other if LEFT_OUT.contains(&other) => continue,
            other => panic!("{other} has no counterpart in draft 4 here: {schema}"),
        };
        new.insert(name.to_owned(), value);
    }
    match all_of.as_slice() {
        [] => {}
        [only] if new.is_empty() => return only.clone(),
        _ => {
            new.insert("allOf".to_owned(), all_of.into());
        }
    }
    Value::Object(new)
}

/// A choice between texts, each with its own words, as one list: Kong names what is
/// missing then.
fn choice(members: &Map<String, Value>) -> Option<Value> {
    let texts = members.get("oneOf")?.as_array()?.iter();
    let texts: Option<Vec<&Value>> = texts.map(|one| one.get("const")).collect();
    let mut new = json!({"type": "string", "enum": texts?});
    if let Some(words) = members.get("description") {
        new["description"] = words.clone();
    }
    Some(new)
}

fn each(schemas: &Value) -> Value {
    let members = schemas.as_object().unwrap().iter();
    members
        .map(|(n, schema)| (n.clone(), draft4(schema)))
        .collect()
}

fn several(schemas: &Value) -> Vec<Value> {
    schemas.as_array().unwrap().iter().map(draft4).collect()
}
