//! What is different on APISIX: a request makes its calls itself, one after the other, and
//! the answer to its exchange says what is revoked.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::host::{Answer, Outcome, Request};
use caracal_tests::hosts::APISIX;
use caracal_tests::mint::{Key, key_set};
use serde_json::{Value, json};

use crate::edge::*;

/// A request with a mandate of its own.
fn with(claims: Value) -> Request {
    resource(BILLING).bearer(mandate(BILLING, claims))
}

/// Settings with an age limit for what is revoked.
fn limited() -> Value {
    json!({"revocation": {"upstream": "feed", "max_staleness_s": 10}})
}

/// Row G7: the answer says that something is revoked or overtaken, that it is too old, or
/// does not say it. There is no other question.
#[test]
fn what_is_revoked_is_judged_from_the_answer() {
    let answer = |changes: Value| {
        let mut answer = json!({"revoked": [], "epoch": 5, "confirmed_age_ms": 10_000,
            "granted": bearer_token()});
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::String(text) if text == "left out" => {
                    answer.as_object_mut().unwrap().remove(name);
                }
                value => answer[name] = value.clone(),
            }
        }
        answer
    };
    for (changes, refused) in [
        (json!({}), None),
        (json!({"epoch": null}), None),
        (
            json!({"revoked": ["sid-1"]}),
            Some((401, "invalid_token", false)),
        ),
        (json!({"epoch": 6}), Some((401, "invalid_token", true))),
        (
            json!({"confirmed_age_ms": 10_001}),
            Some((503, "sts_unavailable", true)),
        ),
        (
            json!({"confirmed_age_ms": "left out"}),
            Some((502, "sts_unavailable", true)),
        ),
        (
            json!({"epoch": "left out"}),
            Some((502, "sts_unavailable", true)),
        ),
        (
            json!({"revoked": "left out"}),
            Some((502, "sts_unavailable", true)),
        ),
        (
            json!({"revoked": null}),
            Some((502, "sts_unavailable", true)),
        ),
    ] {
        let body = answer(changes.clone()).to_string();
        let companion = move |_: &Value| Answer::with(200, body.clone()).after(LATE);
        let mut edge = Edge::ready(APISIX, limited(), companion);
        let stream = edge.send(with(json!({"delegation_graph_epoch": 5})));
        match (refused, edge.proxy.outcome(stream)) {
            (None, Outcome::Forwarded(_)) => {}
            (Some((status, error, says)), Outcome::Replied(reply)) => {
                let body = reply.json();
                let found = (reply.status, body["error"].as_str().unwrap());
                assert_eq!(found, (status, error), "{changes}");
                let description = body["error_description"].as_str().unwrap();
                assert_eq!(description.contains("used up"), says, "{description}");
            }
            (_, other) => panic!("{changes}: {other:?}"),
        }
        let asked = edge.asked();
        assert_eq!(asked.len(), 1, "{changes}");
        assert_eq!(asked[0]["max_age_ms"], 10_000);
        let paths: Vec<&str> = edge
            .proxy
            .callouts()
            .iter()
            .map(|callout| callout.path.as_str())
            .collect();
        let keys = "/.well-known/jwks.json?zone_id=zone-1";
        assert_eq!(paths, [keys, "/v1/exchange"], "{changes}");
        edge.proxy.assert_clean();
    }
}

#[test]
fn waits_are_bounded_in_number_and_time() {
    let answers = Rc::new(RefCell::new(Answer::TimesOut));
    let said = Rc::clone(&answers);
    let settings = json!({"limits": {"max_paused": 2}});
    let mut edge = Edge::ready(APISIX, settings, move |_| said.borrow().clone());
    let waiting = ["a", "b"].map(|jti| {
        let stream = edge.proxy.request(0, with(json!({ "jti": jti })));
        // It fetches the keys first.
        edge.proxy.advance(FIRST_TICK);
        stream
    });
    assert_eq!(edge.asked().len(), 2);
    let unavailable = (503, "sts_unavailable".to_owned());
    assert_eq!(edge.refused(with(json!({"jti": "c"}))), unavailable);
    for stream in waiting {
        assert!(matches!(edge.proxy.outcome(stream), Outcome::Paused));
    }
    // A client that leaves is noticed when its call ends, and then its place is free.
    edge.proxy.cancel(waiting[0]);
    edge.proxy.advance(Duration::from_secs(5));
    let Outcome::Replied(reply) = edge.proxy.outcome(waiting[1]) else {
        panic!("{:?}", edge.proxy.outcome(waiting[1]));
    };
    let error = reply.json()["error"].as_str().unwrap().to_owned();
    assert_eq!((reply.status, error.as_str()), (504, "sts_unavailable"));
    *answers.borrow_mut() = granted(&bearer_token());
    for jti in ["d", "e", "f"] {
        let stream = edge.send(with(json!({ "jti": jti })));
        edge.upstream(stream);
    }
    edge.proxy.assert_clean();
}

#[test]
fn one_mandate_is_exchanged_for_one_request_at_a_time() {
    let mut edge = Edge::granting(APISIX, bearer_token());
    let first = edge.proxy.request(0, get("/x"));
    edge.proxy.advance(FIRST_TICK);
    assert_eq!(edge.refused(get("/x")), (401, "invalid_token".to_owned()));
    edge.upstream(first);
    assert_eq!(edge.asked().len(), 1);
    edge.proxy.assert_clean();
}

/// A request whose call ends because its client has left is not let go on, and its mandate
/// is free for the companion to judge.
#[test]
fn a_client_that_leaves_frees_its_place() {
    let mut edge = Edge::granting(APISIX, bearer_token());
    let stream = edge.proxy.request(0, get("/x"));
    edge.proxy.advance(FIRST_TICK);
    edge.proxy.cancel(stream);
    edge.proxy.advance(LATE * 2);
    let again = edge.send(get("/x"));
    edge.upstream(again);
    assert_eq!(edge.asked().len(), 2);
}

/// A key set that is past its time to live is fetched by a request, which is exchanged
/// afterwards all the same.
#[test]
fn a_request_that_fetches_keys_is_exchanged_afterwards() {
    let settings = json!({"jwks": {"upstream": "sts", "ttl_s": 60, "max_stale_s": 60}});
    let companion = |_: &Value| granted(&bearer_token());
    let mut edge = Edge::ready(APISIX, settings, companion);
    for (round, wait) in [0, 70, 200].into_iter().enumerate() {
        edge.proxy.advance(Duration::from_secs(wait));
        let stream = edge.send(with(json!({"jti": format!("j-{round}")})));
        edge.upstream(stream);
        assert_eq!(edge.asked().len(), 1);
    }
    let fetches = edge.proxy.callouts();
    let fetches = fetches.iter().filter(|one| APISIX.is_sts(one));
    assert_eq!(fetches.count(), 3);
    // A key that is in no key set is fetched for, and nothing is exchanged.
    let token = Key::new("k2", 2).mandate(
        START,
        json!({"use": "gateway", "aud": [ISSUER], "target": [BILLING], "exp": START + 3_000}),
    );
    let refused = edge.refused(resource(BILLING).bearer(token));
    assert_eq!(refused, (401, "invalid_token".to_owned()));
    assert_eq!(edge.asked(), [] as [Value; 0]);
    edge.proxy.assert_clean();
}

/// Two routes of one worker, each with its own server: what one waits for is not the
/// other's, although both are in one VM and answers name a root context.
#[test]
fn routes_of_one_worker_wait_each_for_their_own() {
    let of = |resource: &str, host: &str| {
        let url = format!("https://{host}.example.test/v1");
        let changes = json!({"resources": {resource: {"upstream_url": url}}});
        APISIX.configuration(settings(APISIX, changes))
    };
    let keys = key_set(&[&Key::new("k1", 1)]);
    let builder = APISIX.builder(&of(BILLING, "billing"));
    let mut proxy = builder
        .configuration(of(REPORTS, "reports"))
        .wall(Duration::from_secs(START))
        .workers(1)
        .on_callout(move |callout| {
            if APISIX.is_sts(callout) {
                return Answer::json(&keys);
            }
            let asked: Value = serde_json::from_slice(&callout.body).unwrap();
            let name = match asked["resource"] == BILLING {
                true => "billing",
                false => "reports",
            };
            let url = format!("https://{name}.example.test/v1");
            let credential = format!("{name}-secret");
            granted(&json!({"url": url, "auth_mode": "provider_oauth", "credential": credential}))
        })
        .start()
        .unwrap();
    let streams: Vec<_> = (0..6)
        .map(|number| {
            let name = [BILLING, REPORTS][number % 2];
            let token = mandate(name, json!({"jti": format!("j-{number}")}));
            let request = resource(name).bearer(token).listener(number % 2);
            (number, proxy.request(0, request))
        })
        .collect();
    proxy.advance(LATE * 3);
    for (number, stream) in streams {
        let name = ["billing", "reports"][number % 2];
        let headers = &proxy.upstream(stream).unwrap().headers;
        let host = format!("{name}.example.test");
        assert_eq!(headers.text("host"), Some(host.as_str()));
        let credential = format!("Bearer {name}-secret");
        assert_eq!(headers.text("authorization"), Some(credential.as_str()));
    }
    proxy.assert_clean();
}
