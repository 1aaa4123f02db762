//! Files in Kubernetes' ConfigMaps.

use serde_json::Value;

use crate::proxy_file::{is_ours, walk};
use crate::terminal::shown;
use crate::warning::inside;

/// How the files of proxies end. Anything else may have any form.
const ENDS: [&str; 4] = [".yaml", ".yml", ".json", ".conf"];

/// Each file with its place, where it may have a filter of ours in it.
pub(super) fn files(tree: &Value) -> Vec<(String, &str)> {
    let mut all = Vec::new();
    walk(tree, &mut |here| {
        let object = here.object();
        let is_map = object.get("kind").and_then(Value::as_str) == Some("ConfigMap");
        let data = object.get("data").and_then(Value::as_object);
        let Some(data) = data.filter(|_| is_map && object.contains_key("apiVersion")) else {
            return true;
        };
        let texts = data.iter().filter_map(|(name, value)| {
            let place = inside(&here.place(), &format!("file {}", shown(name)));
            let text = value.as_str().filter(|text| is_ours(text))?;
            ENDS.iter()
                .any(|end| name.ends_with(end))
                .then_some((place, text))
        });
        all.extend(texts);
        false
    });
    all
}
