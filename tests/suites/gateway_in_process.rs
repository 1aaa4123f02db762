//! Gateway mode in the in-process host: every row, every kind of provider, what changes
//! while a request waits for its exchange, and every host call that can fail there.

use std::cell::RefCell;
use std::rc::Rc;
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
const ISSUER: &str = "https://sts.example.test";
/// How long the companion takes.
const LATE: Duration = Duration::from_millis(50);

fn settings(changes: Value) -> Value {
    let mut all = json!({
        "audience": null,
        "mode": "gateway",
        "gateway": {"upstream": "companion", "token": "companion-token"},
        "exclude": null,
        "resources": {
            BILLING: {
                "upstream_url": "https://billing.example.test/v1",
                "required_scopes": ["billing:read"],
                "exclude": ["/open"],
            },
            REPORTS: {
                "upstream_url": "https://reports.example.test",
                "exclude": ["/open"],
            },
        },
    });
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

/// What the companion is asked, and what it answers.
type Companion = Rc<RefCell<dyn FnMut(&Value) -> Answer>>;

/// An edge whose companion answers so, and the questions that it was asked.
struct Edge {
    proxy: Proxy,
    asked: Rc<RefCell<Vec<Value>>>,
}

impl Edge {
    fn start(builder: Builder, companion: impl FnMut(&Value) -> Answer + 'static) -> Self {
        let keys = key_set(&[&Key::new("k1", 1)]).to_string();
        let asked: Rc<RefCell<Vec<Value>>> = Rc::default();
        let noted = Rc::clone(&asked);
        let companion: Companion = Rc::new(RefCell::new(companion));
        let proxy = builder
            .on_callout(move |callout| {
                if callout.cluster != "companion" {
                    return Answer::with(200, keys.clone());
                }
                assert_eq!(callout.headers.text(":path"), Some("/v1/exchange"));
                assert_eq!(
                    callout.headers.text("authorization"),
                    Some("Bearer companion-token")
                );
                let question: Value = serde_json::from_slice(&callout.body).unwrap();
                let answer = (companion.borrow_mut())(&question);
                noted.borrow_mut().push(question);
                answer
            })
            .start()
            .unwrap();
        Edge { proxy, asked }
    }

    /// One that has its keys, and whose companion grants everything as the directive says.
    fn granting(directive: Value) -> Self {
        let mut edge = Edge::start(builder(json!({})), move |_| granted(&directive));
        edge.proxy.advance(FIRST_TICK);
        edge
    }

    fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.asked.borrow_mut())
    }

    /// Sends a request, waits for its exchange, and says what became of it.
    fn send(&mut self, request: Request) -> Stream {
        let stream = self.proxy.request(0, request);
        self.proxy.advance(LATE * 2);
        stream
    }

    /// Status and error of a refused request.
    #[track_caller]
    fn refused(&mut self, request: Request) -> (u32, String) {
        let stream = self.send(request);
        match self.proxy.outcome(stream) {
            Outcome::Replied(reply) => {
                let body = reply.json();
                assert!(body["requestId"].is_string(), "{body}");
                assert!(body["error_hint"].is_string(), "{body}");
                (reply.status, body["error"].as_str().unwrap().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }
}

fn builder(changes: Value) -> Builder {
    Proxy::envoy(Module::from_file(filter_wasm()).unwrap())
        .configuration(configuration(settings(changes)).to_string())
        .wall(Duration::from_secs(START))
        .workers(1)
        .clusters(["sts", "companion"])
}

fn granted(directive: &Value) -> Answer {
    let answer = json!({"revoked": [], "epoch": null, "confirmed_age_ms": 5, "granted": directive});
    Answer::with(200, answer.to_string()).after(LATE)
}

fn refusing(refused: &Value) -> Answer {
    let answer = json!({"revoked": [], "epoch": null, "confirmed_age_ms": 5, "refused": refused});
    Answer::with(200, answer.to_string()).after(LATE)
}

fn bearer_token() -> Value {
    json!({
        "url": "https://billing.example.test/v1", "auth_mode": "provider_oauth",
        "allowed_token_hosts": ["billing.example.test"], "credential": "provider-secret",
    })
}

/// A gateway mandate for a resource.
fn mandate(resource: &str, changes: Value) -> String {
    let mut claims = json!({
        "use": "gateway", "aud": [ISSUER], "iss": ISSUER,
        "target": [resource], "scope": "billing:read",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    Key::new("k1", 1).mandate(START, claims)
}

fn get(path: &str) -> Request {
    let token = mandate(BILLING, json!({}));
    Request::get(path)
        .header("x-caracal-resource", BILLING)
        .bearer(token)
}

#[test]
fn a_request_is_exchanged_rewritten_and_its_response_cleaned() {
    let mut edge = Edge::granting(bearer_token());
    let request = get("/invoices/1?b=2&a=1")
        .authority("edge.test")
        .header("x-request-id", "id-7")
        .header("x-forwarded-for", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6")
        .header("x-caracal-sub", "admin")
        .header("proxy-authorization", "Basic x")
        .header("baggage", "caracal.zone=z,a=1")
        .header("traceparent", "nonsense")
        .header("cookie", "c=1");
    let stream = edge.proxy.request(0, request);
    assert!(matches!(edge.proxy.outcome(stream), Outcome::Paused));
    edge.proxy.advance(LATE * 2);
    let upstream = edge.proxy.upstream(stream).unwrap().headers.clone();
    for (name, expected) in [
        (":authority", Some("billing.example.test")),
        (":path", Some("/v1/invoices/1?a=1&b=2")),
        ("authorization", Some("Bearer provider-secret")),
        ("x-request-id", Some("id-7")),
        ("x-forwarded-host", Some("edge.test")),
        ("x-forwarded-proto", Some("http")),
        ("forwarded", None),
        ("x-caracal-sub", None),
        ("x-caracal-resource", None),
        ("proxy-authorization", None),
        ("baggage", Some("a=1")),
        ("cookie", Some("c=1")),
    ] {
        assert_eq!(upstream.text(name), expected, "{name}");
    }
    assert_ne!(upstream.text("x-forwarded-for"), Some("6.6.6.6"));
    assert_eq!(upstream.all("authorization").len(), 1);
    assert_eq!(upstream.text("traceparent").map(str::len), Some(55));
    let asked = edge.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["resource"], BILLING);
    assert_eq!(
        (&asked[0]["method"], &asked[0]["path"]),
        (&json!("GET"), &json!("/invoices/1"))
    );
    assert_eq!(asked[0]["request_id"], "id-7");
    let headers = [
        ("server", "nginx"),
        ("x-powered-by", "PHP"),
        ("location", "https://billing.example.test/v1/x"),
        ("x-caracal-identity", "a.b.c"),
        ("content-type", "text/plain"),
    ];
    edge.proxy.respond(stream, 200, headers);
    let Outcome::Answered(response) = edge.proxy.outcome(stream) else {
        panic!("{:?}", edge.proxy.outcome(stream));
    };
    let response = response.headers;
    for name in ["server", "x-powered-by", "location", "x-caracal-identity"] {
        assert_eq!(response.text(name), None, "{name}");
    }
    assert_eq!(response.text("content-type"), Some("text/plain"));
    let left: u64 = response
        .text("x-caracal-token-expires-in")
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=3_600).contains(&left), "{left}");
    let shown = format!("{:?}", edge.proxy.logs());
    assert!(
        !shown.contains("provider-secret") && !shown.contains("eyJ"),
        "{shown}"
    );
    edge.proxy.assert_clean();
}

#[test]
fn each_kind_of_provider_attaches_its_credential() {
    let url = "https://billing.example.test/v1";
    for (directive, name, value, path) in [
        (
            json!({"auth_mode": "none"}),
            "authorization",
            None,
            "/v1/x?key=mine",
        ),
        (
            json!({"auth_mode": "caracal_jwt", "credential": "r.s.t"}),
            "authorization",
            Some("Bearer r.s.t"),
            "/v1/x?key=mine",
        ),
        (
            json!({"auth_mode": "provider_oauth", "credential": "t", "auth_header": "X-Token", "auth_scheme": "Token"}),
            "x-token",
            Some("Token t"),
            "/v1/x?key=mine",
        ),
        (
            json!({"auth_mode": "provider_oauth", "credential": "dTpw", "auth_scheme": "Basic"}),
            "authorization",
            Some("Basic dTpw"),
            "/v1/x?key=mine",
        ),
        (
            json!({"auth_mode": "provider_apikey", "credential": "k", "auth_header": "X-Api-Key", "identity": "i.d.t"}),
            "x-api-key",
            Some("k"),
            "/v1/x?key=mine",
        ),
        (
            json!({"auth_mode": "provider_apikey", "auth_location": "query", "query_param_name": "key", "credential": "k"}),
            "authorization",
            None,
            "/v1/x?key=k",
        ),
    ] {
        let mut directive = directive;
        directive["url"] = json!(url);
        let mut edge = Edge::granting(directive.clone());
        // The client's own header of that name, written otherwise, is not what is read.
        let stream = edge.send(
            get("/x?key=mine")
                .header("x_api_key", "mine")
                .header("X-Token", "mine"),
        );
        let upstream = &edge.proxy.upstream(stream).unwrap().headers;
        assert_eq!(upstream.text(name), value, "{directive}");
        assert_eq!(upstream.text(":path"), Some(path), "{directive}");
        if name == "x-api-key" {
            assert_eq!(upstream.text("x_api_key"), None);
            assert_eq!(upstream.text("x-caracal-identity"), Some("i.d.t"));
        }
        edge.proxy.assert_clean();
    }
}

#[test]
fn rows_are_judged_in_their_order_and_burn_nothing() {
    let mut edge = Edge::granting(bearer_token());
    let with = |changes: Value| {
        let token = mandate(BILLING, changes);
        Request::get("/x")
            .header("x-caracal-resource", BILLING)
            .bearer(token)
    };
    let named = |resource: &str| {
        Request::get("/x")
            .header("x-caracal-resource", resource)
            .bearer(mandate(BILLING, json!({})))
    };
    let foreign = Key::new("k1", 9).mandate(
        START,
        json!({"use": "gateway", "aud": [ISSUER], "exp": START + 10}),
    );
    for (what, request, status, error) in [
        ("G0", get("/x/../y%2f"), 400, "invalid_token"),
        ("G0 before all", Request::get("/%"), 400, "invalid_token"),
        (
            "G2: no bearer",
            Request::get("/x").header("x-caracal-resource", BILLING),
            401,
            "invalid_token",
        ),
        (
            "G2: no bearer comes first",
            Request::get("/x"),
            401,
            "invalid_token",
        ),
        (
            "G2: a client id",
            get("/x").header("x-caracal-client-id", "me"),
            400,
            "invalid_token",
        ),
        (
            "G2: no resource",
            Request::get("/x").bearer(mandate(BILLING, json!({}))),
            400,
            "invalid_token",
        ),
        (
            "G2: two",
            get("/x").header("x-caracal-resource", REPORTS),
            400,
            "invalid_token",
        ),
        (
            "G2: unknown",
            named("resource://other"),
            403,
            "access_denied",
        ),
        (
            "G3",
            with(json!({"exp": START + 34})),
            401,
            "credential_expired_not_renewable",
        ),
        (
            "G3 before the signature",
            Request::get("/x")
                .header("x-caracal-resource", BILLING)
                .bearer(foreign),
            401,
            "credential_expired_not_renewable",
        ),
        (
            "G4: use",
            with(json!({"use": "resource"})),
            401,
            "invalid_token",
        ),
        (
            "G4: aud",
            with(json!({"aud": [BILLING]})),
            401,
            "invalid_token",
        ),
        (
            "G4: zone",
            with(json!({"zone_id": "other"})),
            401,
            "zone_invalid",
        ),
        (
            "G5",
            with(json!({"target": [REPORTS]})),
            403,
            "access_denied",
        ),
        (
            "G5: the other resource",
            named(REPORTS),
            403,
            "access_denied",
        ),
        (
            "G6",
            with(json!({"scope": "other"})),
            403,
            "scope_insufficient",
        ),
    ] {
        assert_eq!(edge.refused(request), (status, error.to_owned()), "{what}");
        assert_eq!(edge.asked(), [] as [Value; 0], "{what}");
    }
    // 35 seconds are enough; an empty client id is none.
    for request in [
        with(json!({"exp": START + 36})),
        get("/x").header("x-caracal-client-id", ""),
    ] {
        let stream = edge.send(request);
        assert!(edge.proxy.upstream(stream).is_some());
    }
    // Excluded: unverified, and without any credential.
    let stream = edge.send(Request::get("/open/x").header("x-caracal-resource", BILLING));
    assert_eq!(
        edge.proxy
            .upstream(stream)
            .unwrap()
            .headers
            .text("authorization"),
        None
    );
    edge.proxy.assert_clean();
}

#[test]
fn what_the_companion_refuses_is_relayed_and_reaches_nobody() {
    for (answer, status, error) in [
        (
            refusing(
                &json!({"status": 401, "error": "invalid_token", "error_description": "token replay detected", "cause": "replay", "burnt": true}),
            ),
            401,
            "invalid_token",
        ),
        (
            refusing(
                &json!({"status": 503, "error": "sts_unavailable", "cause": "redis", "burnt": false}),
            ),
            503,
            "sts_unavailable",
        ),
        (
            refusing(
                &json!({"status": 429, "error": "rate_limited", "cause": "sts_refused", "burnt": true, "retry_after_s": 3}),
            ),
            429,
            "rate_limited",
        ),
        (
            refusing(
                &json!({"status": 504, "error": "sts_unavailable", "cause": "sts_timeout", "burnt": true}),
            ),
            504,
            "sts_unavailable",
        ),
        (
            refusing(&json!({"status": 200, "error": "ok", "cause": "sts_refused", "burnt": true})),
            502,
            "sts_unavailable",
        ),
        (
            granted(&json!({"url": "https://evil.example.test/v1", "auth_mode": "none"})),
            502,
            "internal_error",
        ),
        (
            granted(
                &json!({"url": "https://billing.example.test/v1", "auth_mode": "none", "allowed_token_hosts": ["x"]}),
            ),
            502,
            "internal_error",
        ),
        (
            granted(
                &json!({"url": "https://billing.example.test/v1", "auth_mode": "provider_oauth", "auth_header": "Host", "credential": "c"}),
            ),
            400,
            "internal_error",
        ),
        (Answer::with(200, "{}").after(LATE), 502, "sts_unavailable"),
        (
            Answer::with(200, "x".repeat(300 * 1024)).after(LATE),
            503,
            "sts_unavailable",
        ),
        (Answer::with(401, "{}").after(LATE), 503, "sts_unavailable"),
        (Answer::with(404, "{}").after(LATE), 503, "sts_unavailable"),
        (Answer::with(500, "{}").after(LATE), 503, "sts_unavailable"),
    ] {
        let shown = format!("{answer:?}");
        let shown = shown.get(..shown.len().min(200)).unwrap().to_owned();
        let mut edge = Edge::start(builder(json!({})), move |_| answer.clone());
        edge.proxy.advance(FIRST_TICK);
        assert_eq!(
            edge.refused(get("/x")),
            (status, error.to_owned()),
            "{shown}"
        );
        assert_eq!(edge.proxy.metric_value("caracal_paused_requests"), 0);
        edge.proxy.assert_clean();
    }
    let mut edge = Edge::granting(bearer_token());
    assert_eq!(
        edge.refused(get("/x?a=1;b=2")),
        (400, "internal_error".to_owned())
    );
}

#[test]
fn waits_are_bounded_in_number_and_time() {
    let silent = |_: &Value| Answer::Never;
    let settings = json!({"limits": {"max_paused": 2}});
    let mut edge = Edge::start(builder(settings), silent);
    edge.proxy.advance(FIRST_TICK);
    let waiting: Vec<Stream> = (0..2).map(|_| edge.proxy.request(0, get("/x"))).collect();
    assert_eq!(edge.refused(get("/x")), (503, "sts_unavailable".to_owned()));
    // A client that leaves frees its place.
    edge.proxy.cancel(waiting[0]);
    let third = edge.proxy.request(0, get("/x"));
    assert!(matches!(edge.proxy.outcome(third), Outcome::Paused));
    edge.proxy.advance(Duration::from_secs(8));
    for stream in [waiting[1], third] {
        let Outcome::Replied(reply) = edge.proxy.outcome(stream) else {
            panic!("{:?}", edge.proxy.outcome(stream));
        };
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (504, Some("sts_unavailable"))
        );
    }
    assert_eq!(edge.proxy.metric_value("caracal_paused_requests"), 0);
    edge.proxy.assert_clean();
}

#[test]
fn a_mandate_that_ends_while_it_is_exchanged_admits_nobody() {
    let slow = |_: &Value| granted(&bearer_token()).after(Duration::from_secs(4));
    let settings = json!({"gateway": {"upstream": "companion", "token": "companion-token", "min_remaining_s": 0}});
    let mut edge = Edge::start(builder(settings), slow);
    edge.proxy.advance(FIRST_TICK);
    let token = mandate(BILLING, json!({"exp": START + 2}));
    let request = Request::get("/x")
        .header("x-caracal-resource", BILLING)
        .bearer(token);
    let stream = edge.proxy.request(0, request);
    edge.proxy.advance(Duration::from_secs(5));
    let Outcome::Replied(reply) = edge.proxy.outcome(stream) else {
        panic!("{:?}", edge.proxy.outcome(stream));
    };
    assert_eq!(reply.json()["error"], "credential_expired_not_renewable");
    edge.proxy.assert_clean();
}

#[test]
fn requests_that_came_before_the_keys_are_exchanged_too() {
    let mut edge = Edge::start(builder(json!({})), move |_| granted(&bearer_token()));
    let stream = edge.proxy.request(0, get("/x"));
    assert!(matches!(edge.proxy.outcome(stream), Outcome::Paused));
    assert_eq!(edge.asked(), [] as [Value; 0]);
    edge.proxy.advance(FIRST_TICK + LATE * 2);
    assert_eq!(edge.asked().len(), 1);
    let upstream = &edge.proxy.upstream(stream).unwrap().headers;
    assert_eq!(
        upstream.text("authorization"),
        Some("Bearer provider-secret")
    );
    edge.proxy.assert_clean();
}

/// Each host call of a request's way fails once with each status: nobody reaches the
/// upstream but rewritten and with the credential.
#[test]
fn no_failed_host_call_lets_a_request_go_on_unexchanged() {
    let way = |edge: &mut Edge| edge.send(get("/x"));
    let count = {
        let mut edge = Edge::granting(bearer_token());
        let calls = Rc::new(RefCell::new(0_usize));
        let counted = Rc::clone(&calls);
        edge.proxy.on_host_call(move |_| {
            *counted.borrow_mut() += 1;
            None
        });
        way(&mut edge);
        edge.proxy.no_faults();
        let count = *calls.borrow();
        count
    };
    assert!(count > 20, "{count}");
    let (mut admitted, mut refused) = (0, 0);
    for nth in 0..count {
        for status in [1, 2, 7, 10, 12] {
            let mut edge = Edge::granting(bearer_token());
            let mut calls = 0;
            edge.proxy.on_host_call(move |_| {
                calls += 1;
                (calls == nth + 1).then_some(status)
            });
            let stream = way(&mut edge);
            edge.proxy.no_faults();
            edge.proxy.advance(Duration::from_secs(10));
            match edge.proxy.upstream(stream) {
                Some(upstream) => {
                    admitted += 1;
                    let headers = &upstream.headers;
                    assert_eq!(
                        headers.all("authorization"),
                        [b"Bearer provider-secret"],
                        "{nth} {status}"
                    );
                    assert_eq!(
                        headers.text(":authority"),
                        Some("billing.example.test"),
                        "{nth} {status}"
                    );
                    assert_eq!(headers.text(":path"), Some("/v1/x"), "{nth} {status}");
                    assert_eq!(headers.text("x-caracal-resource"), None, "{nth} {status}");
                }
                None => refused += 1,
            }
        }
    }
    println!("{count} host calls: {admitted} admitted, {refused} refused");
    assert!(refused > 0 && admitted > 0);
}
