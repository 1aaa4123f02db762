//! What holds in every host.

use caracal_tests::hosts::{APISIX, KONG};

use super::*;

/// The tests in each host.
macro_rules! in_each {
    ($($test:ident,)*) => {
        $(mod $test {
            #[test]
            fn envoy() { super::$test(super::ENVOY); }
            #[test]
            fn kong() { super::$test(super::KONG); }
            #[test]
            fn apisix() { super::$test(super::APISIX); }
        })*
    };
}

in_each! {
    a_zone_s_key_judges_no_other_zone_s_token,
    another_zone_is_refused_and_nothing_is_fetched,
    a_rotation_is_the_zone_s_own,
    an_epoch_is_the_zone_s_own,
    a_companion_of_one_zone_lets_no_other_through,
    a_revocation_counts_in_every_zone,
    an_outage_is_the_zone_s_own,
    a_zone_has_its_own_issuer_and_source,
    a_resource_accepts_its_zones_only,
}

fn a_zone_s_key_judges_no_other_zone_s_token(on: On) {
    let world = World::new(on, &ZONES);
    let mut proxy = start(&world, json!({}));
    for _ in 0..2 {
        for zone in ZONES {
            for signer in ZONES {
                let token = mandate(&world.key(signer), zone, json!({"jti": signer}));
                let expected = match zone == signer {
                    true => admitted(),
                    // The kid is known in the zone, so nothing is fetched for it either.
                    false => refused(401, "invalid_token"),
                };
                assert_eq!(
                    judged(&world, &mut proxy, &token),
                    expected,
                    "{signer} for {zone}"
                );
            }
        }
    }
    proxy.assert_clean();
}

fn another_zone_is_refused_and_nothing_is_fetched(on: On) {
    let world = World::new(on, &ZONES);
    let mut proxy = start(&world, json!({}));
    // Each zone is there, or has been asked for.
    for zone in ZONES {
        assert_eq!(
            judged(&world, &mut proxy, &world.mandate(zone, json!({}))),
            admitted()
        );
    }
    let (fetched, asked) = (world.fetches.borrow().len(), proxy.callouts().len());
    for zone in [
        json!("zone-d"),
        json!("zone-"),
        json!("Zone-a"),
        json!(1),
        json!(null),
    ] {
        // A `kid` that nobody has would force a fetch of a zone that is known.
        for kid in ["k1", "unknown"] {
            let token = mandate(&Key::new(kid, 1), "zone-a", json!({"zone_id": zone}));
            let refusal = refused(401, "invalid_zone");
            for worker in [0, 1] {
                let stream = proxy.request(worker, Request::get("/").bearer(&token));
                assert_eq!(outcome(&proxy, stream), refusal, "{zone}, at once");
            }
        }
    }
    assert_eq!(world.fetches.borrow().len(), fetched);
    if on == APISIX {
        assert_eq!(proxy.callouts().len(), asked);
    }
    // A known zone with an unknown key is asked for, and no other zone is.
    let before = ZONES.map(|zone| world.fetches_of(zone));
    let token = mandate(&Key::new("unknown", 9), "zone-b", json!({}));
    assert_eq!(
        answer(&world, &mut proxy, 0, &token),
        refused(401, "invalid_token")
    );
    let after = ZONES.map(|zone| world.fetches_of(zone));
    assert_eq!((before[0], before[2]), (after[0], after[2]));
    assert!(after[1] > before[1]);
    proxy.assert_clean();
}

fn a_rotation_is_the_zone_s_own(on: On) {
    let world = World::new(on, &ZONES);
    let mut proxy = start(&world, json!({}));
    let before: Vec<String> = ZONES
        .iter()
        .map(|zone| world.mandate(zone, json!({})))
        .collect();
    for token in &before {
        assert_eq!(judged(&world, &mut proxy, token), admitted());
    }
    for (n, zone) in ZONES.into_iter().enumerate() {
        let next = Key::new(&format!("k2-{zone}"), 100 + u8::try_from(n).unwrap());
        world.keys.borrow_mut().insert(zone.to_owned(), vec![next]);
        // A token with the new key makes its zone fetch, once in 30 s.
        proxy.advance(Duration::from_secs(31));
        let token = world.mandate(zone, json!({}));
        assert_eq!(judged(&world, &mut proxy, &token), admitted(), "{zone}");
        for (m, token) in before.iter().enumerate() {
            let expected = match m <= n {
                true => refused(401, "invalid_token"),
                false => admitted(),
            };
            assert_eq!(judged(&world, &mut proxy, token), expected, "{zone}: {m}");
        }
    }
    proxy.assert_clean();
}

fn an_epoch_is_the_zone_s_own(on: On) {
    let world = World::new(on, &ZONES);
    let mut proxy = start(&world, json!({}));
    let of = |zone: &str, epoch: u64| {
        world.mandate(
            zone,
            json!({"delegation_edge_id": "e", "delegation_graph_epoch": epoch}),
        )
    };
    for zone in ZONES {
        assert_eq!(judged(&world, &mut proxy, &of(zone, 5)), admitted());
    }
    for (n, zone) in ZONES.into_iter().enumerate() {
        world.companion.borrow().raise(zone, 6);
        proxy.advance(Duration::from_secs(6));
        for (m, other) in ZONES.into_iter().enumerate() {
            let expected = match m <= n {
                true => refused(401, "delegation_stale"),
                false => admitted(),
            };
            assert_eq!(
                judged(&world, &mut proxy, &of(other, 5)),
                expected,
                "{zone}: {other}"
            );
            assert_eq!(
                judged(&world, &mut proxy, &of(other, 6)),
                admitted(),
                "{zone}: {other}"
            );
        }
    }
    proxy.assert_clean();
}

/// It cannot say which delegations of the others are stale.
fn a_companion_of_one_zone_lets_no_other_through(on: On) {
    let world = World::new(on, &ZONES);
    *world.companion.borrow_mut() = InProcess::of_zone("zone-a");
    for zone in ZONES {
        world.companion.borrow().raise(zone, 6);
    }
    let mut proxy = start(&world, json!({}));
    for zone in ZONES {
        for epoch in [5, 6] {
            let claims = json!({"delegation_edge_id": "e", "delegation_graph_epoch": epoch});
            let token = world.mandate(zone, claims);
            // Where a worker has a copy of all zones, it has none of this companion.
            let expected = match (zone, epoch) {
                ("zone-a", 5) if on == APISIX => refused(401, "delegation_stale"),
                ("zone-a", _) if on == APISIX => admitted(),
                _ => refused(503, "sts_unavailable"),
            };
            assert_eq!(
                judged(&world, &mut proxy, &token),
                expected,
                "{zone} {epoch}"
            );
        }
    }
    // One of all zones takes its place.
    *world.companion.borrow_mut() = InProcess::default();
    world.companion.borrow().raise("zone-b", 6);
    proxy.advance(Duration::from_secs(40));
    for (epoch, expected) in [(5, refused(401, "delegation_stale")), (6, admitted())] {
        let claims = json!({"delegation_edge_id": "e", "delegation_graph_epoch": epoch});
        let token = world.mandate("zone-b", claims);
        assert_eq!(judged(&world, &mut proxy, &token), expected, "{epoch}");
    }
    proxy.assert_clean();
}

fn a_revocation_counts_in_every_zone(on: On) {
    let world = World::new(on, &ZONES);
    let mut proxy = start(&world, json!({}));
    let sid = json!({"sid": "s-1"});
    for zone in ZONES {
        assert_eq!(
            judged(&world, &mut proxy, &world.mandate(zone, sid.clone())),
            admitted()
        );
    }
    world.companion.borrow().revoke("s-1");
    proxy.advance(Duration::from_secs(6));
    for zone in ZONES {
        let token = world.mandate(zone, sid.clone());
        assert_eq!(
            judged(&world, &mut proxy, &token),
            refused(401, "session_revoked")
        );
        let other = world.mandate(zone, json!({"sid": "s-2"}));
        assert_eq!(judged(&world, &mut proxy, &other), admitted());
    }
    proxy.assert_clean();
}

/// Each zone in turn cannot be fetched from the start on, and later for too long.
fn an_outage_is_the_zone_s_own(on: On) {
    for out in ZONES {
        let world = World::new(on, &ZONES);
        world.outage(out, true);
        let mut proxy = start(
            &world,
            json!({"jwks": {"upstream": "sts", "ttl_s": 60, "max_stale_s": 60}}),
        );
        let all = |proxy: &mut Proxy, expected: (u32, String), when: &str| {
            for zone in ZONES {
                let token = world.mandate(zone, json!({}));
                let expected = match zone == out {
                    true => expected.clone(),
                    false => admitted(),
                };
                assert_eq!(
                    judged(&world, proxy, &token),
                    expected,
                    "{zone}, {out} {when}"
                );
            }
        };
        all(&mut proxy, refused(503, "sts_unavailable"), "never came");
        world.outage(out, false);
        proxy.advance(Duration::from_secs(15));
        all(&mut proxy, admitted(), "has come");
        world.outage(out, true);
        // The others are fetched again meanwhile, on APISIX by their requests.
        for _ in 0..5 {
            proxy.advance(Duration::from_secs(10));
            all(&mut proxy, admitted(), "is used on");
        }
        for _ in 0..8 {
            proxy.advance(Duration::from_secs(10));
            for zone in ZONES.into_iter().filter(|zone| *zone != out) {
                let token = world.mandate(zone, json!({}));
                assert_eq!(judged(&world, &mut proxy, &token), admitted(), "{zone}");
            }
        }
        all(&mut proxy, refused(503, "sts_unavailable"), "is too old");
        assert!(
            proxy
                .logs()
                .iter()
                .any(|line| line.text.contains(&format!("zone {out}"))),
            "the log does not name the zone"
        );
        world.outage(out, false);
        proxy.advance(Duration::from_secs(15));
        all(&mut proxy, admitted(), "is back");
        proxy.assert_clean();
    }
}

fn a_zone_has_its_own_issuer_and_source(on: On) {
    let world = World::new(on, &ZONES);
    let zones = json!({
        "zone-a": {}, "zone-b": {"issuer": "https://b.example/sts"},
        "zone-c": {"jwks": {"upstream": on.sts(), "url": "https://c.internal"}},
    });
    // The issuer's path is the key set's too.
    let answering = world.clone();
    let mut proxy = on
        .builder(
            &on.adapt(several(&ZONES, json!({"zones": zones})))
                .to_string(),
        )
        .wall(Duration::from_secs(START))
        .workers(2)
        .on_callout(move |callout| {
            let mut callout = callout.clone();
            callout.path = callout.path.replacen("/sts/", "/", 1);
            answering.answer(&callout)
        })
        .start()
        .unwrap();
    proxy.advance(SOON);
    for (zone, issuer) in [
        ("zone-a", ISSUER),
        ("zone-b", "https://b.example/sts"),
        ("zone-c", ISSUER),
    ] {
        let token = world.mandate(zone, json!({"iss": issuer}));
        assert_eq!(judged(&world, &mut proxy, &token), admitted(), "{zone}");
        let other = if zone == "zone-b" {
            ISSUER
        } else {
            "https://b.example/sts"
        };
        let token = world.mandate(zone, json!({"iss": other}));
        assert_eq!(
            judged(&world, &mut proxy, &token),
            refused(401, "invalid_token"),
            "{zone}"
        );
    }
    let asked = proxy.callouts().iter().filter(|callout| on.is_sts(callout));
    let mut asked: Vec<(String, String)> = asked
        .map(|callout| {
            let authority = callout.headers.get(":authority").unwrap();
            (
                String::from_utf8_lossy(authority).into_owned(),
                callout.path.clone(),
            )
        })
        .collect();
    asked.sort();
    asked.dedup();
    let of = |authority: &str, path: &str| (authority.to_owned(), path.to_owned());
    let expected = [
        of("b.example", "/sts/.well-known/jwks.json?zone_id=zone-b"),
        of("c.internal", "/.well-known/jwks.json?zone_id=zone-c"),
        of("sts.example.test", "/.well-known/jwks.json?zone_id=zone-a"),
    ];
    assert_eq!(asked, expected);
    proxy.assert_clean();
}

fn a_resource_accepts_its_zones_only(on: On) {
    let world = World::new(on, &ZONES);
    let resources = json!({
        "resource://all": {}, "resource://some": {"zones": ["zone-b", "zone-c"]},
    });
    let mut proxy = start(&world, json!({"audience": null, "resources": resources}));
    let aud = json!({"aud": ["resource://all", "resource://some"]});
    for zone in ZONES {
        let token = world.mandate(zone, aud.clone());
        for (resource, is_accepted) in [
            ("resource://all", true),
            ("resource://some", zone != "zone-a"),
            ("resource://all", true),
        ] {
            let request = Request::get("/")
                .bearer(&token)
                .header("x-caracal-resource", resource);
            let expected = match is_accepted {
                true => admitted(),
                false => refused(401, "invalid_zone"),
            };
            for worker in [0, 1] {
                let last = *on.send(&mut proxy, worker, &request).last().unwrap();
                assert_eq!(outcome(&proxy, last), expected, "{zone} at {resource}");
            }
        }
    }
    proxy.assert_clean();
}
