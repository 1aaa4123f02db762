//! TRY.md: what the pages say to send, sent to the host that is played, and what they say
//! to expect, in the answer and in the log.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::host::{Answer, Outcome, Proxy, Request};
use caracal_tests::hosts::{APISIX, KONG, On};
use caracal_tests::mint::{Key, key_set};

use super::*;

const START: u64 = 1_767_225_600;

/// A row of the page.
struct Row {
    send: String,
    mandate: String,
    answer: String,
    log: String,
}

fn rows(page: &str) -> Vec<Row> {
    let written = text(page);
    let lines = written.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let mut cells = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned());
        let mut next = || cells.next().unwrap();
        Row {
            send: next(),
            mandate: next(),
            answer: next(),
            log: next(),
        }
    };
    lines.map(row).collect()
}

/// The filter as the file configures it, in the host that it is for.
fn started(on: On, configuration: &str, row: &Row) -> Proxy {
    let configured: Value = serde_json::from_str(configuration).unwrap();
    let at = |pointer: &str| {
        configured
            .pointer(pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (sts, feed) = (at("/jwks/upstream"), at("/revocation/upstream"));
    let is_sts_silent = row.send.contains("while the STS does not answer");
    let is_feed_silent = row.send.contains("while the companion does not answer");
    let companion = InProcess::default();
    companion.revoke("revoked");
    let known = sts.clone();
    let builder = match on {
        KONG => Proxy::kong(
            caracal_tests::host::Module::from_file(caracal_tests::filter_wasm()).unwrap(),
        ),
        _ => Proxy::apisix(
            caracal_tests::host::Module::from_file(caracal_tests::filter_wasm()).unwrap(),
        ),
    };
    let variables = configured
        .pointer("/forward/variables")
        .and_then(Value::as_object);
    let mut declared: Vec<String> = variables
        .into_iter()
        .flat_map(|all| all.keys().cloned())
        .collect();
    let gate = configured
        .pointer("/forward/gate/variable")
        .and_then(Value::as_str);
    declared.extend(
        gate.filter(|_| !row.send.contains("gate is not declared"))
            .map(str::to_owned),
    );
    builder
        .configuration(configuration)
        .clusters([sts, feed])
        .variables(declared)
        .wall(Duration::from_secs(START))
        .on_callout(move |callout| match callout.cluster == known {
            true if is_sts_silent => Answer::TimesOut,
            false if is_feed_silent => Answer::TimesOut,
            true => Answer::json(&key_set(&[&Key::new("k1", 1)])),
            false => companion.answer(callout),
        })
        .start()
        .unwrap()
}

fn request(row: &Row) -> Request {
    let quoted = row.send.split('`').nth(1).unwrap();
    let (method, path) = quoted.split_once(' ').unwrap();
    let mut request = match method {
        "POST" => Request::post(path, "{}"),
        _ => Request::get(path),
    };
    if row.send.contains("98 more headers") {
        for n in 0..98 {
            request = request.header(format!("x-{n}"), "1");
        }
    } else if row.send.contains("x-caracal-sub: admin") {
        request = request.header("x-caracal-sub", "admin");
    }
    let claims = |changes: Value| {
        let mut all = json!({
            "iss": "https://sts.example.com", "aud": "resource://billing-api",
            "zone_id": "zone-1", "scope": "billing:read",
        });
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let (seed, changes) = match row.mandate.as_str() {
        "none" => return request,
        "good" => (1, json!({})),
        "without scope" => (1, json!({"scope": "other"})),
        "expired" => (1, json!({"iat": START - 2_000, "exp": START - 1_000})),
        "other key" => (9, json!({})),
        "other zone" => (1, json!({"zone_id": "zone-2"})),
        "revoked" => (1, json!({"sid": "revoked"})),
        other => panic!("{other} is no mandate"),
    };
    request.bearer(Key::new("k1", seed).mandate(START, claims(changes)))
}

/// Sends what a page says, row by row, each to a host of its own.
fn holds(on: On, page: &str, configuration: &str) -> usize {
    let rows = rows(page);
    for row in &rows {
        let at = format!("{page}: {} with {}", row.send, row.mandate);
        let mut proxy = started(on, configuration, row);
        if !row.send.contains("before the first fetch") {
            let longer =
                if row.send.contains("while the STS") || row.send.contains("while the companion") {
                    8
                } else {
                    1
                };
            proxy.advance(Duration::from_secs(longer));
        }
        let stream = proxy.request(0, request(row));
        let outcome = on.settle(&mut proxy, stream);
        if row.answer.starts_with("passes") {
            let Outcome::Forwarded(forwarded) = outcome else {
                panic!("{at}: {outcome:?}");
            };
            let subs = forwarded.headers.all("x-caracal-sub");
            assert!(!subs.contains(&&b"admin"[..]), "{at}");
        } else {
            let reply = outcome.replied();
            let said = reply.json()["error"].as_str().unwrap().to_owned();
            assert_eq!(format!("{} `{said}`", reply.status), row.answer, "{at}");
            assert!(proxy.upstream(stream).is_none(), "{at}");
        }
        let line = row.log.trim_matches('`');
        let begins = line.split("...").next().unwrap();
        let found = proxy
            .logs()
            .iter()
            .any(|logged| logged.text.starts_with(begins));
        assert!(line.is_empty() || found, "{at}: {line}: {:?}", proxy.logs());
        proxy.assert_clean();
    }
    rows.len()
}

#[test]
fn what_kong_s_page_says_is_so() {
    let yaml = kong_filter()["config"].to_string();
    assert!(holds(KONG, "kong/TRY.md", &yaml) > 12);
    let written = gate::gate_configuration();
    assert!(holds(KONG, "kong/TRY.md", &written) > 12);
}

#[test]
fn what_apisix_s_page_says_is_so() {
    let routes = yaml("apisix/apisix.yaml");
    let conf = routes["routes"][0]["plugins"][FILTER]["conf"]
        .as_str()
        .unwrap();
    assert!(holds(APISIX, "apisix/TRY.md", conf) > 12);
}

/// A body of a megabyte, at once and in pieces, reaches the service whole; that of a
/// refused request reaches nobody.
#[test]
fn bodies_of_a_megabyte_pass_whole_or_not_at_all() {
    let routes = yaml("apisix/apisix.yaml");
    let conf = routes["routes"][0]["plugins"][FILTER]["conf"]
        .as_str()
        .unwrap();
    let conf = conf.to_owned();
    let on_kong = gate::gate_configuration();
    let pieces = Rc::new(Cell::new(0));
    for (on, configuration) in [(KONG, &on_kong), (APISIX, &conf)] {
        let row = |mandate: &str| Row {
            send: "`POST /` ".to_owned(),
            mandate: mandate.to_owned(),
            answer: String::new(),
            log: String::new(),
        };
        let mut proxy = started(on, configuration, &row("good"));
        proxy.advance(Duration::from_secs(1));
        let megabyte: Vec<u8> = (0..1_048_576_u32).map(|n| n.to_le_bytes()[0]).collect();
        for (mandate, passes) in [("good", true), ("none", false)] {
            for chunked in [false, true] {
                let request = request(&row(mandate));
                let stream = if chunked {
                    let stream = proxy.request(0, request.body("").open());
                    on.settle(&mut proxy, stream);
                    for piece in megabyte.chunks(10_007) {
                        proxy.send_body(stream, piece, false);
                        pieces.set(pieces.get() + 1);
                    }
                    proxy.send_body(stream, "", true);
                    stream
                } else {
                    let stream = proxy.request(0, request.body(&megabyte));
                    on.settle(&mut proxy, stream);
                    stream
                };
                match proxy.upstream(stream) {
                    Some(got) => assert!(passes && got.complete && got.body == megabyte, "{on:?}"),
                    None => assert!(!passes, "{on:?} {chunked}: {:?}", proxy.outcome(stream)),
                }
            }
        }
        proxy.assert_clean();
    }
    assert!(pieces.get() > 200);
}
