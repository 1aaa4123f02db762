//! The caller's `baggage`, and the members that the mandate verifies.

use super::*;

/// What the upstream gets as `baggage` from a request with these lines.
fn sent(on: On, proxy: &mut Proxy, claims: Value, lines: &[&str]) -> Vec<String> {
    let mut request = Request::get("/").bearer(mandate(claims));
    for line in lines {
        request = request.header("baggage", line);
    }
    let stream = send(on, proxy, &request);
    got(proxy, stream, "baggage")
}

const LINE: &str = "a=1;p=2, Caracal.session=forged,caracal.hop=0 ,b=x%20y";

#[test]
fn the_callers_members_are_removed_unless_they_are_kept() {
    for on in ALL {
        for forward in [
            json!({}),
            json!({"authorization": false}),
            json!({"baggage": "remove"}),
        ] {
            let mut proxy = forwarding(on, forward);
            for _ in 0..2 {
                let left = sent(on, &mut proxy, json!({}), &[LINE]);
                assert_eq!(left, ["a=1;p=2,b=x%20y"], "{on:?}");
            }
            let none = sent(on, &mut proxy, json!({}), &["caracal.session=forged"]);
            assert!(none.is_empty());
            for hidden in ["a=1,%63aracal.session=x", "a=1,\"b,caracal.session=x\""] {
                assert!(sent(on, &mut proxy, json!({}), &[hidden]).is_empty());
            }
            for other in ["a=1, b=2", "strange \"text\"", "a=%20"] {
                assert_eq!(sent(on, &mut proxy, json!({}), &[other]), [other]);
            }
            proxy.assert_clean();
        }
        let mut proxy = forwarding(on, json!({"baggage": "keep", "authorization": false}));
        assert_eq!(sent(on, &mut proxy, json!({}), &[LINE]), [LINE]);
        proxy.assert_clean();
    }
}

#[test]
fn verified_members_take_the_place_of_the_callers() {
    let claims = json!({
        "agent_session_id": "as 1", "delegation_edge_id": "edge-é,caracal.hop=0", "hop_count": 2,
    });
    let ours = "caracal.agent_session=as%201,caracal.delegation_edge=edge-%C3%A9%2Ccaracal.hop%3D0,caracal.hop=2,caracal.session=sid-1";
    for on in ALL {
        // No header has to carry the claims, so that these can be anything.
        let forward = json!({"baggage": "verified", "headers": {}});
        let mut proxy = cold(on, json!({"forward": forward}));
        let mut sent = |lines: &[&str]| sent(on, &mut proxy, claims.clone(), lines);
        // The first waits for what is fetched.
        assert_eq!(sent(&[LINE]), [format!("a=1;p=2,b=x%20y,{ours}")]);
        assert_eq!(sent(&[]), [ours]);
        assert_eq!(sent(&["caracal.session=forged"]), [ours]);
        assert_eq!(sent(&["a=1"]), [format!("a=1,{ours}")]);
        for broken in [
            "a=1,no pair",
            "a=\"1\",caracal.session=x",
            "a=1,caracal%2Esession=x",
            "a=1,%2563aracal.session=x",
        ] {
            assert_eq!(sent(&[broken]), [ours], "{broken}");
        }
        // Members over the bound give way as a whole.
        let many = ["a=1"; 64].join(",");
        assert_eq!(sent(&[&many]), [ours]);
        let long = format!("a={}", "x".repeat(8_100));
        assert_eq!(sent(&[&long]), [ours]);
        proxy.assert_clean();
    }
}

#[test]
fn several_lines_become_one() {
    for on in [ENVOY, APISIX] {
        let mut proxy = forwarding(on, json!({"baggage": "verified"}));
        let lines = ["a=1", "caracal.session=forged", "b=2"];
        let all = sent(on, &mut proxy, json!({}), &lines);
        assert_eq!(all, ["a=1,b=2,caracal.session=sid-1"]);
        proxy.assert_clean();
    }
    // Kong overwrites the first of two and sends the other, so it refuses both.
    let mut proxy = forwarding(KONG, json!({"baggage": "verified"}));
    let twice = Request::get("/")
        .bearer(mandate(json!({})))
        .header("baggage", "a=1")
        .header("baggage", "caracal.session=forged");
    let stream = proxy.request(0, twice);
    assert_eq!(said(proxy.outcome(stream)).0, 400);
    proxy.assert_clean();
}

#[test]
fn verified_members_over_the_bound_are_refused_or_omitted() {
    let wide = json!({"agent_session_id": "é".repeat(1_400)});
    for on in ALL {
        for (unsendable, status) in [("refuse", 401), ("omit", 200)] {
            let forward = json!({"baggage": "verified", "headers": {}, "unsendable": unsendable});
            let mut proxy = forwarding(on, forward);
            let request = Request::get("/")
                .bearer(mandate(wide.clone()))
                .header("baggage", LINE);
            let stream = send(on, &mut proxy, &request);
            assert_eq!(said(proxy.outcome(stream)).0, status);
            if status == 200 {
                assert_eq!(got(&proxy, stream, "baggage"), ["a=1;p=2,b=x%20y"]);
            }
            if status == 200 && on != APISIX {
                assert_eq!(proxy.metric_value("caracal_headers_not_sent_total"), 1);
            }
            proxy.assert_clean();
        }
    }
}

/// The next hop would remove them.
#[test]
fn verified_members_are_no_header_of_the_connection() {
    for on in ALL {
        for (baggage, status) in [("verified", 400), ("remove", 200)] {
            let mut proxy = forwarding(on, json!({"baggage": baggage}));
            let request = Request::get("/")
                .bearer(mandate(json!({})))
                .header("connection", "Baggage");
            let stream = send(on, &mut proxy, &request);
            assert_eq!(said(proxy.outcome(stream)).0, status, "{on:?}");
        }
    }
}
