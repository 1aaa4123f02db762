use super::super::nginx;
use super::*;

const GATE: &str = include_str!("../../../../../deploy/kong/gate.conf");

fn said(text: &str) -> Vec<String> {
    unguarded(&nginx::read(text).unwrap())
}

#[test]
fn the_gate_as_it_is_shipped_leaves_nothing_open() {
    assert_eq!(said(GATE), [""; 0]);
    // With its example for subrequests too.
    assert_eq!(said(&example()), [""; 0]);
}

fn example() -> String {
    GATE.replace("        set $gate deny;\n", "")
        .replace("#~ ", "")
}

#[test]
fn each_way_past_the_gate_is_found() {
    let pass = "            proxy_pass http://$gate;";
    let with = |line: &str| GATE.replace(pass, &format!("{line}\n{pass}"));
    let beside = |text: &str| {
        let end = GATE.trim_end().strip_suffix("    }\n}").unwrap();
        format!("{end}{text}\n    }}\n}}\n")
    };
    let changed = |from: &str, to: &str| {
        assert!(GATE.contains(from), "{from}");
        GATE.replace(from, to)
    };
    for (text, expected) in [
        (
            changed("proxy_pass http://$gate;", "proxy_pass http://billing;"),
            "does not go by",
        ),
        (
            changed("proxy_pass http://$gate;", "proxy_pass http://$gate/v1;"),
            "another path",
        ),
        (
            changed("        set $gate deny;\n", ""),
            "does not set $gate",
        ),
        (
            changed("set $gate deny", "set $gate billing"),
            "the gate is open",
        ),
        (
            beside("location /x { proxy_pass http://127.0.0.1:7702; }"),
            "past the gate",
        ),
        (
            beside("location ~ ^/z/(?<to>[a-z]+) { proxy_pass http://$to; }"),
            "nginx finds out with each request",
        ),
        (
            beside("location /z { proxy_pass http://$arg_x; }"),
            "nginx finds out with each request",
        ),
        (
            beside("location /y { grpc_pass grpc://billing; }"),
            "past the gate",
        ),
        (
            changed(
                "        set $gate deny;\n",
                "        set $gate deny;\n        set $gate billing;\n",
            ),
            "the gate is open",
        ),
        (with("set $gate billing;"), "the gate is open"),
        (with("set $GATE billing;"), "the gate is open"),
        (with("set $Gate $arg_to;"), "the gate is open"),
        (
            with("access_by_lua 'ngx.var.gate = \"billing\"';"),
            "nobody sees here what it does",
        ),
        (
            beside("rewrite_by_lua_block { ngx.var.gate = \"billing\"; }"),
            "nobody sees here what it does",
        ),
        (with("set $gate 127.0.0.1:7702;"), "the gate is open"),
        (
            with("if ($arg_x) { set $gate $arg_x; }"),
            "the gate is open",
        ),
        (
            beside("location /z { set $gate billing; proxy_pass http://$gate; }"),
            "the gate is open",
        ),
        (
            beside("location /z { set $to billing; proxy_pass http://$to; }"),
            "past the gate",
        ),
        (
            beside("location ~ ^/z/(?<gate>.*)$ { proxy_pass http://$gate; }"),
            "from what the client sends",
        ),
        (
            changed(
                "    server {\n",
                "    map $uri $gate { default billing; }\n    server {\n",
            ),
            "a value of its own",
        ),
        (
            with("auth_request_set $gate $upstream_http_x;"),
            "a value of its own",
        ),
        (
            example().replace(
                "auth_request /ask;",
                "auth_request /ask; proxy_wasm_request_headers_in_access on;",
            ),
            "before the filter opens",
        ),
        (with("rewrite ^ /other break;"), "another path"),
        (with("mirror /m;"), "sent before a refusal"),
        (with("auth_request /a;"), "shuts the gate"),
        (
            changed("underscores_in_headers off", "underscores_in_headers on"),
            "x_caracal_sub",
        ),
        (changed("tls_verify_cert on;", ""), "any certificate"),
        (
            changed("tls_verify_host on;", "tls_verify_host off;"),
            "any certificate",
        ),
        (
            changed("        set $caracal_sub \"\";\n", ""),
            "is not declared",
        ),
        (changed("worker_processes auto;", ""), "worker_processes"),
        (
            changed("worker_processes auto;\n", "")
                .replace("events {", "worker_processes 2;\nevents {"),
            "worker_processes",
        ),
        (
            changed(
                "\"gate\": {\"variable\": \"gate\", \"upstream\": \"billing\"},",
                "",
            ),
            "forward.gate is missing",
        ),
    ] {
        let said = said(&text);
        assert!(
            said.iter().any(|one| one.contains(expected)),
            "{expected}: {said:?}"
        );
    }
}
