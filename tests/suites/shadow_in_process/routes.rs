//! Some routes in shadow, and others not.

use caracal_tests::host::Request;
use caracal_tests::hosts::{ALL, APISIX, KONG};
use serde_json::json;

use crate::edge::{Edge, SOON, forging, mandate};

#[test]
fn a_route_is_in_shadow_and_nothing_else() {
    for on in ALL {
        let mut edge = Edge::start(
            on,
            json!({"enforcement": "enforce", "routes": {"/try": {"enforcement": "shadow"}}}),
        );
        let stream = edge.send(forging(Request::get("/try/1")));
        edge.went_on(stream, "missing_token", "missing_token");
        for path in [
            "/",
            "/tryst",
            "/TRY",
            "/Try/1",
            "//try",
            "/%74ry",
            "/x/../try",
            "/x/%2e%2e/try",
            "/try/../x",
            "/try/%2e%2e/x",
            "/try/..%2fx",
            "/try%2f..%2fx",
            "/try;/../x",
            "/try\\..\\x",
            "/try.x",
            "/try%00",
            "/try/%252e%252e/x",
        ] {
            let stream = edge.send(Request::get(path));
            let (status, _) = edge.replied(stream);
            assert!([400, 401].contains(&status), "{on:?} {path} {status}");
        }
        edge.proxy.assert_clean();
    }
}

#[test]
fn a_route_is_enforced_and_everything_else_in_shadow() {
    for on in ALL {
        let mut edge = Edge::start(on, json!({"routes": {"/pay": {"enforcement": "enforce"}}}));
        for path in ["/", "/x", "/payouts", "/x?a=/pay"] {
            let stream = edge.send(forging(Request::get(path)));
            edge.went_on(stream, "missing_token", "missing_token");
        }
        for path in [
            "/pay",
            "/pay/1",
            "/Pay",
            "/PAY/1",
            "//pay",
            "/%70ay",
            "/%50AY",
            "/%2570ay",
            "/x/../pay",
            "/x/%2e%2e/pay",
            "/x/..%2fpay",
            "/x\\..\\pay",
            "/pay;a=b",
            "/PAY;a=b",
            "/pay.json",
            "/./pay",
            "/x/../PAY",
            "/pay%00",
            "/pay:1",
            "/\u{e9}/%ff/../pay",
        ] {
            let stream = edge.send(Request::get(path));
            let (status, _) = edge.replied(stream);
            assert!([400, 401].contains(&status), "{on:?} {path} {status}");
        }
        // What nobody can read is nobody's, and refused.
        for path in ["/a%00", "/a/%2e%2e/..//%2fpay"] {
            let stream = edge.send(Request::get(path));
            assert_eq!(edge.replied(stream).0, 400, "{path}");
        }
        // A good mandate is as good in both.
        for path in ["/x", "/pay"] {
            let stream = edge.send(Request::get(path).bearer(mandate(json!({}))));
            assert_eq!(edge.got(stream, "x-caracal-sub"), ["user-1"]);
        }
        edge.proxy.assert_clean();
    }
}

/// The host or a header chooses the resource; who makes up either is refused.
#[test]
fn a_resource_in_shadow_opens_no_other() {
    for on in ALL {
        let shadow = json!({"routes": {"/": {"enforcement": "shadow"}}, "hosts": ["try.test"]});
        let mut edge = Edge::start(
            on,
            json!({
                "audience": null, "exclude": null, "enforcement": "enforce",
                "resources": {"try": shadow, "pay": {"hosts": ["pay.test"]}},
            }),
        );
        let at = |host: &str| Request::get("/x").authority(host);
        let stream = edge.send(forging(at("try.test")));
        edge.went_on_to(stream, "missing_token", "missing_token", &["try"]);
        for request in [
            at("pay.test"),
            at("pay.test").header("x-caracal-resource", "try"),
            at("try.test").header("x-caracal-resource", "pay"),
            at("try.test").header("x-caracal-resource", "unknown"),
            at("other.test").header("x-caracal-resource", "try"),
            at("try.test.").header("x-caracal-resource", "try"),
        ] {
            let stream = edge.send(request.clone());
            let (status, _) = edge.replied(stream);
            assert!([400, 401].contains(&status), "{on:?} {request:?} {status}");
        }
        edge.proxy.assert_clean();
    }
}

/// A proxy that lets nothing through before the filter has opened its gate.
#[test]
fn the_gate_opens_for_what_goes_on() {
    for on in [KONG, APISIX] {
        let forward = json!({"gate": {"variable": "gate", "upstream": "service"}});
        for (enforcement, is_open) in [("shadow", true), ("enforce", false)] {
            let configuration = on.configuration(json!({
                "forward": forward, "enforcement": enforcement,
            }));
            let mut proxy = on.builder(&configuration).gate().start().unwrap();
            proxy.advance(SOON);
            let stream = proxy.request(0, Request::get("/x"));
            on.settle(&mut proxy, stream);
            assert_eq!(proxy.upstream(stream).is_some(), is_open, "{on:?}");
            proxy.assert_clean();
        }
    }
}
