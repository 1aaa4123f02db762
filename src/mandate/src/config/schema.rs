//! The JSON Schema of the configuration, generated from `model`'s types.

use super::model::Configuration;

/// The JSON Schema of the configuration (draft 2020-12).
///
/// It contains every rule that a schema can express. Only [`Configuration::from_json`]
/// checks the rules for prefixes, URLs and header names. `issuer` and `zone_id` are not
/// required, because the environment may give them.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Configuration).to_value();
    without_null(&mut schema);
    if let Some(properties) = schema
        .pointer_mut("/properties")
        .and_then(|p| p.as_object_mut())
    {
        for name in ["issuer", "zone_id", "zones", "resources"] {
            if let Some(property) = properties.get_mut(name).and_then(|p| p.as_object_mut()) {
                property.remove("default");
            }
        }
    }
    alias(&mut schema, "zone_id", "expected_zone_id");
    alias(&mut schema, "require_session", "require_agent");
    for name in ["Overrides", "RouteOverrides", "Resource"] {
        if let Some(part) = schema.pointer_mut(&format!("/$defs/{name}")) {
            alias(part, "require_session", "require_agent");
        }
    }
    one_or_several(&mut schema);
    one_zone_or_several(&mut schema);
    schema
}

/// `resources` excludes the keys that describe a single resource.
fn one_or_several(schema: &mut serde_json::Value) {
    let has = |name: &str| serde_json::json!({ "required": [name] });
    let one = ["audience", "routes", "exclude", "metadata"].map(has);
    let choice = serde_json::json!({
        "if": has("resources"), "then": { "not": { "anyOf": one } }, "else": has("audience"),
    });
    if let Some(all) = schema.get_mut("allOf").and_then(|all| all.as_array_mut()) {
        all.push(choice);
    }
}

/// `zones` excludes `zone_id`, which the environment may give, and has ids of one form.
fn one_zone_or_several(schema: &mut serde_json::Value) {
    let has = |name: &str| serde_json::json!({ "required": [name] });
    let one = ["zone_id", "expected_zone_id"].map(has);
    let both = serde_json::json!({ "not": { "allOf": [has("zones"), { "anyOf": one }] } });
    if let Some(all) = schema.get_mut("allOf").and_then(|all| all.as_array_mut()) {
        all.push(both);
    }
    let zones = schema.pointer_mut("/properties/zones");
    if let Some(zones) = zones.and_then(|zones| zones.as_object_mut())
        && let Some(each) = zones.insert("additionalProperties".to_owned(), false.into())
    {
        let ids = serde_json::json!({ "^[A-Za-z0-9._:-]{1,128}$": each });
        zones.insert("patternProperties".to_owned(), ids);
    }
}

/// `null` is not a value of any key. An absent key is left out.
fn without_null(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(members) => {
            if let Some(serde_json::Value::Array(types)) = members.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(serde_json::Value::Array(any)) = members.get_mut("anyOf") {
                any.retain(|schema| schema.get("type") != Some(&"null".into()));
            }
            members.values_mut().for_each(without_null);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Allows an older name for a key, and forbids to use both.
fn alias(schema: &mut serde_json::Value, name: &str, older: &str) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    let Some(properties) = schema.get_mut("properties").and_then(|p| p.as_object_mut()) else {
        return;
    };
    let Some(property) = properties.get(name).cloned() else {
        return;
    };
    properties.insert(older.to_owned(), property);
    let both = serde_json::json!({ "not": { "required": [name, older] } });
    if let Some(all) = schema
        .entry("allOf")
        .or_insert_with(|| serde_json::json!([]))
        .as_array_mut()
    {
        all.push(both);
    }
}
