use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use caracal_mandate::config::Configuration;
use serde_json::json;

use super::*;

const ENVOY_WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

const DOCUMENT: &str = r#"{"issuer":"https://sts.example.test","zone_id":"z","audience":"a","jwks":{"upstream":"u"},"revocation":"disabled"}"#;

fn found(text: &str) -> Vec<Source> {
    find(text.as_bytes().to_vec()).unwrap().sources
}

fn only(text: &str) -> Configuration {
    let mut all = found(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop().unwrap().configuration().unwrap()
}

#[test]
fn a_bare_configuration_is_taken_as_it_is() {
    assert_eq!(found(DOCUMENT)[0].name, None);
    assert_eq!(found(DOCUMENT)[0].document, Ok(DOCUMENT.into()));
    // A key twice is for the filter's reader to find: no tree is made of it.
    let twice = DOCUMENT.replace(r#""audience":"a""#, r#""audience":"a","audience":"b""#);
    assert!(found(&twice)[0].configuration().is_err());
    assert!(found("{")[0].configuration().is_err());
}

/// An HTTP filter of Envoy's with a `configuration`, beside one that is not ours.
fn envoy(name: &str, configuration: &str) -> String {
    format!(
        r#"
http_filters:
  - name: {name}
    typed_config:
      "@type": type.googleapis.com/{ENVOY_WASM}
      config:
        name: in front
        vm_config: {{ code: {{ local: {{ filename: /x/caracal_filter.wasm }} }} }}
        configuration: {configuration}
  - name: other
    typed_config:
      "@type": type.googleapis.com/{ENVOY_WASM}
      config: {{ configuration: {{ value: "{{}}" }} }}
"#
    )
}

fn typed(kind: &str, value: &str) -> String {
    format!(r#"{{"@type":"type.googleapis.com/google.protobuf.{kind}","value":{value}}}"#)
}

#[test]
fn envoy_s_text_and_bytes_are_read_and_nothing_else() {
    let text = json!(DOCUMENT).to_string();
    let bytes = |engine: &dyn Fn(&str) -> String| json!(engine(DOCUMENT)).to_string();
    let standard = bytes(&|text| BASE64_STANDARD.encode(text));
    let bare = bytes(&|text| BASE64_URL_SAFE_NO_PAD.encode(text));
    for good in [
        typed("StringValue", &text),
        typed("BytesValue", &standard),
        typed("BytesValue", &bare),
    ] {
        assert_eq!(only(&envoy("edge", &good)), only(DOCUMENT), "{good}");
        assert_eq!(
            found(&envoy("edge", &good))[0].name.as_deref(),
            Some("edge")
        );
    }
    for (bad, expected) in [
        (typed("Struct", DOCUMENT), "\"google.protobuf.Struct\""),
        (typed("Int64Value", "\"3\""), "makes no JSON"),
        (typed("BytesValue", "\"{}\""), "not base64"),
        (typed("StringValue", DOCUMENT), "no text"),
        (DOCUMENT.to_owned(), "without \"@type\""),
        (format!("{{\"value\":{text}}}"), "without \"@type\""),
        (text.clone(), "expects an object"),
        (
            format!("{{\"@type\":\"google.protobuf.StringValue\",\"value\":{text}}}"),
            "a host",
        ),
        ("null".to_owned(), "is empty"),
        ("{}".to_owned(), "is empty"),
    ] {
        let all = found(&envoy("edge", &bad));
        let errors = all[0].configuration().unwrap_err();
        assert!(errors[0].problem.contains(expected), "{bad}: {errors:?}");
    }
}

/// Protobuf's JSON has two spellings of a name, and a TypedStruct for any message.
#[test]
fn every_spelling_of_envoy_s_filter_is_read() {
    let configuration = typed("StringValue", &json!(DOCUMENT).to_string());
    let plain = envoy("edge", &configuration);
    let camel = plain
        .replace("http_filters", "httpFilters")
        .replace("typed_config", "typedConfig")
        .replace("vm_config", "vmConfig");
    let wrapped = format!(
        r#"{{"name":"edge","typed_config":{{"@type":"type.googleapis.com/udpa.type.v1.TypedStruct","type_url":"type.googleapis.com/{ENVOY_WASM}","value":{{"config":{{"name":"caracal","configuration":{configuration}}}}}}}}}"#
    );
    for text in [camel, wrapped] {
        assert_eq!(only(&text), only(DOCUMENT), "{text}");
        assert_eq!(found(&text)[0].name.as_deref(), Some("edge"));
    }
}

#[test]
fn filters_of_one_name_are_told_apart_by_their_listeners() {
    let listener = |name: &str| {
        let filter = envoy(
            "caracal",
            &typed("StringValue", &json!(DOCUMENT).to_string()),
        );
        let filter = filter.replace('\n', "\n    ");
        format!("  - name: {name}\n{filter}\n")
    };
    let names = |text: String| -> Vec<String> {
        let all = found(&text).into_iter();
        all.filter_map(|one| one.name).collect()
    };
    let text = format!("listeners:\n{}{}", listener("a"), listener("b"));
    assert_eq!(names(text), ["a/caracal", "b/caracal"]);
    let text = format!("listeners:\n{}{}", listener("a"), listener("a"));
    assert_eq!(names(text), ["a/caracal#1", "a/caracal#2"]);
}

#[test]
fn a_configuration_for_another_proxy_than_the_file_s_is_an_error() {
    let on = |host: &str| DOCUMENT.replacen('{', &format!("{{{host}"), 1);
    let kong = |document: &str| format!("name: caracal_filter\nconfig: '{document}'\n");
    let apisix = |document: &str| format!("plugins: {{caracal_filter: {{conf: '{document}'}}}}\n");
    let nginx = |document: &str| format!("proxy_wasm caracal_filter '{document}';\n");
    let plugin = |document: &str| {
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: caracal}}\nspec: {{pluginConfig: {document}}}\n"
        )
    };
    let envoy = |document: &str| envoy("x", &typed("StringValue", &json!(document).to_string()));
    type File<'f> = &'f dyn Fn(&str) -> String;
    let files: [(File<'_>, &str); 5] = [
        (&kong, "kong"),
        (&nginx, "kong"),
        (&apisix, "apisix"),
        (&envoy, "envoy"),
        (&plugin, "envoy"),
    ];
    for (file, own) in files {
        for host in ["", "envoy", "kong", "apisix"] {
            let document = match host {
                "" => DOCUMENT.to_owned(),
                host => on(&format!(r#""host":"{host}","#)),
            };
            let document = document.replace(r#""u""#, r#""sts.example:443""#);
            let read = found(&file(&document))[0].configuration();
            let is_own = own == host || (host.is_empty() && own == "envoy");
            match read {
                Ok(_) => assert!(is_own, "{own} {host}"),
                Err(errors) => {
                    assert!(!is_own, "{own} {host} {errors:?}");
                    assert_eq!(errors[0].path, "host");
                    let text = errors[0].to_string();
                    assert!(text.contains(&format!("for \"{own}\"")), "{text}");
                }
            }
        }
    }
}

#[test]
fn the_vm_s_environment_is_what_envoy_gives_it() {
    let bare = DOCUMENT.replace(r#""zone_id":"z","#, "");
    let filter = |environment: &str| {
        format!(
            r#"{{"name":"caracal","typed_config":{{"@type":"x/{ENVOY_WASM}","config":{{"vm_config":{{{environment}}},"configuration":{}}}}}}}"#,
            typed("StringValue", &format!("{bare:?}"))
        )
    };
    let set = r#""environment_variables":{"key_values":{"CARACAL_ZONE_ID":"from-vm"}}"#;
    assert_eq!(only(&filter(set)).zone_id.as_deref(), Some("from-vm"));
    assert!(found(&filter(""))[0].configuration().is_err());
}

/// The same for nginx's hosts.
fn on(host: &str) -> String {
    let own = format!(r#"{{"host":"{host}","#);
    DOCUMENT
        .replacen('{', &own, 1)
        .replace(r#""u""#, r#""sts.example:443""#)
}

#[test]
fn kong_s_and_apisix_s_files_are_read() {
    let kong = |config: &str| {
        format!(
            "_format_version: '3.0'\nservices:\n- name: billing\n  filter_chains:\n  - filters:\n    - name: caracal_filter\n      config: {config}\n    - name: other\n      config: x\n"
        )
    };
    let document = on("kong");
    assert_eq!(only(&kong(&format!("'{document}'"))), only(&document));
    assert_eq!(only(&kong(&document)), only(&document));
    let document = on("apisix");
    let quoted = format!("'{document}'");
    let apisix = format!(
        "routes:\n- uri: /*\n  plugins:\n    caracal_filter:\n      conf: {quoted}\n    limit-count: {{ conf: y }}\n#END\n"
    );
    assert_eq!(only(&apisix), only(&document));
    let ingress = format!("plugins:\n- name: caracal_filter\n  config: {{conf: {document}}}\n");
    assert_eq!(only(&ingress), only(&document));
}

/// What a deployment fills in later stays as it stands there.
#[test]
fn placeholders_stay_what_they_are() {
    let text = on("apisix").replace(r#""z""#, r#""${CARACAL_ZONE_ID}""#);
    let yaml = format!("plugins:\n  caracal_filter:\n    conf: '{text}'\n");
    let zone = only(&yaml).zone_id;
    assert_eq!(zone.as_deref(), Some("${CARACAL_ZONE_ID}"));
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let file = std::env::temp_dir().join(format!("caracal-large-{}", std::process::id()));
    let size = usize::try_from(MAX_FILE_BYTES).unwrap();
    let read = |bytes: usize| {
        std::fs::write(&file, vec![b' '; bytes]).unwrap();
        read_file(&file).map(|read| read.len()).ok()
    };
    assert_eq!(read(size), Some(size));
    assert_eq!(read(size + 1), None);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn several_filters_are_told_apart() {
    let one = |name: &str| format!("- name: {name}\n  config: '{DOCUMENT}'\n");
    let text = format!("{}{}", one("caracal_a"), one("caracal_b"));
    let names: Vec<_> = found(&text).into_iter().filter_map(|s| s.name).collect();
    assert_eq!(names, ["caracal_a", "caracal_b"]);
}

#[test]
fn what_has_no_filter_is_an_error() {
    for text in ["a: b\n", "- 1\n", "a: 1\na: 2\n", "\tx: [", "just words"] {
        assert!(find(text.as_bytes().to_vec()).is_err(), "{text}");
    }
    let deep = format!("a: {}", "[".repeat(200));
    assert!(find(deep.into_bytes()).is_err());
}

#[test]
fn a_proxy_s_file_in_a_config_map_is_read() {
    let filter = envoy("edge", &typed("StringValue", &json!(DOCUMENT).to_string()));
    let filter = filter.replace("name: in front", "failure_policy: FAIL_OPEN");
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: envoy}}\ndata:\n  notes: 'a: [caracal'\n  envoy.yaml: |\n{}\n",
        filter.replace('\n', "\n    ")
    );
    let found = find(text.clone().into_bytes()).unwrap();
    let place = "ConfigMap \"envoy\", file \"envoy.yaml\", filter \"edge\"";
    assert_eq!(found.sources[0].place, place);
    assert_eq!(found.sources[0].warnings[0].place, place);
    assert!(found.sources[0].configuration().is_ok());
    let broken = text.replace("notes:", "other.yaml:");
    let error = find(broken.into_bytes()).unwrap_err();
    assert!(
        format!("{error:#}").contains("file \"other.yaml\""),
        "{error:#}"
    );
}

#[test]
fn of_a_dump_only_what_is_in_force_is_read() {
    let filter = |name: &str| {
        let text = envoy(name, &typed("StringValue", &json!(DOCUMENT).to_string()));
        yaml::tree_of(&text)
    };
    let kind = |name: &str| format!("type.googleapis.com/envoy.admin.v3.{name}");
    let dump = json!({"configs": [
        {"@type": kind("BootstrapConfigDump"), "bootstrap": filter("again")},
        {"@type": kind("ListenersConfigDump"), "dynamic_listeners": [{
            "name": "l", "active_state": {"listener": filter("active")},
            "draining_state": {"listener": filter("old")},
            "error_state": {"failed_configuration": filter("refused")},
        }]},
    ]});
    let names: Vec<_> = found(&dump.to_string())
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, [Some("active".to_owned())]);
}
