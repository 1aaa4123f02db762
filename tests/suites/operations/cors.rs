//! Envoy's own `cors` filter before ours: deploy/envoy/cors.yaml, in a real Envoy.

use std::path::Path;
use std::process::Command;

use caracal_tests::envoy::binary;
use caracal_tests::mint::{Key, key_set, now};
use caracal_tests::processes::{Process, free_address};
use caracal_tests::root;
use caracal_tests::servers::{Reply, Response, Server};

use super::*;

const ORIGIN: &str = "https://app.example.com";

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// A file in which lines were only added has all lines of the other one, in their order.
#[test]
fn it_is_envoy_yaml_and_what_is_marked() {
    let of = |file| {
        let text = read(file);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (plain, cors) = (of("envoy.yaml"), of("deploy/envoy/cors.yaml"));
    let mut rest = plain.iter().peekable();
    let added: Vec<&String> = cors
        .iter()
        .filter(|line| rest.next_if_eq(line).is_none())
        .collect();
    assert_eq!(rest.next(), None, "a line of envoy.yaml is missing");
    let marks = added.iter().filter(|line| line.contains("# CORS: "));
    assert_eq!(marks.count(), 2);
    assert!(added.len() < 25, "{added:#?}");
}

fn validated(file: &Path) {
    let done = Command::new(binary())
        .args(["--mode", "validate", "-c"])
        .arg(file)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
}

#[test]
fn preflights_are_answered_and_requests_need_a_mandate() {
    validated(&root().join("deploy/envoy/cors.yaml"));
    let key = Key::new("k1", 1);
    let keys = key_set(&[&key]);
    let sts = Server::start(move |_| Reply::json(&keys));
    let upstream = Server::start(|_| Reply::new(200, "reached"));
    let companion = Companion::new(&["--in-memory"]).started();
    // Its ports are the demo's; everything else is as it stands there.
    let (edge, admin) = (free_address(), free_address());
    let mut text = read("deploy/envoy/cors.yaml");
    for (port, own) in [
        (10_000, edge),
        (9_901, admin),
        (7_701, sts.address()),
        (7_700, companion.address),
        (7_702, upstream.address()),
    ] {
        let (port, own) = (format!("port_value: {port} "), own.port());
        assert!(text.contains(&port), "{port}");
        text = text.replace(&port, &format!("port_value: {own} "));
    }
    let folder = folder("cors");
    let file = folder.join("envoy.yaml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(binary());
    command
        .args(["--concurrency", "2", "--use-dynamic-base-id", "-c"])
        .arg(&file)
        .current_dir(root());
    let _envoy = Process::start(&mut command, &folder.join("log"));

    let token = key.mandate(
        now(),
        json!({"iss": "http://127.0.0.1:7701", "zone_id": "zone-demo", "scope": "billing:read"}),
    );
    let bearer = format!("Bearer {token}");
    let send = |method: &str, headers: &[(&str, &str)]| {
        Client::try_connect(edge)
            .and_then(|mut client| client.exchange(&request(method, "/invoices", headers)))
    };
    let ask = |method: &str, headers: &[(&str, &str)]| send(method, headers).unwrap();
    let authorized = ("authorization", bearer.as_str());
    until("the edge admits", SOON, || {
        send("GET", &[authorized]).is_ok_and(|answer| answer.status == 200)
    });
    let reached = upstream.requests();
    let allowed = |answer: &Response| {
        let origin = answer.header("access-control-allow-origin");
        origin.map(str::to_owned)
    };
    let wanted = [
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization"),
    ];
    let preflight = |origin: &str| ask("OPTIONS", &[&wanted[..], &[("origin", origin)]].concat());

    let answer = preflight(ORIGIN);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(allowed(&answer).as_deref(), Some(ORIGIN));
    let headers = answer.header("access-control-allow-headers");
    assert_eq!(headers, Some("authorization, content-type"));

    // Another origin, and an OPTIONS that is no preflight, need a mandate as everything does.
    for answer in [
        preflight("https://evil.example"),
        preflight("https://app.example.com.evil.example"),
        preflight("null"),
        ask("OPTIONS", &[("origin", ORIGIN)]),
        ask("OPTIONS", &wanted),
    ] {
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    assert_eq!(
        upstream.requests(),
        reached,
        "none of them reached the service"
    );

    // The request itself, also a refused one: the page may read the answer.
    let from = ("origin", ORIGIN);
    let refused = ask("GET", &[from]);
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (401, "missing_token")
    );
    assert_eq!(allowed(&refused).as_deref(), Some(ORIGIN), "{refused:?}");
    let exposed = refused.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("www-authenticate"), "{exposed}");
    let admitted = ask("GET", &[from, authorized]);
    assert_eq!(admitted.status, 200);
    assert_eq!(allowed(&admitted).as_deref(), Some(ORIGIN));
    // A page of another origin is not helped by its mandate: the browser shows it nothing.
    let other = ask("GET", &[("origin", "https://evil.example"), authorized]);
    assert_eq!((other.status, allowed(&other)), (200, None));
}
