//! How requests fetch for themselves on APISIX.

use caracal_tests::host::Stream;
use caracal_tests::hosts::APISIX;

use super::apisix::feed;
use super::*;

#[test]
fn what_needs_no_revocation_state_asks_nobody() {
    let mut changes = feed();
    changes["required_scopes"] = json!(["billing:read"]);
    changes["exclude"] = json!(["/open"]);
    let mut proxy = start(APISIX, changes);
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    let before = proxy.callouts().len();
    for (request, status) in [
        (Request::get("/open"), 200),
        (Request::get("/"), 401),
        (
            Request::get("/").bearer(mandate(json!({"exp": START - 100}))),
            401,
        ),
        (
            Request::get("/").bearer(mandate(json!({"scope": "other"}))),
            403,
        ),
        (
            Request::get("/").bearer(Key::new("k1", 9).mandate(START, json!({}))),
            401,
        ),
    ] {
        let stream = proxy.request(0, request);
        assert_eq!(said(proxy.outcome(stream)).0, status);
    }
    assert_eq!(proxy.callouts().len(), before);
    proxy.assert_clean();
}

/// A crowd at a cold worker: the STS is not asked by all of it.
#[test]
fn a_cold_crowd_is_decided_by_a_few_fetches() {
    let mut proxy = builder(APISIX, &keys(), json!({})).start().unwrap();
    let crowd: Vec<Stream> = (0..40).map(|_| proxy.request(0, good())).collect();
    assert_eq!(proxy.callouts().len(), 16);
    proxy.advance(SOON);
    let statuses: Vec<u32> = crowd.iter().map(|s| said(proxy.outcome(*s)).0).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 16);
    assert_eq!(statuses.iter().filter(|s| **s == 503).count(), 24);
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    assert_eq!(proxy.callouts().len(), 16);
    proxy.assert_clean();
}

#[test]
fn a_key_set_is_refreshed_by_one_request_and_serves_until_it_is_too_old() {
    let sts = keys();
    let jwks = json!({"jwks": {"upstream": "sts", "ttl_s": 100, "max_stale_s": 50}});
    let mut proxy = builder(APISIX, &sts, jwks).start().unwrap();
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    proxy.advance(Duration::from_secs(70));
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    assert_eq!(proxy.callouts().len(), 1);
    proxy.advance(Duration::from_secs(31));
    let refreshes = proxy.request(0, good());
    let goes_on = proxy.request(0, good());
    assert_eq!(said(proxy.outcome(goes_on)).0, 200);
    assert_eq!(said(APISIX.settle(&mut proxy, refreshes)).0, 200);
    assert_eq!(proxy.callouts().len(), 2);
    sts.replace(Answer::Refused);
    proxy.advance(Duration::from_secs(140));
    assert_eq!(
        said(APISIX.ask(&mut proxy, 0, &good())).0,
        200,
        "as old as it may be"
    );
    proxy.advance(Duration::from_secs(20));
    let gone = proxy.request(0, good());
    assert_eq!(said(APISIX.settle(&mut proxy, gone)).0, 503);
    sts.replace(keys().borrow().clone());
    proxy.advance(Duration::from_secs(20));
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    proxy.assert_clean();
}

/// Every mandate is new, so every request has a question of its own; the key set is
/// refreshed all the same.
#[test]
fn a_key_set_that_is_over_comes_before_the_question() {
    let mut changes = feed();
    changes["jwks"] = json!({"upstream": "sts", "ttl_s": 100, "max_stale_s": 600});
    let mut proxy = start(APISIX, changes);
    for n in 0..300 {
        let claims = json!({"sid": format!("s-{n}"), "root_sid": format!("r-{n}")});
        let request = Request::get("/").bearer(mandate(claims));
        let outcome = said(APISIX.ask(&mut proxy, 0, &request));
        assert_eq!(outcome.0, 200, "{n}");
        proxy.advance(Duration::from_secs(1));
    }
    let fetches = proxy.callouts_to(APISIX.sts()).len();
    assert!((3..=5).contains(&fetches), "{fetches}");
    proxy.assert_clean();
}

#[test]
fn an_unknown_kid_is_fetched_for_once() {
    let mut proxy = start(APISIX, json!({}));
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    let unknown = Request::get("/").bearer(Key::new("k2", 2).mandate(START, json!({})));
    let stream = proxy.request(0, unknown.clone());
    assert!(proxy.outcome(stream).is_paused());
    assert_eq!(
        said(APISIX.settle(&mut proxy, stream)),
        refused(401, "invalid_token")
    );
    for _ in 0..5 {
        let stream = proxy.request(0, unknown.clone());
        assert_eq!(said(proxy.outcome(stream)), refused(401, "invalid_token"));
    }
    assert_eq!(proxy.callouts().len(), 2);
    proxy.assert_clean();
}

/// A route's new configuration is another root in the same worker. Who waits is decided
/// by the one that it came under, and what was fetched is there for both.
#[test]
fn a_new_configuration_does_not_lose_who_waits_nor_what_was_fetched() {
    let mut proxy = builder(APISIX, &keys(), json!({})).start().unwrap();
    let waits = proxy.request(0, good());
    let stricter = json!({"required_scopes": ["another"]});
    proxy.reconfigure(0, APISIX.configuration(stricter));
    let after = proxy.request(0, good());
    assert!(proxy.outcome(after).is_paused());
    proxy.advance(SOON);
    assert_eq!(said(proxy.outcome(waits)).0, 200);
    assert_eq!(
        said(proxy.outcome(after)),
        refused(403, "insufficient_scope")
    );
    let warm = proxy.request(0, good());
    assert_eq!(said(proxy.outcome(warm)).0, 403, "without waiting");
    proxy.assert_clean();
}

#[test]
fn a_client_that_leaves_while_it_waits_holds_its_place_until_its_call_ends() {
    let changes = json!({"limits": {"max_paused": 2}});
    let sts = keys();
    sts.replace(Answer::TimesOut);
    let mut proxy = builder(APISIX, &sts, changes).start().unwrap();
    let one = proxy.request(0, good());
    let two = proxy.request(0, good());
    let three = proxy.request(0, good());
    assert!(proxy.outcome(one).is_paused() && proxy.outcome(two).is_paused());
    assert_eq!(said(proxy.outcome(three)).0, 503, "no more may wait");
    proxy.cancel(one);
    proxy.cancel(two);
    sts.replace(keys().borrow().clone());
    let four = proxy.request(0, good());
    assert_eq!(said(proxy.outcome(four)).0, 503, "it was not noticed");
    proxy.advance(Duration::from_secs(8));
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    proxy.assert_clean();
}

#[test]
fn answers_that_cannot_be_believed_refuse() {
    for answer in [
        Answer::Refused,
        Answer::TimesOut,
        Answer::TooBig,
        Answer::with(401, ""),
        Answer::with(200, ""),
        Answer::with(200, "[]"),
        Answer::with(200, vec![b' '; 200_000]),
        Answer::json(&json!({"revoked": [], "epoch": 0})),
        Answer::json(&json!({"revoked": [], "epoch": 0, "confirmed_age_ms": 6_000})),
        Answer::DispatchFails(2),
    ] {
        let (sts, said_by_companion) = (keys(), answer.clone());
        let mut proxy = APISIX
            .builder(&APISIX.configuration(feed()))
            .wall(Duration::from_secs(START))
            .on_callout(move |callout| match APISIX.is_sts(callout) {
                true => sts.borrow().clone(),
                false => said_by_companion.clone(),
            })
            .start()
            .unwrap();
        let streams = APISIX.send(&mut proxy, 0, &good());
        for stream in streams {
            assert!(proxy.upstream(stream).is_none(), "{answer:?}");
            assert_eq!(said(proxy.outcome(stream)).0, 503, "{answer:?}");
        }
        proxy.assert_clean();
    }
}
