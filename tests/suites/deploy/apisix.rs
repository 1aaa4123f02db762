//! The files for APISIX.

use super::*;

#[test]
fn apisix_yaml_is_whole_and_the_filter_takes_it() {
    let written = text("apisix/apisix.yaml");
    // APISIX reads the file only up to this line, and not at all without it.
    assert_eq!(written.lines().last(), Some("#END"));
    let routes = yaml("apisix/apisix.yaml")["routes"].clone();
    let routes = routes.as_array().unwrap();
    assert_eq!(routes.len(), 1);
    assert_eq!(routes[0]["uri"], "/*");
    assert!(routes[0]["upstream"]["nodes"].is_object());
    let plugins = routes[0]["plugins"].as_object().unwrap();
    let names: Vec<&String> = plugins.keys().collect();
    assert_eq!(names, [FILTER, "serverless-post-function"]);
    // A text goes to the filter as it stands.
    let conf = plugins[FILTER]["conf"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(conf).unwrap().is_object());
    let said = checked(&file("apisix/apisix.yaml"));
    assert_eq!(said["filter"], FILTER);
    assert_eq!(said["configuration"]["host"], "apisix");
    has_the_example_s_rules(&said);
}

/// Gateway mode: each server has a route, which is chosen by the resources of the filter's
/// configuration on it, and is guarded like that of connector mode.
#[test]
fn gateway_yaml_has_a_route_for_each_server() {
    let path = "apisix/gateway.yaml";
    assert_eq!(text(path).lines().last(), Some("#END"));
    let done = check(&["--strict"], &file(path));
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{stderr}");
    let connector = yaml("apisix/apisix.yaml");
    let guard = &connector["routes"][0]["plugins"]["serverless-post-function"]["functions"];
    let routes = yaml(path)["routes"].clone();
    let mut servers = Vec::new();
    for route in routes.as_array().unwrap() {
        assert_eq!(
            &route["plugins"]["serverless-post-function"]["functions"],
            guard
        );
        let conf = route["plugins"][FILTER]["conf"].as_str().unwrap();
        let conf: Value = serde_json::from_str(conf).unwrap();
        assert_eq!(
            (&conf["host"], &conf["mode"]),
            (&json!("apisix"), &json!("gateway"))
        );
        let resources = conf["resources"].as_object().unwrap();
        let chosen = &route["vars"][0];
        assert_eq!(chosen[0], "http_x_caracal_resource");
        let chosen = match chosen[1].as_str() {
            Some("in") => chosen[2].as_array().unwrap().clone(),
            _ => vec![chosen[2].clone()],
        };
        let names: Vec<Value> = resources.keys().map(|name| json!(name)).collect();
        assert_eq!(chosen, names);
        let upstream = &route["upstream"];
        assert_eq!(
            (&upstream["retries"], &upstream["pass_host"]),
            (&json!(0), &Value::Null)
        );
        let url = resources.values().next().unwrap()["upstream_url"]
            .as_str()
            .unwrap();
        let (scheme, rest) = url.split_once("://").unwrap();
        assert_eq!(upstream["scheme"], scheme);
        servers.push(rest.split('/').next().unwrap().to_owned());
    }
    assert_eq!(servers, ["billing.internal", "crm.internal"]);
}

#[test]
fn apisix_s_config_has_what_the_filter_cannot_do_without() {
    let config = yaml("apisix/config.yaml");
    let done = check(&[], &file("apisix/config.yaml"));
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let plugins = config["wasm"]["plugins"].as_array().unwrap();
    assert_eq!(plugins.len(), 1);
    assert_eq!(plugins[0]["name"], FILTER);
    assert_eq!(plugins[0]["http_request_phase"], "access");
    assert!(plugins[0]["priority"].is_u64());
    let path = plugins[0]["file"].as_str().unwrap();
    assert!(path.ends_with(&format!("/{FILTER}.wasm")), "{path}");
    // Where the page has it put.
    let page = text("apisix/README.md");
    let folder = path.rsplit_once('/').unwrap().0;
    assert!(page.contains(&format!("cp dist/{FILTER}.wasm {folder}/")));
    // The gate: declared here, opened by the filter and looked at by the plugin behind it.
    let snippet = config["nginx_config"]["http_server_configuration_snippet"]
        .as_str()
        .unwrap();
    let gate = &checked(&file("apisix/apisix.yaml"))["configuration"]["forward"]["gate"];
    let variable = gate["variable"].as_str().unwrap();
    let opened = gate["upstream"].as_str().unwrap();
    assert!(snippet.contains(&format!("set ${variable} \"deny\";")));
    assert!(snippet.contains(&format!("require(\"apisix.plugin\").get(\"{FILTER}\")")));
    let routes = yaml("apisix/apisix.yaml");
    let behind = &routes["routes"][0]["plugins"]["serverless-post-function"];
    assert_eq!(behind["phase"], "access");
    let function = behind["functions"][0].as_str().unwrap();
    assert!(function.contains(&format!("ngx.var.{variable} ~= \"{opened}\"")));
    assert_eq!(config["nginx_config"]["envs"], json!(ENVIRONMENT));
    let headers = &config["nginx_config"]["http"]["underscores_in_headers"];
    assert_eq!(headers, "off");
    let strict = check(&["--strict"], &file("apisix/config.yaml"));
    assert!(strict.status.success());
    let apisix = &config["apisix"];
    assert!(apisix["ssl"]["ssl_trusted_certificate"].is_string());
    assert!(apisix["dns_resolver"].is_array());
    assert_eq!(apisix["normalize_uri_like_servlet"], false);
    assert_eq!(apisix["delete_uri_tail_slash"], false);
    let deployment = &config["deployment"];
    assert_eq!(deployment["role_data_plane"]["config_provider"], "yaml");
}
