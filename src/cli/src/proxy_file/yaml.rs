//! YAML as the trees of JSON that a proxy makes of it.

use anyhow::{Context as _, Result, bail, ensure};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// Deepest nesting of a proxy's file that is looked into.
const MAX_DEPTH: usize = 64;

/// Every document of a text.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>> {
    let documents = Yaml::load_from_str(text).context("is neither JSON nor YAML")?;
    documents.iter().map(|one| to_json(one, 0)).collect()
}

/// The last document of a text, for tests.
#[cfg(test)]
pub(crate) fn tree_of(text: &str) -> Value {
    documents(text).unwrap().pop().unwrap()
}

fn to_json(node: &Yaml<'_>, depth: usize) -> Result<Value> {
    ensure!(depth < MAX_DEPTH, "nested deeper than {MAX_DEPTH}");
    let below = depth.saturating_add(1);
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Representation(text, ..) => json!(text),
        Yaml::Sequence(items) => {
            let items: Result<_> = items.iter().map(|item| to_json(item, below)).collect();
            Value::Array(items?)
        }
        Yaml::Mapping(members) => {
            let mut object = Map::new();
            for (key, value) in members {
                let key = match to_json(key, below)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                object.insert(key, to_json(value, below)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(_, node) => to_json(node, below)?,
        Yaml::Alias(_) | Yaml::BadValue => bail!("has a value that cannot be read"),
    })
}
