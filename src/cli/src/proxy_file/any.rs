//! Protobuf's JSON: names in two spellings, enums by name or number, and `Any`, which says
//! its type in `@type`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// Envoy takes BytesValue with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// What the filter needs in its place.
const USE_TEXT: &str =
    "use \"@type\": type.googleapis.com/google.protobuf.StringValue with the JSON in value";

/// A member by its name, in snake case as the proto file has it or in camel case.
pub(crate) fn member<'t>(object: &'t Map<String, Value>, name: &str) -> Option<&'t Value> {
    object.get(name).or_else(|| object.get(&camel(name)))
}

/// The objects in an array that is a member.
pub(crate) fn objects<'t>(
    object: &'t Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'t Map<String, Value>> + use<'t> {
    let all = member(object, name).and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_object)
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

/// Whether an enum has a value, which may be written as its name or its number.
pub(crate) fn is_enum(value: Option<&Value>, name: &str, number: u64) -> bool {
    value.is_some_and(|value| value.as_str() == Some(name) || value.as_u64() == Some(number))
}

/// The type and the members of an `Any`. A TypedStruct, xds's or the older one, stands for
/// the type that it names.
pub(crate) fn typed(any: &Map<String, Value>) -> Option<(&str, &Map<String, Value>)> {
    let url = any.get("@type").and_then(Value::as_str)?;
    let name = type_name(url);
    if !["udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"].contains(&name) {
        return Some((name, any));
    }
    let url = member(any, "type_url").and_then(Value::as_str)?;
    Some((type_name(url), any.get("value")?.as_object()?))
}

/// The type that a URL ends with.
fn type_name(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

/// The bytes that Envoy hands to a plugin for its `configuration`, which is an `Any`. The
/// error says why Envoy does not start with it, or hands over something else.
pub(crate) fn plugin_configuration(any: Option<&Value>) -> Result<Vec<u8>, String> {
    let any = match any {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(any)) if any.is_empty() => return Ok(Vec::new()),
        Some(Value::Object(any)) => any,
        Some(_) => {
            return Err(format!(
                "Envoy expects an object with \"@type\"; {USE_TEXT}"
            ));
        }
    };
    let Some(url) = any.get("@type").and_then(Value::as_str) else {
        return Err(format!(
            "Envoy refuses an object without \"@type\"; {USE_TEXT}"
        ));
    };
    let name = match url.rsplit_once('/') {
        Some((host, name)) if !host.is_empty() => name,
        _ => {
            return Err(format!(
                "Envoy refuses an \"@type\" without a host and a slash before the type; {USE_TEXT}"
            ));
        }
    };
    let kind = name.strip_prefix("google.protobuf.").unwrap_or_default();
    if !["StringValue", "BytesValue"].contains(&kind) {
        let why = match kind {
            "" => "it does not know it, or hands over its binary form, which the filter refuses",
            _ => "it hands over its binary form, which the filter refuses",
        };
        return Err(format!(
            "Envoy makes no JSON of {}: {why}; {USE_TEXT}",
            crate::terminal::shown(name)
        ));
    }
    if any.keys().any(|key| key != "@type" && key != "value") {
        return Err(format!(
            "Envoy refuses a {kind} with members beside value; {USE_TEXT}"
        ));
    }
    let text = match any.get("value") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => {
            return Err(format!(
                "Envoy refuses a {kind} whose value is no text; put the JSON between quotes, or after value: |"
            ));
        }
    };
    if kind == "StringValue" {
        return Ok(text.as_bytes().to_vec());
    }
    let standard = text.replace('-', "+").replace('_', "/");
    BASE64
        .decode(standard)
        .map_err(|_| format!("Envoy refuses a BytesValue whose value is not base64; {USE_TEXT}"))
}
