//! What an attacker, a companion out of step or a wrong configuration may try.

use std::cell::Cell;

use caracal_tests::host::{Module, Stream};
use caracal_tests::hosts::{APISIX, KONG};

use super::*;

fn feed(changes: Value) -> Value {
    let mut feed = json!({"upstream": "feed", "poll_interval_ms": 1_000, "max_staleness_s": 30});
    for (name, value) in changes.as_object().unwrap() {
        feed[name] = value.clone();
    }
    feed
}

fn of(sid: &str, root: &str) -> Request {
    Request::get("/").bearer(mandate(json!({"sid": sid, "root_sid": root})))
}

/// A proxy of APISIX's whose companion can be slow.
fn slow(companion: &Rc<InProcess>, sts: &Sts, changes: Value, delay: &Rc<Cell<Duration>>) -> Proxy {
    let (companion, sts, delay) = (Rc::clone(companion), Rc::clone(sts), Rc::clone(delay));
    APISIX
        .builder(&APISIX.configuration(changes))
        .wall(Duration::from_secs(START))
        .on_callout(move |callout| match APISIX.is_sts(callout) {
            true => sts.borrow().clone(),
            false => companion.answer(callout).after(delay.get()),
        })
        .start()
        .unwrap()
}

/// The callback names the root, and several requests of it wait: nobody is let go
/// undecided, and each is decided by its own answer.
#[test]
fn on_apisix_answers_that_name_the_root_decide_their_own_requests() {
    let builder = builder(APISIX, &keys(), json!({"revocation": feed(json!({}))}));
    let mut proxy = builder.start().unwrap();
    let unknown = Request::get("/").bearer(Key::new("k9", 9).mandate(START, json!({})));
    let forged = proxy.request(0, unknown.clone());
    let one = proxy.request(0, good());
    let two = proxy.request(0, of("s-2", "r-2"));
    proxy.advance(SOON);
    assert_eq!(said(proxy.outcome(forged)), refused(401, "invalid_token"));
    assert_eq!([one, two].map(|s| said(proxy.outcome(s)).0), [200, 200]);
    for stream in APISIX.send(&mut proxy, 0, &unknown) {
        assert!(proxy.upstream(stream).is_none());
    }
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    let revoked = of("revoked", "r");
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &revoked)).0, 401);
    proxy.assert_clean();
}

/// What nginx decodes is not what the upstream gets.
#[test]
fn the_target_is_judged_as_it_was_sent() {
    for on in [KONG, APISIX] {
        judges_the_target(on);
    }
}

fn judges_the_target(on: On) {
    let mut proxy = start(
        on,
        json!({"exclude": ["/open"], "required_scopes": ["none"]}),
    );
    for path in [
        "/payouts/../open",
        "/payouts/%2e%2e/open",
        "/payouts%2f..%2fopen",
        "/open%3f/x",
        "/open%2fadmin",
        "//open",
    ] {
        let stream = proxy.request(0, Request::get(path));
        assert!(proxy.upstream(stream).is_none(), "{path}");
    }
    let plain = proxy.request(0, Request::get("/open/x?a=/b"));
    let forwarded = proxy.outcome(plain).forwarded();
    assert_eq!(forwarded.headers.text(":path"), Some("/open/x?a=/b"));
    proxy.on_host_call(|call| (call.name == "proxy_get_property").then_some(1));
    let unread = proxy.request(0, Request::get("/open"));
    assert_eq!(said(proxy.outcome(unread)).0, 503);
    proxy.assert_clean();
}

/// In `GET http://other.test/ HTTP/1.1` nginx goes by the target.
#[test]
fn the_host_that_chooses_is_the_one_that_nginx_goes_by() {
    let changes = json!({"audience": null, "resources": {
        "resource://billing-api": {"hosts": ["billing.test:8443"]},
        "resource://other": {"hosts": ["other.test"]},
    }});
    for (on, variable) in [(KONG, "ngx.host"), (APISIX, "host")] {
        let mut proxy = start(on, changes.clone());
        let to_billing = good().authority("billing.test:8443");
        assert_eq!(said(on.ask(&mut proxy, 0, &to_billing)).0, 200);
        for nginx_s in ["other.test", "billing.test.evil", "billing"] {
            let request = to_billing.clone().property(variable, nginx_s);
            let outcome = said(on.ask(&mut proxy, 0, &request));
            assert_eq!(outcome, refused(400, "invalid_request"), "{nginx_s}");
        }
        proxy.assert_clean();
    }
}

#[test]
fn a_verified_header_is_not_taken_away_again_by_connection() {
    for on in [KONG, APISIX] {
        let mut proxy = start(on, json!({}));
        let naming = |value: &str| good().header("connection", value);
        let fine = said(on.ask(&mut proxy, 0, &naming("close, x-trace")));
        assert_eq!(fine.0, 200);
        for value in ["x-caracal-delegation-id", "close, X-Caracal-Sub ,te"] {
            let outcome = said(on.ask(&mut proxy, 0, &naming(value)));
            assert_eq!(outcome, refused(400, "invalid_request"), "{value}");
        }
        let odd = said(on.ask(&mut proxy, 0, &good().header("x.caracal.sub", "forged")));
        assert_eq!(odd, refused(400, "invalid_request"));
        proxy.assert_clean();
    }
}

/// What was asked for in the clear decides nothing for who asks over TLS, and who fails
/// keeps nobody from it.
#[test]
fn on_kong_two_ways_to_a_companion_are_two_states() {
    let over = |tls: bool| KONG.configuration(json!({"revocation": feed(json!({"tls": tls}))}));
    for (liar, listener) in [("http", 1), ("https", 0)] {
        let (sts, companion) = (keys(), InProcess::default());
        companion.revoke("revoked");
        let mut proxy = KONG
            .builder(&over(false))
            .configuration(over(true))
            .wall(Duration::from_secs(START))
            .on_callout(move |callout| {
                if KONG.is_sts(callout) {
                    return sts.borrow().clone();
                }
                match callout.headers.text(":scheme") == Some(liar) {
                    true if liar == "https" => Answer::Refused,
                    true => Answer::json(&json!({
                        "generation": "other", "head": 0, "confirmed_age_ms": 0,
                        "entries": [], "more": false, "next": "",
                    })),
                    false => companion.answer(callout),
                }
            })
            .start()
            .unwrap();
        for _ in 0..20 {
            proxy.advance(Duration::from_secs(1));
            let fine = proxy.request(0, good().listener(listener));
            assert_eq!(said(proxy.outcome(fine)).0, 200);
            let revoked = proxy.request(0, of("revoked", "r").listener(listener));
            assert_eq!(said(proxy.outcome(revoked)).0, 401);
        }
    }
}

/// A clock that begins with the VM: what is older than that is not young.
#[test]
fn a_companion_that_is_hours_behind_is_not_believed_by_a_young_clock() {
    for on in [KONG, APISIX] {
        let sts = keys();
        let behind = match on {
            KONG => json!({
                "generation": "g", "head": 0, "confirmed_age_ms": 36_000_000,
                "entries": [], "more": false,
            }),
            _ => json!({"revoked": [], "epoch": 0, "confirmed_age_ms": 36_000_000}),
        };
        let mut proxy = on
            .builder(&on.configuration(json!({"revocation": feed(json!({}))})))
            .wall(Duration::from_secs(START))
            .clock_from_zero()
            .on_callout(move |callout| match on.is_sts(callout) {
                true => sts.borrow().clone(),
                false => Answer::json(&behind),
            })
            .start()
            .unwrap();
        proxy.advance(SOON);
        for stream in on.send(&mut proxy, 0, &good()) {
            assert!(proxy.upstream(stream).is_none(), "{on:?}");
        }
    }
}

/// Fetching the key set does not stand in for asking about the mandate.
#[test]
fn on_apisix_a_call_to_the_sts_is_no_answer_of_the_companion() {
    let (companion, sts, delay) = (Rc::default(), keys(), Rc::default());
    let changes = json!({
        "jwks": {"upstream": "sts", "ttl_s": 10, "max_stale_s": 600},
        "revocation": feed(json!({})),
    });
    let mut proxy = slow(&companion, &sts, changes, &delay);
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    companion.revoke("sid-1");
    sts.replace(Answer::Refused);
    proxy.advance(Duration::from_secs(15));
    for stream in APISIX.send(&mut proxy, 0, &good()) {
        assert!(proxy.upstream(stream).is_none());
    }
}

/// When the victim is refused, if it asks ten times a second and others do what `noise`
/// says.
fn refused_after(proxy: &mut Proxy, mut noise: impl FnMut(&mut Proxy, u32) -> bool) -> Duration {
    let began = proxy.now();
    let mut last = Duration::ZERO;
    let mut sent: Vec<Stream> = Vec::new();
    for round in 0..200 {
        proxy.advance(Duration::from_millis(100));
        let leaves = noise(proxy, round);
        let stream = proxy.request(0, of("victim", "root"));
        if leaves && proxy.outcome(stream).is_paused() {
            proxy.cancel(stream);
        }
        sent.push(stream);
        if sent.iter().any(|s| proxy.outcome(*s).is_forwarded()) {
            last = proxy.now() - began;
        }
        sent.retain(|s| proxy.outcome(*s).is_paused());
    }
    last
}

#[test]
fn on_apisix_siblings_and_leavers_do_not_keep_a_mandate_admitted() {
    for (delay_ms, leaves) in [(1_500, false), (5, true)] {
        let companion: Rc<InProcess> = Rc::default();
        let delay = Rc::new(Cell::new(5 * MS));
        let mut proxy = slow(
            &companion,
            &keys(),
            json!({"revocation": feed(json!({}))}),
            &delay,
        );
        assert_eq!(
            said(APISIX.ask(&mut proxy, 0, &of("victim", "root"))).0,
            200
        );
        companion.revoke("victim");
        delay.set(delay_ms * MS);
        let last = refused_after(&mut proxy, |proxy, round| {
            if !leaves {
                let sibling = of(&format!("sibling-{round}"), "root");
                let _ = proxy.request(0, sibling);
            }
            leaves
        });
        let longest = Duration::from_millis(1_200) + delay_ms * MS;
        assert!(last <= longest, "still admitted after {last:?}");
    }
}

#[test]
fn on_apisix_the_limit_of_age_holds_below_the_interval_too() {
    let (companion, delay): (Rc<InProcess>, _) = (Rc::default(), Rc::default());
    let changes = json!({
        "revocation": feed(json!({"poll_interval_ms": 60_000, "max_staleness_s": 5})),
    });
    let mut proxy = slow(&companion, &keys(), changes, &delay);
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    companion.revoke("sid-1");
    proxy.advance(Duration::from_secs(6));
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 401);
}

#[test]
fn on_apisix_one_mandate_does_not_take_every_place() {
    let delay = Rc::new(Cell::new(1_500 * MS));
    let changes = json!({"revocation": feed(json!({}))});
    let mut proxy = slow(&Rc::default(), &keys(), changes, &delay);
    let first = proxy.request(0, good());
    APISIX.settle(&mut proxy, first);
    let before = proxy.callouts().len();
    for _ in 0..1_200 {
        proxy.request(0, of("new", "new"));
    }
    assert_eq!(proxy.callouts().len(), before + 16);
    assert_eq!(
        said(APISIX.ask(&mut proxy, 0, &of("other", "other"))).0,
        200
    );
    proxy.assert_clean();
}

/// `host` was forgotten: nothing is decided by a filter that is made for another proxy.
#[test]
fn a_filter_configured_for_another_proxy_decides_nothing() {
    let open = json!({"exclude": ["/open"]});
    for said_to_be in [hosts::ENVOY, APISIX] {
        let sts = keys();
        let mut proxy = Proxy::kong(Module::from_file(caracal_tests::filter_wasm()).unwrap())
            .configuration(said_to_be.configuration(open.clone()))
            .wall(Duration::from_secs(START))
            .on_callout(move |_| sts.borrow().clone())
            .start()
            .unwrap();
        proxy.advance(SOON);
        let without_host = Request::get("/open").without(":authority");
        for request in [
            good(),
            Request::get("/open"),
            Request::get("/"),
            without_host,
        ] {
            let stream = proxy.request(0, request);
            assert!(said(proxy.outcome(stream)).0 >= 400);
            assert!(proxy.upstream(stream).is_none());
        }
        proxy.assert_clean();
    }
}

/// A route that names the wrong host is refused, and keeps no other from its answers.
#[test]
fn a_wrong_configuration_beside_a_right_one_harms_itself_alone() {
    for first in [APISIX, KONG] {
        let second = if first == KONG { APISIX } else { KONG };
        let sts = keys();
        let mut proxy = Proxy::kong(Module::from_file(caracal_tests::filter_wasm()).unwrap())
            .configuration(first.configuration(json!({})))
            .configuration(second.configuration(json!({})))
            .wall(Duration::from_secs(START))
            .on_callout(move |_| sts.borrow().clone())
            .start()
            .unwrap();
        proxy.advance(SOON);
        for (listener, on) in [first, second].into_iter().enumerate() {
            let stream = proxy.request(0, good().listener(listener));
            let status = if on == KONG { 200 } else { 503 };
            assert_eq!(said(proxy.outcome(stream)).0, status, "{on:?}");
        }
        proxy.assert_clean();
    }
}

#[test]
fn a_filter_that_cannot_find_out_where_it_is_refuses() {
    let mut proxy = start(hosts::ENVOY, json!({}));
    proxy.on_host_call(|call| (call.name == "proxy_get_property").then_some(2));
    let unsure = proxy.request(0, good());
    assert_eq!(said(proxy.outcome(unsure)).0, 503);
    proxy.no_faults();
    for _ in 0..2 {
        let stream = proxy.request(0, good());
        assert_eq!(said(proxy.outcome(stream)).0, 200);
    }
    proxy.assert_clean();
}

/// What was given up is refused when its answer comes after all.
#[test]
fn on_apisix_an_answer_to_what_was_given_up_is_a_refusal() {
    let sts = keys();
    sts.replace(Answer::Never);
    let changes = json!({"limits": {"max_paused": 1}});
    let mut proxy = builder(APISIX, &sts, changes).start().unwrap();
    let lost = proxy.request(0, good());
    proxy.advance(Duration::from_secs(121));
    sts.replace(keys().borrow().clone());
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    let call = proxy.callouts()[0].id;
    assert!(proxy.answer(call, keys().borrow().clone()));
    proxy.advance(SOON);
    assert_eq!(said(proxy.outcome(lost)).0, 503);
    proxy.assert_clean();
}

#[test]
fn on_kong_a_key_that_nobody_wants_any_more_is_not_fetched_for() {
    let mut proxy = start(KONG, json!({}));
    let unknown = |kid: &str| Request::get("/").bearer(Key::new(kid, 2).mandate(START, json!({})));
    let before = proxy.callouts().len();
    proxy.request(0, unknown("a"));
    proxy.advance(12 * MS);
    proxy.request(0, unknown("b"));
    proxy.advance(Duration::from_secs(120));
    assert_eq!(proxy.callouts().len(), before + 1);
}
