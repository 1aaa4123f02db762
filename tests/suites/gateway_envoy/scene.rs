//! Redis, STS, companion, upstream and Envoy, as Gateway mode has them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::mint::{AUDIENCE, ZONE, configuration};
use caracal_tests::processes::{Companion, Redis, Sts, folder, until};
use caracal_tests::servers::{Client, Incoming, Reply, Response, Server, request};
use serde_json::{Value, json};

/// The key of audit events.
pub(crate) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// The companion's token.
const TOKEN: &str = "feed-token";
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A resource of the STS with the usual scope and upstream.
pub(crate) fn resource(changes: Value) -> Value {
    let mut resource = json!({
        "scopes": ["billing:read"], "upstream_url": "https://billing.test",
        "provider": {"kind": "none"},
    });
    for (name, value) in changes.as_object().unwrap() {
        resource[name] = value.clone();
    }
    resource
}

/// The claims of a token.
pub(crate) fn claims(token: &str) -> Value {
    let payload = BASE64.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

pub(crate) struct Scene {
    pub(crate) redis: Mutex<Redis>,
    pub(crate) sts: Sts,
    pub(crate) companion: Companion,
    pub(crate) envoy: Envoy,
    seen: Arc<Mutex<Vec<Incoming>>>,
    strays: Arc<Mutex<Vec<Incoming>>>,
    _servers: [Server; 2],
}

impl Scene {
    /// The filter has the same upstream as the STS.
    pub(crate) fn start(resources: Value) -> Self {
        let url = resources[AUDIENCE]["upstream_url"]
            .as_str()
            .unwrap()
            .to_owned();
        Scene::configured(resources, &url)
    }

    pub(crate) fn configured(resources: Value, upstream_url: &str) -> Self {
        Scene::with(&[ZONE], resources, upstream_url, json!({}))
    }

    /// An STS of some zones, of which the edge accepts some.
    pub(crate) fn of_zones(sts: &[&str], resources: Value, accepted: &[&str]) -> Self {
        let zones = accepted.iter().map(|zone| ((*zone).to_owned(), json!({})));
        let zones: serde_json::Map<_, _> = zones.collect();
        let changes = json!({"zone_id": null, "zones": zones});
        Scene::with(sts, resources, "https://billing.test", changes)
    }

    fn with(zones: &[&str], resources: Value, upstream_url: &str, changes: Value) -> Self {
        let redis = Redis::start(&[]);
        let sts = Sts::start(zones, &resources);
        let companion = Companion::of(&redis.url())
            .gateway(&sts.url())
            .with(&["--audit-dir", folder("audit").to_str().unwrap()])
            .environment("AUDIT_HMAC_KEY", KEY)
            .token(TOKEN)
            .started();
        let seen: Arc<Mutex<Vec<Incoming>>> = Arc::default();
        let strays: Arc<Mutex<Vec<Incoming>>> = Arc::default();
        let noting = |list: &Arc<Mutex<Vec<Incoming>>>| {
            let list = Arc::clone(list);
            Server::start(move |request| {
                list.lock().unwrap().push(request.clone());
                Reply::new(200, "reached")
                    .header("x-powered-by", "PHP")
                    .header("x-caracal-identity", "a.b.c")
                    .header("location", "https://billing.test/x")
                    .header("refresh", "1")
            })
        };
        let (billing, other) = (noting(&seen), noting(&strays));
        let mut settings = json!({
            "issuer": sts.url(), "audience": null, "mode": "gateway",
            "revocation": {"upstream": "companion", "poll_interval_ms": 200, "token": TOKEN},
            "gateway": {"upstream": "companion", "token": TOKEN},
            "audit": {"upstream": "companion", "token": TOKEN},
            "resources": {
                AUDIENCE: {"upstream_url": upstream_url, "required_scopes": ["billing:read"]},
                "resource://second": {"upstream_url": "https://second.test"},
            },
        });
        for (name, value) in changes.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let settings = configuration(settings);
        // The filter names the upstream's host, and the route goes by it.
        let mut setup = Setup::new([settings]);
        setup.use_remote_address = true;
        let envoy = setup
            .cluster("sts", sts.address)
            .cluster("companion", companion.address)
            .cluster("billing", billing.address())
            .cluster("other", other.address())
            .virtual_hosts(json!([
                {"name": "billing", "domains": ["billing.test"], "routes": [
                    {"match": {"prefix": "/"}, "route": {"cluster": "billing"}}]},
                {"name": "clients", "domains": ["*"], "routes": [
                    {"match": {"prefix": "/"}, "route": {"cluster": "other"}}]},
            ]))
            .start()
            .unwrap_or_else(|log| panic!("{log}"));
        let scene = Scene {
            redis: Mutex::new(redis),
            sts,
            companion,
            envoy,
            seen,
            strays,
            _servers: [billing, other],
        };
        // Warm on both workers: a mandate that is for nothing here is refused for that.
        let nothing = scene.sts.odd(&json!({"target": []}));
        until("the edge is warm", SOON, || {
            (0..8).all(|_| scene.send("/", &nothing, &[]).status == 403)
        });
        scene
    }

    pub(crate) fn send(&self, path: &str, mandate: &str, more: &[(&str, &str)]) -> Response {
        let mut headers = vec![("x-caracal-resource", AUDIENCE)];
        headers.extend(more);
        self.send_as(path, mandate, &headers)
    }

    pub(crate) fn send_as(&self, path: &str, mandate: &str, headers: &[(&str, &str)]) -> Response {
        let bearer = format!("Bearer {mandate}");
        let mut headers = headers.to_vec();
        if !mandate.is_empty() {
            headers.push(("authorization", &bearer));
        }
        let mut client = Client::connect(self.envoy.listener(0));
        client.exchange(&request("GET", path, &headers)).unwrap()
    }

    /// What reached the upstream since this was last asked; nothing ever reaches another.
    pub(crate) fn reached(&self) -> Vec<Incoming> {
        assert!(self.strays.lock().unwrap().is_empty());
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// The request that used a mandate, as Redis has it.
    pub(crate) fn used_by(&self, mandate: &str) -> Option<String> {
        let jti = claims(mandate)["jti"].as_str().unwrap().to_owned();
        self.redis
            .lock()
            .unwrap()
            .ask(&["GET", &format!("seen:jti:{jti}")])
    }

    pub(crate) fn revoke(&self, session: &str) {
        let _: String = self.redis.lock().unwrap().ask(&[
            "XADD",
            "caracal.sessions.revoke",
            "*",
            "session_id",
            session,
        ]);
    }

    /// Waits until every worker refuses such mandates so, and returns the last of them.
    /// The first ones may be ahead of a revocation, and are used then.
    #[track_caller]
    pub(crate) fn until_refused(
        &self,
        another: impl Fn() -> String,
        status: u16,
        error: &str,
    ) -> String {
        let mut last = String::new();
        until("they are refused", SOON, || {
            (0..8).all(|_| {
                last = another();
                let answer = self.send("/", &last, &[]);
                (answer.status, answer.error().as_str()) == (status, error)
            })
        });
        last
    }

    /// No log has any of these.
    #[track_caller]
    pub(crate) fn tells_no_secret(&self, secrets: &[&str]) {
        for log in [
            self.envoy.log(),
            format!("{:?}", self.envoy.access_log()),
            self.sts.log(),
            self.companion.log(),
        ] {
            for secret in secrets {
                assert!(!log.contains(secret), "a log has a secret");
            }
        }
    }
}
