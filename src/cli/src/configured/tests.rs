use super::*;

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
    assert_eq!(found(DOCUMENT)[0].document, DOCUMENT.as_bytes());
    // A key twice is for the filter's reader to find: no tree is made of it.
    let twice = DOCUMENT.replace(r#""audience":"a""#, r#""audience":"a","audience":"b""#);
    assert!(found(&twice)[0].configuration().is_err());
    assert!(found("{")[0].configuration().is_err());
}

#[test]
fn envoy_s_text_and_struct_are_read() {
    let filter = |configuration: &str| {
        format!(
            r#"
http_filters:
  - name: edge
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
      config:
        name: in front
        vm_config: {{ code: {{ local: {{ filename: /x/caracal_filter.wasm }} }} }}
        configuration:
{configuration}
  - name: other
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
      config: {{ configuration: {{ value: "{{}}" }} }}
"#
        )
    };
    let text = format!("          value: |\n            {DOCUMENT}");
    let structure = format!(
        "          \"@type\": type.googleapis.com/google.protobuf.Struct\n          value: {DOCUMENT}"
    );
    assert_eq!(only(&filter(&text)), only(DOCUMENT));
    assert_eq!(only(&filter(&structure)), only(DOCUMENT));
    assert_eq!(found(&filter(&text))[0].name.as_deref(), Some("edge"));
}

#[test]
fn the_vm_s_environment_is_what_envoy_gives_it() {
    let bare = DOCUMENT.replace(r#""zone_id":"z","#, "");
    let filter = |environment: &str| {
        format!(
            r#"{{"name":"caracal","typed_config":{{"@type":"x/{ENVOY_WASM}","config":{{"vm_config":{{{environment}}},"configuration":{{"value":{bare:?}}}}}}}}}"#
        )
    };
    let set = r#""environment_variables":{"key_values":{"CARACAL_ZONE_ID":"from-vm"}}"#;
    assert_eq!(only(&filter(set)).zone_id, "from-vm");
    assert!(found(&filter(""))[0].configuration().is_err());
}

#[test]
fn kong_s_and_apisix_s_files_are_read() {
    let kong = |config: &str| {
        format!(
            "_format_version: '3.0'\nservices:\n- name: billing\n  filter_chains:\n  - filters:\n    - name: caracal_filter\n      config: {config}\n    - name: other\n      config: x\n"
        )
    };
    let quoted = format!("'{DOCUMENT}'");
    assert_eq!(only(&kong(&quoted)), only(DOCUMENT));
    assert_eq!(only(&kong(DOCUMENT)), only(DOCUMENT));
    let apisix = format!(
        "routes:\n- uri: /*\n  plugins:\n    caracal_filter:\n      conf: {quoted}\n    limit-count: {{ conf: y }}\n#END\n"
    );
    assert_eq!(only(&apisix), only(DOCUMENT));
}

/// What a deployment fills in later stays as it stands there.
#[test]
fn placeholders_stay_what_they_are() {
    let text = DOCUMENT.replace(r#""z""#, r#""${CARACAL_ZONE_ID}""#);
    let yaml = format!("plugins:\n  caracal_filter:\n    conf: '{text}'\n");
    assert_eq!(only(&yaml).zone_id, "${CARACAL_ZONE_ID}");
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
