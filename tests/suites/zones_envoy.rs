//! Three zones behind one listener of a real Envoy with two workers, each with an STS of
//! its own, with a real Redis and the companion: what happens to one of them happens to
//! no other.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_tests::edge::{Watch, all_answer, answers};
use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::mint::{AUDIENCE, configuration};
use caracal_tests::processes::{Companion, Redis, Sts, until};
use caracal_tests::servers::{Reply, Server};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];

struct Scene {
    redis: Redis,
    sts: Vec<Sts>,
    edge: SocketAddr,
    envoy: Envoy,
    _companion: Companion,
    _upstream: Server,
}

impl Scene {
    fn start() -> Self {
        let redis = Redis::default();
        let companion = Companion::of(&redis.url()).started();
        let upstream = Server::start(|_| Reply::new(200, "reached"));
        let sts: Vec<Sts> = ZONES
            .iter()
            .map(|zone| Sts::start(&[zone], &json!({})))
            .collect();
        let mut zones = json!({});
        for (zone, sts) in ZONES.iter().zip(&sts) {
            let jwks = json!({"upstream": zone, "timeout_ms": 500, "ttl_s": 10, "max_stale_s": 10});
            zones[zone] = json!({"issuer": sts.url(), "jwks": jwks});
        }
        let settings = configuration(json!({
            "zone_id": null, "zones": zones,
            "revocation": {"upstream": "feed", "max_staleness_s": 2, "poll_interval_ms": 200},
        }));
        let mut setup = Setup::new([settings])
            .cluster("sts", sts[0].address)
            .cluster("upstream", upstream.address())
            .cluster("feed", companion.address);
        for (zone, sts) in ZONES.iter().zip(&sts) {
            setup = setup.cluster(zone, sts.address);
        }
        let envoy = setup.start().unwrap_or_else(|log| panic!("{log}"));
        let scene = Scene {
            redis,
            sts,
            edge: envoy.listener(0),
            envoy,
            _companion: companion,
            _upstream: upstream,
        };
        scene.all_are_admitted();
        scene
    }

    fn mandate(&self, zone: usize, changes: &Value) -> String {
        self.signed_by(zone, zone, changes, &json!({}))
    }

    /// A mandate that names one zone, signed with the key of another.
    fn signed_by(&self, zone: usize, signer: usize, changes: &Value, header: &Value) -> String {
        let mut claims = json!({
            "iss": self.sts[zone].url(), "zone_id": ZONES[zone], "aud": AUDIENCE,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.sts[signer].mint(&claims, header)
    }

    #[track_caller]
    fn is_answered(&self, token: &str, status: u16, error: &str) {
        until(&format!("{status} {error}"), SOON, || {
            all_answer(self.edge, token, status, error)
        });
    }

    #[track_caller]
    fn all_are_admitted(&self) {
        for zone in 0..ZONES.len() {
            self.is_answered(&self.mandate(zone, &json!({})), 200, "");
        }
    }

    /// At once, by every worker.
    #[track_caller]
    fn others_serve(&self, but: usize) {
        for zone in (0..ZONES.len()).filter(|zone| *zone != but) {
            let token = self.mandate(zone, &json!({}));
            assert_eq!(
                answers(self.edge, &token),
                [(200, String::new())],
                "{}",
                ZONES[zone]
            );
        }
    }

    fn fetches(&self) -> Vec<u64> {
        let fetches = self
            .sts
            .iter()
            .map(|sts| sts.stats()["key_set_fetches"].as_u64().unwrap());
        fetches.collect()
    }
}

/// The `kid` of a token.
fn kid(token: &str) -> Value {
    let header = BASE64.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].clone()
}

#[test]
fn no_zone_judges_for_another_and_an_unknown_one_costs_no_fetch() {
    let mut scene = Scene::start();
    for zone in 0..ZONES.len() {
        let own_kid = kid(&scene.mandate(zone, &json!({})));
        for signer in (0..ZONES.len()).filter(|signer| *signer != zone) {
            // Under the kid that the zone has, and under the signer's, which it has not.
            let same = scene.signed_by(zone, signer, &json!({}), &json!({"kid": own_kid}));
            assert_eq!(kid(&same), own_kid);
            let other = scene.signed_by(zone, signer, &json!({}), &json!({}));
            for token in [same, other] {
                scene.is_answered(&token, 401, "invalid_token");
            }
        }
    }
    let before = scene.fetches();
    for n in 0..50 {
        let claims = json!({"zone_id": format!("zone-{n}"), "jti": format!("jti-{n}")});
        let header = json!({"kid": format!("kid-{n}")});
        let token = scene.signed_by(0, 0, &claims, &header);
        let refusal = [(401, "invalid_zone".to_owned())];
        assert_eq!(answers(scene.edge, &token), refusal);
    }
    // What is fetched meanwhile is due anyway: a key set lives 10 s here.
    let asked = scene.fetches().iter().sum::<u64>() - before.iter().sum::<u64>();
    assert!(asked < 10, "{asked}");
    scene.others_serve(usize::MAX);
    // envoy.yaml makes labels of the names.
    let metrics = scene.envoy.prometheus();
    for labels in [
        "jwks_fetches_total{zone=\"zone-b\",result=\"ok\"}",
        "jwks_age_seconds{zone=\"zone-b\"}",
        "decisions_total{outcome=\"refused\",code=\"invalid_zone\"}",
    ] {
        let found = metrics.iter().any(|line| same_labels(line, labels));
        assert!(found, "{labels} is not among {metrics:?}");
    }
    assert!(scene.envoy.is_running());
}

/// Whether a line is that metric, whatever the order of its labels.
fn same_labels(line: &str, metric: &str) -> bool {
    let parts = |text: &str| -> Option<(String, Vec<String>)> {
        let (name, labels) = text.split_once('{')?;
        let mut labels: Vec<String> = labels
            .split('}')
            .next()?
            .split(',')
            .map(str::to_owned)
            .collect();
        labels.sort();
        Some((name.to_owned(), labels))
    };
    match (parts(line), parts(metric)) {
        (Some((name, labels)), Some((wanted, expected))) => {
            name.ends_with(&wanted) && labels == expected
        }
        _ => false,
    }
}

#[test]
fn a_rotation_and_an_epoch_are_the_zone_s_own() {
    let scene = Scene::start();
    let epoch = |zone: usize, epoch: u64| {
        let claims = json!({"delegation_edge_id": "e", "delegation_graph_epoch": epoch});
        scene.mandate(zone, &claims)
    };
    for zone in 0..ZONES.len() {
        let before = kid(&scene.mandate(zone, &json!({})));
        scene.sts[zone].rotate();
        let token = scene.mandate(zone, &json!({}));
        assert_ne!(kid(&token), before);
        // A request with the new key waits for its zone's fetch, and no other zone does.
        scene.others_serve(zone);
        scene.is_answered(&token, 200, "");

        let stale = epoch(zone, 4);
        scene.is_answered(&stale, 200, "");
        let event = ["zone_id", ZONES[zone], "epoch", "5"];
        let mut words = vec!["XADD", "caracal.delegations.invalidate", "*"];
        words.extend(event);
        let _: String = scene.redis.ask(&words);
        scene.is_answered(&stale, 401, "delegation_stale");
        let watch = Watch::start(scene.edge, &stale);
        scene.is_answered(&epoch(zone, 5), 200, "");
        for later in zone + 1..ZONES.len() {
            scene.is_answered(&epoch(later, 4), 200, "");
        }
        watch.none_was_admitted();
    }
}

#[test]
fn an_outage_is_the_zone_s_own() {
    let scene = Scene::start();
    for out in 0..ZONES.len() {
        let token = scene.mandate(out, &json!({}));
        let missing = json!({"jti": "another"});
        let other = scene.mandate(out, &missing);
        scene.sts[out].pause();
        // Its key set is used until it is 20 s old, and then its requests are refused.
        // Meanwhile each of the others is asked again and serves.
        until("the zone is refused", Duration::from_secs(40), || {
            scene.others_serve(out);
            all_answer(scene.edge, &token, 503, "sts_unavailable")
        });
        scene.others_serve(out);
        assert_eq!(
            answers(scene.edge, &other),
            [(503, "sts_unavailable".to_owned())]
        );
        scene.sts[out].resume();
        scene.is_answered(&token, 200, "");
    }
    for zone in ZONES {
        assert!(
            scene.envoy.logged(&format!("key set of zone {zone}")) > 0,
            "{zone}"
        );
        let failed = format!("caracal_jwks_fetches_total.zone={zone}.result=error");
        assert!(scene.envoy.metric(&failed) > 0, "{zone}");
    }
}
