//! What the upstream is told, where a header that is removed is sent all the same.

use caracal_tests::host::Stream;
use caracal_tests::hosts::{APISIX, KONG};

use super::*;

const FORGED: [&str; 3] = ["x-caracal-sub", "X_Caracal_Scope", "x-caracal-whatever"];

fn forging(mut request: Request) -> Request {
    for name in FORGED {
        request = request.header(name, "forged");
    }
    request
}

/// Every value of a header that the upstream got.
fn got(proxy: &Proxy, stream: Stream, name: &str) -> Vec<String> {
    let forwarded = proxy.upstream(stream).expect("it was forwarded");
    let values = forwarded.headers.all(name).into_iter();
    values
        .map(|value| String::from_utf8(value.to_vec()).unwrap())
        .collect()
}

/// What is left of a header that was overwritten with nothing.
fn emptied(on: On) -> &'static [&'static str] {
    if on == KONG { &[""] } else { &[] }
}

#[test]
fn what_a_client_forges_is_overwritten_with_what_is_verified_or_nothing() {
    for on in [KONG, APISIX] {
        let mut proxy = start(on, json!({"exclude": ["/open"]}));
        let verified = forging(good());
        let verified = *on.send(&mut proxy, 0, &verified).last().unwrap();
        assert_eq!(got(&proxy, verified, "x-caracal-sub"), ["user-1"]);
        assert_eq!(got(&proxy, verified, "x-caracal-scope"), ["billing:read"]);
        let open = proxy.request(0, forging(Request::get("/open")));
        assert_eq!(got(&proxy, open, "x-caracal-sub"), emptied(on));
        for stream in [verified, open] {
            for name in FORGED {
                let values = got(&proxy, stream, name);
                assert!(!values.iter().any(|v| v == "forged"), "{name}: {values:?}");
            }
        }
        proxy.assert_clean();
    }
}

/// Of two Kong overwrites the first; APISIX leaves one.
#[test]
fn what_is_forged_twice_does_not_get_through() {
    for (on, status) in [(KONG, 400), (APISIX, 200)] {
        let mut proxy = start(on, json!({}));
        let twice = good()
            .header("x-caracal-sub", "a")
            .header("X-Caracal-Sub", "b");
        let stream = *on.send(&mut proxy, 0, &twice).last().unwrap();
        assert_eq!(said(proxy.outcome(stream)).0, status);
        if status == 200 {
            assert_eq!(got(&proxy, stream, "x-caracal-sub"), ["user-1"]);
        }
        proxy.assert_clean();
    }
}

#[test]
fn the_mandate_and_its_baggage_can_be_kept_from_the_upstream() {
    for on in [KONG, APISIX] {
        let mut proxy = start(on, json!({"forward": {"authorization": false}}));
        let request = good().header("baggage", "a=1,caracal.zone=z");
        let stream = *on.send(&mut proxy, 0, &request).last().unwrap();
        assert_eq!(got(&proxy, stream, "authorization"), emptied(on));
        assert_eq!(got(&proxy, stream, "baggage"), ["a=1"]);
        let twice = good()
            .header("baggage", "caracal.zone=z")
            .header("baggage", "b=2");
        let outcome = said(on.ask(&mut proxy, 0, &twice));
        assert_eq!(outcome.0, if on == KONG { 400 } else { 200 });
        proxy.assert_clean();
    }
}

/// A map has no more than 100 entries, and what stands behind is sent.
#[test]
fn headers_that_the_filter_cannot_see_are_refused() {
    for on in [KONG, APISIX] {
        let mut proxy = start(on, json!({"exclude": ["/open"]}));
        for (entries, status) in [(99, 200), (100, 400), (180, 400)] {
            for mut request in [good(), Request::get("/open").header("x-more", "1")] {
                // Four pseudo headers, Host, one more and the forged one.
                for n in 0..entries - 7 {
                    request = request.header(format!("x-{n}"), "1");
                }
                let request = request.header("x-caracal-sub", "forged");
                let stream = *on.send(&mut proxy, 0, &request).last().unwrap();
                assert_eq!(said(proxy.outcome(stream)).0, status, "{entries}");
                if status == 400 {
                    assert_eq!(said(proxy.outcome(stream)).1, "invalid_request");
                }
                if status == 200 {
                    let sub = got(&proxy, stream, "x-caracal-sub");
                    assert!(!sub.contains(&"forged".to_owned()));
                } else {
                    assert!(proxy.upstream(stream).is_none());
                }
            }
        }
    }
}

#[test]
fn a_request_without_a_host_is_refused_and_its_map_is_not_read() {
    for on in [KONG, APISIX] {
        let mut proxy = start(on, json!({"exclude": ["/open"]}));
        for request in [good(), Request::get("/open")] {
            let stream = proxy.request(0, request.without(":authority"));
            assert_eq!(said(proxy.outcome(stream)), refused(400, "invalid_request"));
        }
        proxy.assert_clean();
    }
}

/// `:authority` is the server's own name there.
#[test]
fn a_resource_is_chosen_by_the_host_that_the_client_named() {
    for on in [KONG, APISIX] {
        let resources = json!({
            "audience": null,
            "resources": {
                "resource://billing-api": {"hosts": ["billing.test"]},
                "resource://other": {"hosts": ["other.test"]},
            },
        });
        let mut proxy = start(on, resources);
        let to = |host: &str| good().authority(host);
        let billing = *on.send(&mut proxy, 0, &to("billing.test")).last().unwrap();
        assert_eq!(
            got(&proxy, billing, "x-caracal-resource"),
            ["resource://billing-api"]
        );
        let other = said(on.ask(&mut proxy, 0, &to("other.test")));
        assert_eq!(other, refused(401, "invalid_token"));
        let neither = said(on.ask(&mut proxy, 0, &to("kong")));
        assert_eq!(neither, refused(400, "invalid_request"));
        proxy.assert_clean();
    }
}

#[test]
fn on_kong_the_principal_is_handed_over_in_variables() {
    let changes = json!({
        "exclude": ["/open"],
        "forward": {"variables": {"caracal_sub": "sub", "caracal_edge": "delegation_edge_id"}},
    });
    let mut proxy = builder(KONG, &keys(), changes)
        .variables(["caracal_sub", "caracal_edge"])
        .start()
        .unwrap();
    proxy.advance(SOON);
    let variable = |proxy: &Proxy, stream, name: &str| {
        let name = format!("ngx\0{name}");
        proxy.filter_state_text(stream, &name).map(str::to_owned)
    };
    let admitted = proxy.request(0, good());
    let sub = variable(&proxy, admitted, "caracal_sub");
    assert_eq!(sub.as_deref(), Some("user-1"));
    let edge = variable(&proxy, admitted, "caracal_edge");
    assert_eq!(edge.as_deref(), Some(""), "an absent claim");
    for request in [Request::get("/open"), Request::get("/")] {
        let stream = proxy.request(0, request);
        assert_eq!(variable(&proxy, stream, "caracal_sub"), None);
    }
    // One that cannot be set keeps the request.
    proxy.on_host_call(|call| (call.name == "proxy_set_property").then_some(1));
    let stream = proxy.request(0, good());
    assert_eq!(said(proxy.outcome(stream)).0, 503);
    proxy.assert_clean();
}

/// Where a location answers otherwise than the filter said, the gate is shut.
#[test]
fn on_kong_the_gate_opens_for_what_is_admitted_alone() {
    let gate = json!({"variable": "gate", "upstream": "app"});
    let configured = json!({"exclude": ["/open"], "forward": {"gate": gate}});
    for bypassed in [false, true] {
        for changes in [configured.clone(), json!({"exclude": ["/open"]})] {
            let opens = changes["forward"].is_object();
            let mut builder = builder(KONG, &keys(), changes).gate();
            if bypassed {
                builder = builder.replies_bypassed();
            }
            let mut proxy = builder.start().unwrap();
            for cold in [true, false] {
                for request in [
                    Request::get("/"),
                    Request::get("/").bearer(mandate(json!({"exp": START - 100}))),
                    Request::get("/").bearer(Key::new("k1", 9).mandate(START, json!({}))),
                    Request::get("/open/..%2f").bearer("x"),
                ] {
                    let stream = proxy.request(0, request);
                    assert!(proxy.upstream(stream).is_none());
                }
                let open = proxy.request(0, Request::get("/open"));
                assert_eq!(proxy.upstream(open).is_some(), opens);
                let admitted = proxy.request(0, good());
                assert_eq!(proxy.upstream(admitted).is_some(), opens && !cold);
                proxy.advance(SOON);
            }
        }
    }
}
