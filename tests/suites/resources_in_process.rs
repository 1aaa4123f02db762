//! Several resources on one listener, in the in-process host: which one a request is
//! for, what that decides, and that nothing known of one serves another.

use std::time::Duration;

use caracal_tests::filter_wasm;
use caracal_tests::host::{Answer, Builder, Module, Outcome, Proxy, Request, Stream};
use caracal_tests::mint::{Key, configuration, key_set};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
/// Longer than the first tick takes to come.
const FIRST_TICK: Duration = Duration::from_millis(30);
const BILLING: &str = "resource://billing-api";
const REPORTS: &str = "resource://reports-api";
const LEDGER: &str = "resource://ledger";

fn resources() -> Value {
    json!({
        "audience": null,
        "required_scopes": ["api:use"],
        "resources": {
            BILLING: {
                "required_scopes": ["billing:read"],
                "exclude": ["/public"],
                "routes": {"/invoices": {"methods": {"POST": {"required_scopes": ["billing:write"]}}}},
            },
            REPORTS: {"audience": "https://reports.example.test"},
            LEDGER: {"hosts": ["ledger.test", "[::1]"]},
        },
    })
}

fn builder(changes: Value) -> Builder {
    Proxy::envoy(Module::from_file(filter_wasm()).unwrap())
        .configuration(configuration(changes).to_string())
        .wall(Duration::from_secs(START))
        .workers(1)
        .clusters(["sts"])
}

fn answering(builder: Builder, after: Duration) -> Proxy {
    let keys = key_set(&[&Key::new("k1", 1)]).to_string();
    let answer = move |_: &_| Answer::with(200, keys.clone()).after(after);
    builder.on_callout(answer).start().unwrap()
}

fn warm() -> Proxy {
    let mut proxy = answering(builder(resources()), Duration::ZERO);
    proxy.advance(FIRST_TICK);
    proxy
}

/// A mandate for an audience, with scopes.
fn mandate(audience: &str, scope: &str) -> String {
    let claims = json!({"aud": audience, "scope": scope});
    Key::new("k1", 1).mandate(START, claims)
}

fn naming(request: Request, names: &[&str]) -> Request {
    let header = |request: Request, name: &&str| request.header("x-caracal-resource", name);
    names.iter().fold(request, header)
}

fn get(path: &str, names: &[&str]) -> Request {
    naming(Request::get(path), names)
}

/// Status, error, and the resource that the upstream was told.
fn answer(proxy: &mut Proxy, request: Request) -> (u32, String, Vec<String>) {
    let stream = proxy.request(0, request);
    outcome(proxy, stream)
}

fn outcome(proxy: &Proxy, stream: Stream) -> (u32, String, Vec<String>) {
    match proxy.outcome(stream) {
        Outcome::Forwarded(_) => {
            let headers = &proxy.upstream(stream).unwrap().headers;
            let told = headers.iter().filter(|(name, _)| {
                String::from_utf8_lossy(name).eq_ignore_ascii_case("x-caracal-resource")
            });
            let told = told.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap());
            (200, String::new(), told.collect())
        }
        Outcome::Replied(reply) => {
            let error = reply.json()["error"].as_str().unwrap().to_owned();
            (reply.status, error, Vec::new())
        }
        other => panic!("{other:?}"),
    }
}

fn admitted(resource: &str) -> (u32, String, Vec<String>) {
    (200, String::new(), vec![resource.to_owned()])
}

fn refused(status: u32, error: &str) -> (u32, String, Vec<String>) {
    (status, error.to_owned(), Vec::new())
}

#[test]
fn the_header_chooses_and_the_upstream_is_told_what_was_verified() {
    let mut proxy = warm();
    let billing = mandate(BILLING, "billing:read");
    let reports = mandate("https://reports.example.test", "api:use");
    let invalid = || refused(400, "invalid_request");
    for (names, token, expected) in [
        (&[BILLING][..], &billing, admitted(BILLING)),
        (&[REPORTS], &reports, admitted(REPORTS)),
        // A mandate for another resource gains nothing by a wrong header.
        (&[REPORTS], &billing, refused(401, "invalid_token")),
        (&[BILLING], &reports, refused(401, "invalid_token")),
        (&["https://reports.example.test"], &reports, invalid()),
        (&[], &billing, invalid()),
        (&[""], &billing, invalid()),
        (&["resource://billing"], &billing, invalid()),
        (&[BILLING, BILLING], &billing, invalid()),
        (&[BILLING, REPORTS], &billing, invalid()),
        (&["resource://billing-api, x"], &billing, invalid()),
        (&[LEDGER], &billing, invalid()),
    ] {
        let request = get("/", names).bearer(token);
        assert_eq!(answer(&mut proxy, request), expected, "{names:?}");
    }
    // Other spellings of the name choose nothing, and reach nobody.
    let request = get("/", &[BILLING])
        .header("x_caracal_resource", REPORTS)
        .bearer(&billing);
    let stream = proxy.request(0, request);
    assert_eq!(outcome(&proxy, stream), admitted(BILLING));
    let reached = &proxy.upstream(stream).unwrap().headers;
    assert!(!reached.names().iter().any(|name| name.contains("_")));
    proxy.assert_clean();
}

#[test]
fn a_host_chooses_and_a_header_cannot_say_otherwise() {
    let mut proxy = warm();
    let ledger = mandate(LEDGER, "api:use");
    let billing = mandate(BILLING, "billing:read");
    let invalid = || refused(400, "invalid_request");
    for (host, names, token, expected) in [
        ("ledger.test", &[][..], &ledger, admitted(LEDGER)),
        ("LEDGER.test:8443", &[], &ledger, admitted(LEDGER)),
        ("ledger.test.", &[LEDGER], &ledger, admitted(LEDGER)),
        ("[0::1]:80", &[], &ledger, admitted(LEDGER)),
        ("ledger.test", &[], &billing, refused(401, "invalid_token")),
        ("ledger.test", &[BILLING], &billing, invalid()),
        ("other.test", &[LEDGER], &ledger, invalid()),
        ("other.test", &[], &ledger, invalid()),
        ("other.test", &[BILLING], &billing, admitted(BILLING)),
        ("ledger.test@other.test", &[BILLING], &billing, invalid()),
        ("", &[BILLING], &billing, invalid()),
    ] {
        let request = get("/", names).authority(host).bearer(token);
        assert_eq!(answer(&mut proxy, request), expected, "{host} {names:?}");
    }
    proxy.assert_clean();
}

#[test]
fn a_resource_s_exclusions_are_its_own_and_come_after_the_choice() {
    let mut proxy = warm();
    let nothing = (200, String::new(), Vec::new());
    assert_eq!(answer(&mut proxy, get("/public", &[BILLING])), nothing);
    let missing = refused(401, "missing_token");
    assert_eq!(answer(&mut proxy, get("/public", &[REPORTS])), missing);
    let on_ledger = get("/public", &[]).authority("ledger.test");
    assert_eq!(answer(&mut proxy, on_ledger), missing);
    for names in [&[][..], &["x"], &[BILLING, BILLING]] {
        let found = answer(&mut proxy, get("/public", names));
        assert_eq!(found, refused(400, "invalid_request"), "{names:?}");
    }
    proxy.assert_clean();
}

#[test]
fn a_method_needs_what_the_route_says_of_it() {
    let mut proxy = warm();
    let read = mandate(BILLING, "billing:read");
    let write = mandate(BILLING, "billing:write");
    let lacking = || refused(403, "insufficient_scope");
    for (method, token, expected) in [
        ("GET", &read, admitted(BILLING)),
        ("GET", &write, lacking()),
        ("POST", &write, admitted(BILLING)),
        ("POST", &read, lacking()),
        ("HEAD", &read, admitted(BILLING)),
        ("PURGE", &write, lacking()),
        ("post", &read, refused(400, "invalid_request")),
        ("Post", &write, refused(400, "invalid_request")),
    ] {
        // What an upstream may take for the method is not read.
        let request = naming(Request::new(method, "/invoices/1"), &[BILLING])
            .header("x-http-method-override", "POST")
            .bearer(token);
        assert_eq!(answer(&mut proxy, request), expected, "{method}");
    }
    proxy.assert_clean();
}

/// One cache for all resources: it spares the signature, and nothing else.
#[test]
fn a_mandate_that_is_known_is_judged_for_the_resource_anew() {
    let mut proxy = warm();
    let billing = mandate(BILLING, "billing:read");
    for (name, expected) in [
        (BILLING, admitted(BILLING)),
        (REPORTS, refused(401, "invalid_token")),
        (BILLING, admitted(BILLING)),
    ] {
        let found = answer(&mut proxy, get("/", &[name]).bearer(&billing));
        assert_eq!(found, expected, "{name}");
    }
    proxy.advance(Duration::from_secs(1));
    let checks: u64 = proxy
        .metrics()
        .keys()
        .filter(|name| name.contains("signature_checks_total") && name.contains("valid"))
        .map(|name| proxy.metric_value(name))
        .sum();
    assert_eq!(checks, 1, "{:?}", proxy.metrics().keys());
    proxy.assert_clean();
}

#[test]
fn a_request_that_waits_keeps_its_resource_and_its_method() {
    let mut proxy = answering(builder(resources()), Duration::from_millis(200));
    let billing = mandate(BILLING, "billing:read");
    let post = naming(Request::new("POST", "/invoices"), &[BILLING]).bearer(&billing);
    let waiting = [
        (
            get("/invoices", &[BILLING]).bearer(&billing),
            admitted(BILLING),
        ),
        (post, refused(403, "insufficient_scope")),
        (
            get("/", &[REPORTS]).bearer(&billing),
            refused(401, "invalid_token"),
        ),
    ];
    let streams = waiting.map(|(request, expected)| {
        let stream = proxy.request(0, request);
        assert!(proxy.outcome(stream).is_paused());
        (stream, expected)
    });
    proxy.advance(Duration::from_millis(500));
    for (stream, expected) in streams {
        assert_eq!(outcome(&proxy, stream), expected);
    }
    proxy.assert_clean();
}

/// The same resources under other names share a key set; others have their own. Each
/// listener answers by its own configuration.
#[test]
fn configurations_in_one_process_are_apart() {
    let one = |id: &str, audience: &str| json!({"audience": null, "resources": {id: {"audience": audience}}});
    let two = |first: &str, second: &str| json!({"audience": null, "resources": {"a": {"audience": first}, "b": {"audience": second}}});
    let all = [
        one("a", "one"),
        json!({"audience": "one"}),
        two("one", "two"),
        two("two", "one"),
        two("one", "three"),
    ];
    let [first, rest @ ..] = all;
    let mut builder = builder(first);
    for more in rest {
        builder = builder.configuration(configuration(more).to_string());
    }
    let mut proxy = answering(builder, Duration::ZERO);
    proxy.advance(Duration::from_secs(1));
    let keys = proxy.shared_data().keys();
    let key_sets = keys.filter(|key| key.ends_with(b"/key_set")).count();
    assert_eq!(key_sets, 3);
    let token = mandate("one", "any");
    for (listener, names, expected) in [
        (0, &[][..], 200),
        (0, &["a"], 200),
        (0, &["b"], 400),
        (1, &["anything"], 200),
        (2, &["a"], 200),
        (2, &["b"], 401),
        (3, &["a"], 401),
        (3, &["b"], 200),
        (4, &["a"], 200),
        (4, &[], 400),
    ] {
        let request = get("/", names).listener(listener).bearer(&token);
        let (status, ..) = answer(&mut proxy, request);
        assert_eq!(status, expected, "{listener} {names:?}");
    }
    proxy.assert_clean();
}

#[test]
fn a_refusal_repeats_nothing_of_the_request() {
    let mut proxy = warm();
    let secret = "evil-<script>-bytes";
    let named = get("/", &[secret]).authority("evil-host.test");
    let elsewhere = get("/", &[LEDGER]).authority("evil-host.test");
    for request in [named, elsewhere] {
        let stream = proxy.request(0, request);
        let Outcome::Replied(reply) = proxy.outcome(stream) else {
            panic!("it was let through");
        };
        assert_eq!(reply.status, 400);
        assert!(!reply.text().contains("evil"), "{}", reply.text());
        let hint = reply.json()["error_hint"].as_str().unwrap().to_owned();
        assert!(hint.contains("X-Caracal-Resource"), "{hint}");
    }
}
