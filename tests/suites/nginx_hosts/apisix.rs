//! APISIX: nothing ticks, and each request makes its own calls, one after another.

use caracal_tests::host::{Callout, Level, Module, Stream};
use caracal_tests::hosts::APISIX;

use super::*;

pub(super) fn feed() -> Value {
    json!({"revocation": {"upstream": "feed", "poll_interval_ms": 1_000, "max_staleness_s": 5}})
}

pub(super) fn last(proxy: &Proxy) -> &Callout {
    proxy.callouts().last().unwrap()
}

pub(super) fn of(proxy: &Proxy, stream: Stream) -> usize {
    let all = proxy.callouts().iter();
    all.filter(|callout| callout.stream == Some(stream)).count()
}

#[test]
fn a_cold_worker_answers_its_first_request_with_its_verdict() {
    let mut proxy = builder(APISIX, &keys(), feed()).start().unwrap();
    assert!(proxy.callouts().is_empty());
    // It lacks both: the key set is fetched, and in that call's callback the companion
    // is asked.
    let first = proxy.request(0, good());
    assert!(proxy.outcome(first).is_paused());
    assert_eq!(last(&proxy).cluster, APISIX.sts());
    proxy.advance(5 * MS);
    assert_eq!(last(&proxy).cluster, APISIX.feed());
    assert_eq!(
        (last(&proxy).method.as_str(), last(&proxy).path.as_str()),
        ("POST", "/v1/check")
    );
    let asked = last(&proxy).json();
    assert_eq!(
        asked,
        json!({"anchors": ["sid-1", "root-1"], "zone": caracal_tests::mint::ZONE})
    );
    assert_eq!(said(APISIX.settle(&mut proxy, first)).0, 200);
    let second = proxy.request(0, good());
    assert_eq!(said(proxy.outcome(second)).0, 200, "without waiting");
    assert_eq!([first, second].map(|s| of(&proxy, s)), [2, 0]);
    // A refusal is given the same way.
    proxy.restart_worker(0).unwrap();
    let revoked = Request::get("/").bearer(mandate(json!({"sid": "revoked"})));
    let stream = proxy.request(0, revoked);
    let outcome = APISIX.settle(&mut proxy, stream);
    assert_eq!(said(outcome), refused(401, "session_revoked"));
    proxy.assert_clean();
}

/// The zone has a new key, and many requests with it come at once.
#[test]
fn a_rotation_refuses_nobody() {
    let sts = keys();
    let mut proxy = builder(APISIX, &sts, feed()).start().unwrap();
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    let both = key_set(&[&key(), &Key::new("k2", 2)]);
    sts.replace(Answer::json(&both).after(5 * MS));
    proxy.advance(Duration::from_secs(40));
    let of_new = |n: u32| {
        let claims = json!({"sid": format!("s-{n}"), "root_sid": format!("r-{n}")});
        Request::get("/").bearer(Key::new("k2", 2).mandate(START, claims))
    };
    let crowd: Vec<Stream> = (0..10).map(|n| proxy.request(0, of_new(n))).collect();
    proxy.advance(SOON);
    for stream in crowd {
        assert_eq!(said(proxy.outcome(stream)).0, 200);
    }
    let next = proxy.request(0, of_new(11));
    assert_eq!(said(APISIX.settle(&mut proxy, next)).0, 200);
    proxy.assert_clean();
}

/// One lost call costs one request: the wait after it is short, and one request finds out
/// whether it is over.
#[test]
fn one_lost_call_costs_one_request() {
    for lost_sts in [false, true] {
        let lose = Rc::new(RefCell::new(true));
        let (losing, companion, sts) = (Rc::clone(&lose), InProcess::default(), keys());
        let mut proxy = APISIX
            .builder(&APISIX.configuration(feed()))
            .wall(Duration::from_secs(START))
            .on_callout(move |callout| {
                let is_sts = APISIX.is_sts(callout);
                match (is_sts, is_sts == lost_sts && losing.replace(false)) {
                    (_, true) => Answer::Refused,
                    (true, false) => sts.borrow().clone(),
                    (false, false) => companion.answer(callout),
                }
            })
            .start()
            .unwrap();
        let mut lost = 0;
        for n in 0..20 {
            let claims = json!({"sid": format!("s-{n}"), "root_sid": format!("r-{n}")});
            let stream = proxy.request(0, Request::get("/").bearer(mandate(claims)));
            lost += u32::from(said(APISIX.settle(&mut proxy, stream)).0 == 503);
            proxy.advance(30 * MS);
        }
        assert_eq!(lost, 1, "{lost_sts}");
        proxy.assert_clean();
    }
}

/// While the companion does not answer, one request at a time finds that out; the others
/// have their answer at once.
#[test]
fn a_silent_companion_is_probed_by_one_request() {
    let silent = Rc::new(RefCell::new(false));
    let (is_silent, companion, sts) = (Rc::clone(&silent), InProcess::default(), keys());
    let mut proxy = APISIX
        .builder(&APISIX.configuration(feed()))
        .wall(Duration::from_secs(START))
        .on_callout(move |callout| match APISIX.is_sts(callout) {
            true => sts.borrow().clone(),
            false if *is_silent.borrow() => Answer::TimesOut,
            false => companion.answer(callout),
        })
        .start()
        .unwrap();
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    silent.replace(true);
    let new = |n: u32| {
        let claims = json!({"sid": format!("s-{n}"), "root_sid": format!("r-{n}")});
        Request::get("/").bearer(mandate(claims))
    };
    let first = proxy.request(0, new(0));
    assert_eq!(said(APISIX.settle(&mut proxy, first)).0, 503);
    proxy.advance(30 * MS);
    let probes = proxy.request(0, new(1));
    assert!(proxy.outcome(probes).is_paused());
    let before = proxy.callouts().len();
    for n in 2..30 {
        let stream = proxy.request(0, new(n));
        assert_eq!(said(proxy.outcome(stream)).0, 503, "at once");
        let known = proxy.request(0, good());
        assert_eq!(said(proxy.outcome(known)).0, 200, "by the last answer");
    }
    assert_eq!(proxy.callouts().len(), before);
    silent.replace(false);
    proxy.advance(Duration::from_secs(3));
    let stream = proxy.request(0, new(40));
    assert_eq!(said(APISIX.settle(&mut proxy, stream)).0, 200);
    proxy.assert_clean();
}

/// What a mandate that is known needs is there: it does not wait for the STS, but for the
/// quarter of a second in which it finds out, in place of all others, that the STS is
/// silent; and it is admitted then too.
#[test]
fn a_known_mandate_is_admitted_while_the_sts_is_silent() {
    let sts = keys();
    let jwks = json!({"jwks": {"upstream": "sts", "ttl_s": 100, "max_stale_s": 500}});
    let mut proxy = builder(APISIX, &sts, jwks).start().unwrap();
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    sts.replace(Answer::TimesOut);
    proxy.advance(Duration::from_secs(101));
    let mut waited = 0;
    for _ in 0..400 {
        let began = proxy.now();
        let stream = proxy.request(0, good());
        let beside = proxy.request(0, good());
        assert_eq!(said(proxy.outcome(beside)).0, 200, "at once");
        waited += u32::from(proxy.outcome(stream).is_paused());
        assert_eq!(said(APISIX.settle(&mut proxy, stream)).0, 200);
        assert!(proxy.now() - began <= 260 * MS);
        proxy.advance(Duration::from_secs(1));
    }
    assert!((10..60).contains(&waited), "{waited}");
    proxy.assert_clean();
}

/// An STS that takes longer than a request waits by the way is heard all the same: by a
/// request whose mandate is new to the worker.
#[test]
fn an_sts_that_answers_slowly_is_heard_before_the_key_set_ends() {
    let sts = keys();
    let jwks = json!({"jwks": {"upstream": "sts", "ttl_s": 100, "max_stale_s": 500}});
    let mut proxy = builder(APISIX, &sts, jwks).start().unwrap();
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    let slow = keys().borrow().clone().after(Duration::from_secs(1));
    sts.replace(slow);
    proxy.advance(Duration::from_secs(101));
    for _ in 0..100 {
        let began = proxy.now();
        let known = proxy.request(0, good());
        assert_eq!(said(APISIX.settle(&mut proxy, known)).0, 200);
        assert!(proxy.now() - began <= 260 * MS, "a known one does not wait");
        proxy.advance(Duration::from_secs(1));
    }
    let new = mandate(json!({"sid": "new", "root_sid": "new"}));
    let stream = proxy.request(0, Request::get("/").bearer(new));
    assert_eq!(said(APISIX.settle(&mut proxy, stream)).0, 200);
    let calls = proxy.callouts_to(APISIX.sts()).len();
    for _ in 0..70 {
        assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
        proxy.advance(Duration::from_secs(1));
    }
    assert_eq!(proxy.callouts_to(APISIX.sts()).len(), calls, "it was heard");
    proxy.assert_clean();
}

/// A key set that may not outlive its life is fetched anew before it ends.
#[test]
fn a_key_set_that_may_not_be_stale_is_refreshed_before_its_end() {
    let sts = keys();
    let jwks = json!({"jwks": {"upstream": "sts", "ttl_s": 100, "max_stale_s": 0}});
    let mut proxy = builder(APISIX, &sts, jwks).start().unwrap();
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    proxy.advance(Duration::from_secs(70));
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    assert_eq!(proxy.callouts_to(APISIX.sts()).len(), 1);
    proxy.advance(Duration::from_secs(20));
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    assert_eq!(proxy.callouts_to(APISIX.sts()).len(), 2);
    sts.replace(Answer::Refused);
    proxy.advance(Duration::from_secs(90));
    let stream = proxy.request(0, good());
    assert_eq!(said(APISIX.settle(&mut proxy, stream)).0, 200, "the second");
    proxy.assert_clean();
}

/// One line when refusing begins and one when it ends, for lack of either; why and by
/// which limit.
#[test]
fn refusing_is_said_once_and_so_is_its_end() {
    for (is_sts, refusing, judged) in [
        (
            true,
            "caracal: REFUSING every request that needs the key set (503): it was never read, the limit is 900 s (jwks.ttl_s and jwks.max_stale_s); sts.test:443: it cannot be reached",
            "caracal: requests are no longer refused for lack of the key set: that lasted ",
        ),
        (
            false,
            "caracal: REFUSING every request that needs the revocation state of its mandate (503): it was never read, the limit is 30 s (revocation.max_staleness_s); 127.0.0.1:7700: it cannot be reached",
            "caracal: requests are no longer refused for lack of the revocation state of its mandate: that lasted ",
        ),
    ] {
        let away = Rc::new(RefCell::new(true));
        let (is_away, companion, sts) = (Rc::clone(&away), InProcess::default(), keys());
        let mut changes = feed();
        changes["revocation"]["max_staleness_s"] = json!(30);
        let mut proxy = APISIX
            .builder(&APISIX.configuration(changes))
            .wall(Duration::from_secs(START))
            .on_callout(move |callout| match APISIX.is_sts(callout) {
                of_sts if of_sts == is_sts && *is_away.borrow() => Answer::Refused,
                true => sts.borrow().clone(),
                false => companion.answer(callout),
            })
            .start()
            .unwrap();
        let lines = |proxy: &Proxy, level: Level, text: &str| {
            let all = proxy.logs().iter();
            all.filter(|line| line.level == level && line.text.contains(text))
                .count()
        };
        for _ in 0..20 {
            let stream = proxy.request(0, good());
            assert_eq!(said(APISIX.settle(&mut proxy, stream)).0, 503);
            proxy.advance(Duration::from_secs(7));
        }
        assert_eq!(
            lines(&proxy, Level::Error, refusing),
            1,
            "{:?}",
            proxy.logs()
        );
        assert_eq!(lines(&proxy, Level::Info, judged), 0);
        away.replace(false);
        for _ in 0..20 {
            assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
            proxy.advance(Duration::from_secs(1));
        }
        assert_eq!(lines(&proxy, Level::Info, judged), 1, "{:?}", proxy.logs());
        assert_eq!(lines(&proxy, Level::Error, "REFUSING"), 1);
        proxy.assert_clean();
    }
}

/// Twenty routes of one service are twenty configurations in a worker.
#[test]
fn configurations_in_a_worker_share_what_the_companion_said() {
    let mut builder = builder(APISIX, &keys(), feed());
    for n in 1..20 {
        let mut changes = feed();
        changes["exclude"] = json!([format!("/open-{n}")]);
        builder = builder.configuration(APISIX.configuration(changes));
    }
    let mut proxy = builder.start().unwrap();
    for listener in 0..20 {
        let outcome = APISIX.ask(&mut proxy, 0, &good().listener(listener));
        assert_eq!(said(outcome).0, 200);
    }
    assert_eq!(proxy.callouts_to(APISIX.feed()).len(), 1);
    assert_eq!(proxy.callouts_to(APISIX.sts()).len(), 1);
    proxy.assert_clean();
}

/// The plugin behind the filter refuses unless the filter opened the gate.
#[test]
fn the_gate_opens_for_what_is_admitted_alone() {
    let mut changes = feed();
    changes["exclude"] = json!(["/open"]);
    changes["forward"] = json!({"gate": {"variable": "gate", "upstream": "open"}});
    let mut proxy = builder(APISIX, &keys(), changes.clone())
        .gate()
        .start()
        .unwrap();
    for (request, status) in [
        (Request::get("/open"), 200),
        (Request::get("/"), 401),
        (good(), 200),
        (good(), 200),
    ] {
        let stream = proxy.request(0, request);
        assert_eq!(said(APISIX.settle(&mut proxy, stream)).0, status);
        let opened = proxy.filter_state_text(stream, "gate");
        assert_eq!(opened, (status == 200).then_some("open"));
    }
    proxy.assert_clean();
    // Nobody declared it: everything is refused, and the log says why, once.
    let mut proxy = builder(APISIX, &keys(), changes).start().unwrap();
    for _ in 0..3 {
        assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 503);
    }
    let lines = proxy.logs().iter();
    let lines = lines.filter(|line| line.text.contains("$gate cannot be set"));
    assert_eq!(lines.count(), 1);
    // Without the filter it is shut.
    let mut bare = APISIX
        .builder_of(
            Module::from_bytes(r#"(module (memory (export "memory") 1))"#).unwrap(),
            "{}",
        )
        .gate()
        .start()
        .unwrap();
    let stream = bare.request(0, good());
    assert_eq!(bare.outcome(stream).status(), Some(503));
}

/// APISIX tries a refused configuration twice for each request.
#[test]
fn a_refused_configuration_is_logged_once() {
    let mut proxy = builder(APISIX, &keys(), json!({"issuer": 5, "audience": 6}))
        .start()
        .unwrap();
    for _ in 0..10 {
        let stream = proxy.request(0, good());
        assert_eq!(proxy.outcome(stream).status(), Some(503));
    }
    let lines = proxy.logs().iter();
    let lines = lines.filter(|line| line.text.contains("caracal: configuration"));
    assert_eq!(lines.count(), 2, "one for each of the two mistakes");
}

#[test]
fn a_mandate_is_asked_about_again_by_one_request_while_others_go_on() {
    let mut proxy = start(APISIX, feed());
    assert_eq!(said(APISIX.ask(&mut proxy, 0, &good())).0, 200);
    proxy.advance(Duration::from_millis(1_100));
    let asks = proxy.request(0, good());
    let goes_on = proxy.request(0, good());
    assert!(proxy.outcome(asks).is_paused());
    assert_eq!(said(proxy.outcome(goes_on)).0, 200);
    assert_eq!(said(APISIX.settle(&mut proxy, asks)).0, 200);
    assert_eq!([asks, goes_on].map(|s| of(&proxy, s)), [1, 0]);
    proxy.assert_clean();
}
