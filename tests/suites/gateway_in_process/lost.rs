//! On APISIX: answers that come late, or never, and what is said of a mandate then.

use std::time::Duration;

use caracal_tests::host::{Answer, Headers, Outcome, Request, Stream};
use caracal_tests::hosts::APISIX;
use serde_json::{Value, json};

use crate::edge::*;

/// A request with a mandate of its own.
fn with(jti: &str) -> Request {
    resource(BILLING).bearer(mandate(BILLING, json!({ "jti": jti })))
}

/// Status, description and headers of a refused request.
#[track_caller]
fn refused(edge: &Edge, stream: Stream) -> (u32, String, Headers) {
    let Outcome::Replied(reply) = edge.proxy.outcome(stream) else {
        panic!("{:?}", edge.proxy.outcome(stream));
    };
    let said = reply.json()["error_description"]
        .as_str()
        .unwrap()
        .to_owned();
    (reply.status, said, reply.headers)
}

/// One that has its keys. The number of the callouts that it has made.
fn with_keys(changes: Value, answer: Answer) -> (Edge, usize) {
    let mut edge = Edge::ready(APISIX, changes, move |question| {
        match question["mandate"].as_str().unwrap() == mandate(BILLING, json!({"jti": "first"})) {
            true => granted(&bearer_token()),
            false => answer.clone(),
        }
    });
    let stream = edge.send(with("first"));
    edge.upstream(stream);
    let made = edge.proxy.callouts().len();
    (edge, made)
}

/// The module's timeout is for each read. What trickles in for longer than the filter waits
/// says what was revoked as long ago.
#[test]
fn an_answer_that_trickles_in_for_too_long_grants_nothing() {
    let timeout = json!({"gateway": {
        "upstream": "companion", "token": "companion-token", "timeout_ms": 5_000,
    }});
    for (after_ms, is_granted) in [
        (5_500, true),
        (6_999, true),
        (7_000, false),
        (60_000, false),
    ] {
        let after = Duration::from_millis(after_ms);
        let answer = granted(&bearer_token()).after(after).trickling();
        let (mut edge, _) = with_keys(timeout.clone(), answer);
        let stream = edge.proxy.request(0, with("a"));
        edge.proxy.advance(after - Duration::from_millis(1));
        assert!(edge.proxy.outcome(stream).is_paused(), "{after_ms}");
        edge.proxy.advance(Duration::from_millis(1));
        if is_granted {
            is_exchanged(APISIX, &edge.upstream(stream), &after_ms.to_string());
        } else {
            assert!(edge.proxy.upstream(stream).is_none(), "{after_ms}");
            let (status, said, _) = refused(&edge, stream);
            assert_eq!(status, 504, "{after_ms}");
            assert!(said.contains("may be used up"), "{said}");
        }
        edge.proxy.assert_clean();
    }
}

/// An answer that never comes holds a place for the timeout and two seconds, if somebody else
/// needs it. If it comes after all, its request gets 503, and the mandate may be used up.
#[test]
fn a_lost_exchange_gives_its_place_to_another_request() {
    let (mut edge, made) = with_keys(json!({"limits": {"max_paused": 2}}), Answer::Never);
    let lost = ["a", "b"].map(|jti| edge.proxy.request(0, with(jti)));
    // As long as the answer may come, there is no room.
    edge.proxy.advance(Duration::from_millis(6_999));
    let full = edge.proxy.request(0, with("c"));
    let (status, said, _) = refused(&edge, full);
    assert_eq!(status, 503);
    assert!(said.contains("Too many requests wait"), "{said}");
    edge.proxy.advance(Duration::from_millis(1));
    let next = edge.proxy.request(0, with("d"));
    assert!(edge.proxy.outcome(next).is_paused());
    assert_eq!(edge.proxy.callouts().len(), made + 3);
    for stream in lost {
        assert!(edge.proxy.outcome(stream).is_paused());
    }
    // The answers come in another order than they were asked for.
    for number in [1, 2, 0] {
        let answer = granted(&bearer_token()).after(Duration::ZERO).trickling();
        let id = edge.proxy.callouts()[made + number].id;
        assert!(edge.proxy.answer(id, answer));
        edge.proxy.advance(LATE);
    }
    is_exchanged(APISIX, &edge.upstream(next), "the next");
    for stream in lost {
        assert!(edge.proxy.upstream(stream).is_none());
        let (status, said, headers) = refused(&edge, stream);
        let expected = "Unexpected callout response; the mandate may be used up";
        assert_eq!((status, said.as_str()), (503, expected));
        assert_eq!(headers.text("retry-after"), None);
    }
    edge.proxy.assert_clean();
}

/// A header that the module may not find, and that some services read as the credential or
/// as the client's address, lets no request go on.
#[test]
fn a_header_that_cannot_be_removed_stops_the_request() {
    let directive = json!({
        "url": "https://billing.example.test/v1", "auth_mode": "provider_apikey",
        "auth_header": "X-Api-Key", "credential": "k",
    });
    for (name, status) in [
        ("x.api!key", 503),
        ("x!forwarded-for", 503),
        ("x.http.method", 503),
        // Those that only the filter sets are looked at before.
        ("X~Caracal~Sub", 400),
    ] {
        let mut edge = Edge::granting(APISIX, directive.clone());
        let stream = edge.send(get("/x").header(name, "mine"));
        assert!(edge.proxy.upstream(stream).is_none(), "{name}");
        let (found, said, _) = refused(&edge, stream);
        assert_eq!(found, status, "{name}");
        assert_eq!(said.contains("used up"), status == 503, "{name}: {said}");
        edge.proxy.assert_clean();
    }
    // Spelled as usual they are removed.
    let mut edge = Edge::granting(APISIX, directive);
    let stream = edge.send(get("/x").header("x_api-key", "mine"));
    let headers = edge.upstream(stream);
    assert_eq!(
        (headers.text("x-api-key"), headers.text("x_api-key")),
        (Some("k"), None)
    );
}

/// A `Location` that cannot be read may lead anywhere.
#[test]
fn a_location_that_cannot_be_read_is_not_passed_on() {
    for on in BOTH {
        let mut edge = Edge::granting(on, bearer_token());
        let stream = edge.send(get("/x"));
        edge.upstream(stream);
        edge.proxy.on_host_call(|call| {
            let reads = ["proxy_get_header_map_value", "proxy_get_header_map_pairs"];
            let of_response = call.callback == "proxy_on_response_headers";
            (of_response && reads.contains(&call.name)).then_some(10)
        });
        edge.proxy
            .respond(stream, 302, [("location", "/v1/y"), ("x-own", "1")]);
        edge.proxy.no_faults();
        let Outcome::Answered(response) = edge.proxy.outcome(stream) else {
            panic!("{:?}", edge.proxy.outcome(stream));
        };
        assert_eq!(response.headers.text("location"), None, "{}", on.name());
        assert_eq!(response.headers.text("x-own"), Some("1"), "{}", on.name());
    }
}
