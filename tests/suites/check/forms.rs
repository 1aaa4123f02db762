//! Each form of `configuration` that an Envoy filter can have, given to a real Envoy and to
//! `check`: both take it, or neither does. And the file that a running Envoy gives of itself.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};
use caracal_tests::envoy::{self, Setup};
use caracal_tests::servers::{self, Reply, Server};

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::*;

const TYPES: &str = "type.googleapis.com/";
const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

fn typed(kind: &str, value: impl Into<Value>) -> Value {
    json!({"@type": format!("{TYPES}google.protobuf.{kind}"), "value": value.into()})
}

/// An Envoy with a filter of ours.
fn bootstrap(filter: &Value) -> Value {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    let manager = json!({
        "@type": MANAGER, "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "sts"}}
        ]}]},
        "http_filters": [
            {"name": "caracal", "typed_config": filter},
            {"name": "router", "typed_config": {"@type": ROUTER}},
        ],
    });
    json!({
        "admin": {"address": address},
        "static_resources": {
            "listeners": [{"name": "edge", "address": address, "filter_chains": [
                {"filters": [{"name": "http", "typed_config": manager}]}
            ]}],
            "clusters": [{"name": "sts", "type": "STATIC"}],
        },
    })
}

fn plugin(form: &Value) -> Value {
    json!({
        "name": "caracal", "configuration": form,
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": caracal_tests::filter_wasm()}},
        },
    })
}

fn filter(form: &Value) -> Value {
    json!({"@type": format!("{TYPES}{WASM}"), "config": plugin(form)})
}

/// Whether a real Envoy takes the file, and whether `check` does.
fn taken(name: &str, file: &Value) -> (bool, bool) {
    let folder = folder(name);
    let path = folder.join("envoy.json");
    fs::write(&path, file.to_string()).unwrap();
    let by_envoy = Command::new(envoy::binary())
        .args(["--mode", "validate", "--use-dynamic-base-id", "-l", "off"])
        .arg("-c")
        .arg(&path)
        .output()
        .unwrap();
    let by_check = call(&[path.to_str().unwrap()]);
    let _ = fs::remove_dir_all(&folder);
    (by_envoy.status.success(), by_check.status.success())
}

#[test]
fn check_and_a_real_envoy_take_the_same_forms() {
    let whole = configuration(json!({"zone_id": "zone-?>~~"}));
    let text = whole.to_string();
    let unknown_key = configuration(json!({"audiense": "x"})).to_string();
    let string = typed("StringValue", text.clone());
    let mut with_more = string.clone();
    with_more["more"] = json!(1);
    let of_type = |url: &str| json!({"@type": url, "value": text});
    let mut struct_inside = whole.clone();
    struct_inside["@type"] = json!(format!("{TYPES}google.protobuf.Struct"));
    let forms = [
        (true, string.clone()),
        (true, typed("BytesValue", BASE64_STANDARD.encode(&text))),
        (true, typed("BytesValue", BASE64_URL_SAFE.encode(&text))),
        (
            true,
            typed(
                "BytesValue",
                BASE64_STANDARD_NO_PAD.encode(format!("{text} ")),
            ),
        ),
        (true, of_type("example.test/google.protobuf.StringValue")),
        (false, typed("StringValue", unknown_key.clone())),
        (
            false,
            typed("BytesValue", BASE64_STANDARD.encode(&unknown_key)),
        ),
        (false, typed("BytesValue", text.clone())),
        (
            false,
            typed("BytesValue", format!("{}==", BASE64_STANDARD.encode(&text))),
        ),
        (false, typed("StringValue", whole.clone())),
        (false, typed("StringValue", 3)),
        (false, typed("StringValue", Value::Null)),
        (false, typed("Struct", whole.clone())),
        (false, struct_inside),
        (false, typed("Value", whole.clone())),
        (false, typed("ListValue", json!([whole]))),
        (false, typed("Int64Value", "3")),
        (false, typed("Any", string.clone())),
        (false, of_type("google.protobuf.StringValue")),
        (false, of_type("/google.protobuf.StringValue")),
        (false, of_type("type.googleapis.com/nobody.knows.It")),
        (false, of_type("")),
        (false, with_more),
        (false, whole.clone()),
        (false, json!({"value": text})),
        (false, json!(text)),
        (false, json!([text])),
        (false, json!({})),
        (false, Value::Null),
    ];
    for (number, (expected, form)) in forms.iter().enumerate() {
        let taken = taken(&format!("form-{number}"), &bootstrap(&filter(form)));
        assert_eq!(taken, (*expected, *expected), "(Envoy, check) of {form}");
    }
}

/// The filter itself as a TypedStruct, and names in camel case.
#[test]
fn check_and_a_real_envoy_read_the_same_spellings() {
    for (number, document) in [
        configuration(json!({})),
        configuration(json!({"audiense": "x"})),
    ]
    .iter()
    .enumerate()
    {
        let form = typed("StringValue", document.to_string());
        let wrapped = |kind: &str| {
            json!({
                "@type": format!("{TYPES}{kind}.TypedStruct"),
                "type_url": format!("{TYPES}{WASM}"), "value": {"config": plugin(&form)},
            })
        };
        let camel = bootstrap(&filter(&form))
            .to_string()
            .replace("http_filters", "httpFilters")
            .replace("typed_config", "typedConfig")
            .replace("vm_config", "vmConfig");
        let files = [
            bootstrap(&wrapped("udpa.type.v1")),
            bootstrap(&wrapped("xds.type.v3")),
            serde_json::from_str(&camel).unwrap(),
        ];
        for file in &files {
            let expected = number == 0;
            let taken = taken(&format!("spelling-{number}"), file);
            assert_eq!(taken, (expected, expected), "(Envoy, check) of {file}");
        }
    }
}

/// What Envoy's admin port gives: each listener once, with its filter, and every cluster.
#[test]
fn a_dump_of_a_running_envoy_is_read() {
    let server = Server::start(|_| Reply::new(200, "{}"));
    let setup = Setup::new([configuration(json!({})), configuration(json!({}))])
        .cluster("upstream", server.address())
        .cluster("sts", server.address());
    let running = setup.start().unwrap();
    let folder = folder("dump");
    let path = folder.join("dump.json");
    fs::write(&path, running.config_dump()).unwrap();
    let done = call(&[path.to_str().unwrap(), "--json"]);
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said["ok"], true, "{said}");
    let filters = said["filters"].as_array().unwrap();
    let names: Vec<&Value> = filters.iter().map(|one| &one["filter"]).collect();
    assert_eq!(names, ["0/caracal", "1/caracal"]);
    let warnings = said["warnings"].as_array().unwrap();
    let warned = |name: &str| {
        let mut all = warnings.iter();
        all.any(|one| one["name"] == name && one["where"] == "listener \"0\", filter chain 1")
    };
    assert!(warned("normalize_path"), "{said}");
    assert!(
        warnings.iter().all(|one| one["name"] != "unknown_cluster"),
        "{said}"
    );
    let done = call(&[path.to_str().unwrap(), "--filter", "another"]);
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2));
    assert!(
        error.contains("0/caracal") && error.contains("1/caracal"),
        "{error}"
    );
    let _ = fs::remove_dir_all(&folder);
}

/// An Envoy that is stopped when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The dump of an Envoy that starts with a file, once it has a listener.
fn dump(folder: &std::path::Path, file: &Value) -> String {
    let (path, admin) = (folder.join("envoy.json"), folder.join("admin"));
    fs::write(&path, file.to_string()).unwrap();
    let child = Command::new(envoy::binary())
        .args([
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "-l",
            "off",
            "-c",
        ])
        .arg(&path)
        .arg("--admin-address-path")
        .arg(&admin)
        .stdin(Stdio::null())
        .spawn();
    let _running = Running(child.unwrap());
    let request = servers::request("GET", "/config_dump", &[("connection", "close")]);
    let since = Instant::now();
    loop {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "Envoy did not start"
        );
        std::thread::sleep(Duration::from_millis(100));
        let address = fs::read_to_string(&admin).unwrap_or_default();
        let Ok(address) = address.trim().parse() else {
            continue;
        };
        let client = servers::Client::try_connect(address);
        let response = client.and_then(|mut client| client.exchange(&request));
        let Some(response) = response.ok() else {
            continue;
        };
        let text = String::from_utf8(response.body).unwrap();
        if text.contains("active_state") && text.contains("ecds_filter") {
            return text;
        }
    }
}

/// As in a mesh: the listener, the routes and the filter come apart.
#[test]
fn a_dump_with_filter_and_routes_apart_is_read_as_one() {
    let folder = folder("apart");
    let mut document = configuration(json!({
        "required_scopes": ["a"],
        "resources": {"resource://x": {"hosts": ["a.example", "b.example"]}},
    }));
    document.as_object_mut().unwrap().remove("audience");
    let mut wasm = filter(&typed("StringValue", document.to_string()));
    wasm["config"]["failure_policy"] = json!("FAIL_OPEN");
    let mut whole = bootstrap(&wasm);
    let mut listener = whole["static_resources"]["listeners"][0].take();
    whole["static_resources"]
        .as_object_mut()
        .unwrap()
        .remove("listeners");
    let apart = |name: &str, kind: &str, resource: &Value| {
        let mut resource = resource.clone();
        resource["@type"] = json!(format!("{TYPES}{kind}"));
        let path = folder.join(name);
        fs::write(&path, json!({"resources": [resource]}).to_string()).unwrap();
        json!({"path_config_source": {"path": path}})
    };
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let mut routes = manager["route_config"].take();
    manager.as_object_mut().unwrap().remove("route_config");
    routes["name"] = json!("routes");
    routes["virtual_hosts"][0]["domains"] = json!(["*", "a.example"]);
    routes["virtual_hosts"][0]["routes"][0]["route"]["timeout"] = json!("0s");
    let source = apart("rds", "envoy.config.route.v3.RouteConfiguration", &routes);
    manager["rds"] = json!({"route_config_name": "routes", "config_source": source});
    let extension = json!({"name": "caracal", "typed_config": wasm});
    let source = apart(
        "ecds",
        "envoy.config.core.v3.TypedExtensionConfig",
        &extension,
    );
    manager["http_filters"][0] = json!({"name": "caracal", "config_discovery": {
        "config_source": source, "type_urls": [format!("{TYPES}{WASM}")],
    }});
    let source = apart("lds", "envoy.config.listener.v3.Listener", &listener);
    whole["dynamic_resources"] = json!({"lds_config": source});
    whole["node"] = json!({"id": "edge", "cluster": "edge"});
    let path = folder.join("dump.json");
    fs::write(&path, dump(&folder, &whole)).unwrap();
    let done = call(&[path.to_str().unwrap(), "--json"]);
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (&said["ok"], &said["filter"]),
        (&json!(true), &json!("caracal"))
    );
    let warnings = said["warnings"].as_array().unwrap();
    let mut found: Vec<(&str, &str)> = warnings
        .iter()
        .map(|one| {
            (
                one["name"].as_str().unwrap(),
                one["where"].as_str().unwrap(),
            )
        })
        .collect();
    found.sort_unstable();
    let chain = "listener \"edge\", filter chain 1";
    let route = format!("{chain}, virtual host \"all\", route 1");
    assert_eq!(
        found,
        [
            ("escaped_slashes", chain),
            ("fail_open", "filter \"caracal\""),
            (
                "hosts_without_domain",
                "filter \"caracal\", resource \"resource://x\""
            ),
            ("merge_slashes", chain),
            ("normalize_path", chain),
            ("timeout_zero", &route),
            ("underscores", chain),
        ]
    );
    let _ = fs::remove_dir_all(&folder);
}
