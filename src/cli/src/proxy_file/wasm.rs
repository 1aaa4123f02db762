//! An Envoy filter of type `Wasm`.

use serde_json::{Map, Value};

use super::any::{is_enum, member, plugin_configuration, typed};
use super::names::{is_our_configuration, is_ours};

/// Type of an Envoy filter that is WebAssembly.
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

/// One that is ours.
#[derive(Debug)]
pub(crate) struct Wasm<'t> {
    pub(crate) name: &'t str,
    /// The PluginConfig.
    pub(crate) config: &'t Map<String, Value>,
    /// The bytes that it is configured with, or why Envoy does not hand it any.
    pub(crate) document: Result<Vec<u8>, String>,
}

impl<'t> Wasm<'t> {
    /// An `Any`, as the member of an object with a name. It is ours by its name, its code's
    /// file, or what it is configured with.
    pub(crate) fn of(any: &'t Map<String, Value>, name: Option<&'t str>) -> Option<Wasm<'t>> {
        let (kind, body) = typed(any)?;
        if kind != WASM {
            return None;
        }
        let config = member(body, "config")?.as_object()?;
        let inner = config.get("name").and_then(Value::as_str);
        let configuration = member(config, "configuration");
        let document = plugin_configuration(configuration);
        let code = member(config, "vm_config").and_then(|vm| vm.get("code"));
        let code = code.map(Value::to_string);
        let names = [name, inner, code.as_deref()];
        // What Envoy would not hand over as JSON is still recognised as ours.
        let value = configuration.map(|any| any.get("value").unwrap_or(any).to_string());
        let known = names.iter().flatten().any(|name| is_ours(name))
            || document.as_deref().is_ok_and(is_our_configuration)
            || value.is_some_and(|value| is_our_configuration(value.as_bytes()));
        known.then(|| Wasm {
            name: name.or(inner).unwrap_or("unnamed"),
            config,
            document,
        })
    }

    /// Whether Envoy shows it a request's body while it holds the headers.
    pub(crate) fn shows_body(&self) -> bool {
        member(self.config, "allow_on_headers_stop_iteration") == Some(&Value::Bool(true))
    }

    /// Whether requests pass when it cannot run.
    pub(crate) fn fails_open(&self) -> bool {
        is_enum(member(self.config, "failure_policy"), "FAIL_OPEN", 3)
            || member(self.config, "fail_open") == Some(&Value::Bool(true))
    }
}
