//! The files in `deploy/kong` and `deploy/apisix`: whole, read by their own readers, and
//! of one mind with the filter. nginx itself reads `gate.conf`, without the directives of
//! a module that no distribution has, and proves that the gate holds without the filter.

mod apisix;
mod apisix_in_nginx;
mod forms;
mod gate;
mod gate_in_nginx;
mod kong_schema;
mod nginx;
mod tries;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use caracal_mandate::config::Configuration;
use caracal_tests::root;
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Value, json};

/// The file that `make build` leaves, without its ending.
const FILTER: &str = "caracal_filter";
/// What the filter reads of the environment.
const ENVIRONMENT: [&str; 3] = ["CARACAL_STS_URL", "CARACAL_ZONE_ID", "CARACAL_FEED_TOKEN"];
fn file(name: &str) -> PathBuf {
    root().join("deploy").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    let mut documents = Yaml::load_from_str(&text(name)).unwrap();
    assert_eq!(documents.len(), 1, "{name}");
    to_json(&documents.pop().unwrap())
}

fn to_json(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(items) => items.iter().map(to_json).collect(),
        Yaml::Mapping(members) => {
            let member = |(key, value): (&Yaml<'_>, _)| {
                let key = to_json(key);
                (key.as_str().unwrap().to_owned(), to_json(value))
            };
            Value::Object(members.iter().map(member).collect())
        }
        other => panic!("{other:?} is no plain YAML"),
    }
}

/// `name = value` lines. A line that is neither that nor a comment is none of Kong's.
fn kong_conf() -> BTreeMap<String, String> {
    let text = text("kong/kong.conf");
    let mut lines = BTreeMap::new();
    for line in text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let (name, value) = line.split_once(" = ").unwrap();
        let earlier = lines.insert(name.to_owned(), value.to_owned());
        assert_eq!(earlier, None, "{name} stands twice");
    }
    lines
}

fn check(arguments: &[&str], file: &Path) -> Output {
    let mut command = Command::new(root().join("dist/caracal-edge"));
    command.arg("check").args(arguments).arg(file);
    for name in ENVIRONMENT {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// What `caracal-edge check` says of the one filter in a file.
fn checked(file: &Path) -> Value {
    let done = check(&["--json"], file);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{}: {said}{complaint}",
        file.display()
    );
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["ok"], true);
    said
}

/// The rules of every file are those of envoy.yaml: one example, three proxies.
fn has_the_example_s_rules(said: &Value) {
    let envoy = checked(&root().join("envoy.yaml"));
    assert_eq!(said["in_force"], envoy["in_force"]);
    let words = |what: &Value| what["configuration"]["audience"].clone();
    assert_eq!(words(said), words(&envoy));
}

fn kong_filter() -> Value {
    let kong = yaml("kong/kong.yaml");
    let chains = &kong["services"][0]["filter_chains"];
    assert_eq!(chains.as_array().unwrap().len(), 1);
    let filters = chains[0]["filters"].as_array().unwrap();
    assert_eq!(filters.len(), 1);
    filters[0].clone()
}

#[test]
fn kong_yaml_is_whole_and_the_filter_takes_it() {
    let kong = yaml("kong/kong.yaml");
    assert_eq!(kong["_format_version"], "3.0");
    let services = kong["services"].as_array().unwrap();
    assert_eq!(services.len(), 1);
    assert!(services[0]["url"].is_string());
    let route = &services[0]["routes"][0];
    assert_eq!(route["paths"], json!(["/"]));
    // The filter judges the path that the client sent.
    assert_eq!(route["strip_path"], false);
    assert_eq!(kong_filter()["name"], FILTER);
    let said = checked(&file("kong/kong.yaml"));
    assert_eq!(said["filter"], FILTER);
    assert_eq!(said["configuration"]["host"], "kong");
    has_the_example_s_rules(&said);
}

/// What is empty may come to the filter as the other kind of nothing.
#[test]
fn kong_s_configuration_has_nothing_empty_in_it() {
    fn look(value: &Value, path: &str) {
        let (size, below): (usize, Vec<(String, &Value)>) = match value {
            Value::Array(items) => {
                let below = items.iter().enumerate();
                (
                    items.len(),
                    below.map(|(n, v)| (n.to_string(), v)).collect(),
                )
            }
            Value::Object(members) => {
                let below = members.iter().map(|(n, v)| (n.clone(), v));
                (members.len(), below.collect())
            }
            _ => return,
        };
        assert!(size > 0, "{path} is empty");
        for (name, value) in below {
            look(value, &format!("{path}.{name}"));
        }
    }
    let config = &kong_filter()["config"];
    assert!(config.is_object());
    look(config, "config");
}

#[test]
fn kong_conf_has_what_the_filter_cannot_do_without() {
    let lines = kong_conf();
    let said = |name: &str| lines.get(name).map(String::as_str);
    for (name, value) in [
        ("wasm", "on"),
        ("wasm_filters", "user"),
        ("database", "off"),
        ("nginx_wasm_tls_verify_cert", "on"),
        ("nginx_wasm_tls_verify_host", "on"),
        ("nginx_proxy_underscores_in_headers", "off"),
    ] {
        assert_eq!(said(name), Some(value), "{name}");
    }
    for name in [
        "nginx_wasm_shm_kv",
        "nginx_wasm_resolver",
        "dns_resolver",
        "nginx_wasm_tls_trusted_certificate",
    ] {
        assert!(said(name).is_some_and(|value| !value.is_empty()), "{name}");
    }
    assert_eq!(said("dns_resolver"), said("nginx_wasm_resolver"));
    let folder = said("wasm_filters_path").unwrap();
    let page = text("kong/README.md");
    assert!(page.contains(&format!("deploy/kong/kong.yaml {folder}/")));
    let expected = format!("{folder}/kong.yaml");
    assert_eq!(said("declarative_config"), Some(expected.as_str()));
    // Kong writes `env VALUE;` into nginx.conf: the rest of the value are lines of nginx.
    let lines = nginx::read(&format!("env {};", said("nginx_main_env").unwrap()));
    assert_eq!(lines, ENVIRONMENT.map(|name| nginx::line("env", &[name])));
}

fn schema() -> Value {
    let schema = fs::read(root().join("src/mandate/config.schema.json"));
    serde_json::from_slice(&schema.unwrap()).unwrap()
}

/// `make schema` writes it anew.
#[test]
fn kong_s_schema_is_the_filter_s_own() {
    let derived = serde_json::to_string_pretty(&kong_schema::meta(&schema())).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(file("kong/caracal_filter.meta.json"), &derived).unwrap();
    }
    assert!(
        text("kong/caracal_filter.meta.json") == derived,
        "deploy/kong/caracal_filter.meta.json is not what the schema says: run `make schema`"
    );
}

/// Kong reads the file with a validator for draft 4, and looks at the schema itself with
/// that draft's own.
#[test]
fn kong_s_schema_judges_as_the_filter_s_own_does() {
    let meta: Value = serde_json::from_str(&text("kong/caracal_filter.meta.json")).unwrap();
    assert_eq!(meta.as_object().unwrap().len(), 1);
    let schema4 = &meta["config_schema"];
    assert!(jsonschema::draft4::meta::is_valid(schema4));
    let kong = jsonschema::draft4::new(schema4).unwrap();
    let own = jsonschema::validator_for(&schema()).unwrap();

    let good = kong_filter()["config"].clone();
    let judged = |config: &Value| {
        let (kong, own) = (kong.is_valid(config), own.is_valid(config));
        assert_eq!(kong, own, "{config}");
        kong
    };
    assert!(judged(&good));
    let with = |pointer: &str, key: &str, value: Value| {
        let mut config = good.clone();
        config.pointer_mut(pointer).unwrap()[key] = value;
        config
    };
    for (pointer, key, value) in [
        ("", "revocation", json!("disabled")),
        ("", "algorithms", json!(["ES256", "EdDSA"])),
        ("", "clock_skew_s", json!(300)),
        ("", "required_use", json!("session")),
        ("", "limits", json!({"max_anchors": 1000})),
        ("", "forward", json!({"headers": {"x-user": "sub"}})),
        ("", "forward", json!({"variables": {"caracal_sub": "sub"}})),
        (
            "",
            "forward",
            json!({"gate": {"variable": "gate", "upstream": "u"}}),
        ),
        ("/revocation", "tls", json!(true)),
        (
            "/routes/~1payouts",
            "methods",
            json!({"GET": {"max_hop_count": 0}}),
        ),
    ] {
        assert!(judged(&with(pointer, key, value.clone())), "{key} {value}");
    }
    for (pointer, key, value) in [
        ("", "unknown", json!(1)),
        ("", "issuer", json!("")),
        ("", "revocation", json!("enabled")),
        ("", "algorithms", json!(["RS256"])),
        ("", "algorithms", json!(["ES256", "ES256"])),
        ("", "clock_skew_s", json!(301)),
        ("", "clock_skew_s", json!(-1)),
        ("", "clock_skew_s", json!(1.5)),
        ("", "required_use", json!("other")),
        ("", "required_scopes", json!("billing:read")),
        ("", "expected_zone_id", json!("zone-1")),
        ("", "resources", json!({"resource://a": {}})),
        ("", "limits", json!({"unknown": 1})),
        ("", "forward", json!({"headers": {"x-user": "password"}})),
        ("", "forward", json!({"gate": {"variable": "gate"}})),
        ("", "host", json!("nginx")),
        ("/jwks", "ttl_s", json!(9)),
        ("/jwks", "unknown", json!(1)),
        ("/routes/~1payouts", "audience", json!("a")),
        (
            "/routes/~1payouts",
            "methods",
            json!({"GET": {"methods": {}}}),
        ),
    ] {
        assert!(!judged(&with(pointer, key, value.clone())), "{key} {value}");
    }
    let without = |key: &str| {
        let mut config = good.clone();
        config.as_object_mut().unwrap().remove(key).unwrap();
        config
    };
    for key in ["jwks", "revocation", "audience"] {
        assert!(!judged(&without(key)), "{key}");
    }
    // Several resources stand in place of an audience.
    let mut several = without("audience");
    for key in ["routes", "exclude"] {
        several.as_object_mut().unwrap().remove(key);
    }
    several["resources"] = json!({"resource://a": {"hosts": ["a.example"]}});
    assert!(judged(&several));

    // What the filter refuses on Kong, Kong's schema refuses; and both know why.
    let mut refused = vec![without("host"), with("", "host", json!("envoy"))];
    for (pointer, key, value) in [
        ("", "filter_state", json!(true)),
        ("", "limits", json!({"max_paused": 10})),
        ("", "limits", json!({"pause_timeout_ms": 10})),
        ("/jwks", "upstream", json!("caracal_sts")),
        ("/revocation", "upstream", json!("127.0.0.1")),
    ] {
        refused.push(with(pointer, key, value));
    }
    for config in refused {
        assert!(!kong.is_valid(&config), "{config}");
        let other_host = config["host"] != "kong";
        let taken = Configuration::from_json(config.to_string().as_bytes(), &|_| None);
        assert!(other_host || taken.is_err(), "{config}");
    }
}

/// Files and folders that the pages point to are there, and the commands in them that
/// change nothing are run.
#[test]
fn the_pages_are_true() {
    for page in ["kong/README.md", "apisix/README.md"] {
        let written = text(page);
        let folder = file(page).parent().unwrap().to_owned();
        for link in written.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if !link.starts_with("http") {
                let path = link.split('#').next().unwrap();
                assert!(folder.join(path).exists(), "{page}: {link}");
            }
        }
        let commands = written.lines().map(str::trim);
        let checks: Vec<_> = commands
            .filter_map(|line| line.strip_prefix("dist/caracal-edge check "))
            .filter_map(|named| named.split_whitespace().next())
            .collect();
        assert!(!checks.is_empty(), "{page}");
        for named in checks {
            let done = check(&[], &root().join(named));
            assert!(done.status.success(), "{page}: {named}");
        }
        for line in written
            .lines()
            .map(str::trim)
            .filter(|l| l.starts_with("cp "))
        {
            let mut words: Vec<&str> = line.split_whitespace().skip(1).collect();
            words.pop();
            for word in words {
                assert!(root().join(word).is_file(), "{page}: {word}");
            }
        }
        // The keys in the table are the filter's, and so are the values that stand there.
        let schema = schema();
        let rows = written.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut keys = 0;
        for row in rows {
            let cell = row.split(" | ").next().unwrap();
            for key in cell.split("`, `") {
                keys += 1;
                assert!(has_key(&schema, key.trim_end_matches('`')), "{page}: {key}");
            }
        }
        assert!(keys > 5, "{page}: {keys}");
    }
}

/// Whether the schema has a key such as `jwks.upstream`.
fn has_key(schema: &Value, path: &str) -> bool {
    let mut parts = path.split('.');
    let first = parts.next().unwrap();
    if !schema["properties"][first].is_object() {
        return false;
    }
    let Some(second) = parts.next() else {
        return true;
    };
    let holder = match first {
        "revocation" => "Feed".to_owned(),
        other => other[..1].to_uppercase() + &other[1..],
    };
    schema["$defs"][holder]["properties"][second].is_object()
}
