//! The real companion, development STS and Redis behind the in-process APISIX.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_tests::host::{Answer, Callout, Headers, Outcome, Proxy, Reply, Request};
use caracal_tests::hosts::APISIX;
use caracal_tests::mint::{AUDIENCE, ZONE, configuration, now};
use caracal_tests::processes::{Companion, Redis, Sts, until};
use caracal_tests::servers;
use serde_json::{Value, json};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A resource of the STS with the usual scope and upstream.
pub(crate) fn resource(changes: Value) -> Value {
    let mut resource = json!({
        "scopes": ["billing:read"], "upstream_url": "https://billing.test/base",
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

/// Redis, STS, companion and the in-process APISIX.
pub(crate) struct Scene {
    pub(crate) redis: Redis,
    pub(crate) sts: Rc<Sts>,
    pub(crate) proxy: Proxy,
}

impl Scene {
    /// The resource, as the STS has it, and as the filter has its upstream.
    pub(crate) fn start(of_sts: Value, upstream_url: &str) -> Self {
        let redis = Redis::start(&[]);
        let sts = Rc::new(Sts::start(&[ZONE], &json!({ AUDIENCE: of_sts })));
        let companion = Companion::of(&redis.url()).gateway(&sts.url()).started();
        let settings = configuration(json!({
            "issuer": sts.url(), "audience": null, "mode": "gateway",
            "revocation": {"upstream": "companion"},
            "gateway": {"upstream": "companion"},
            "resources": {
                AUDIENCE: {"upstream_url": upstream_url, "required_scopes": ["billing:read"]},
                "resource://second": {"upstream_url": "https://billing.test/second"},
            },
        }));
        let asked = Rc::clone(&sts);
        let mut proxy = APISIX
            .builder(&APISIX.adapt(settings).to_string())
            .wall(Duration::from_secs(now()))
            .workers(1)
            .on_callout(move |callout| answer(callout, &asked, &companion))
            .start()
            .unwrap();
        proxy.advance(Duration::ZERO);
        let mut scene = Scene { redis, sts, proxy };
        // Its connection for marks is another one than those that make it ready.
        until("it notes used mandates", SOON, || {
            let probe = scene.sts.odd(&json!({}));
            !matches!(scene.send("/x", &probe, &[]), Outcome::Replied(reply) if reply.status == 503)
        });
        scene
    }

    pub(crate) fn send_as(
        &mut self,
        path: &str,
        mandate: &str,
        headers: &[(&str, &str)],
    ) -> Outcome {
        let mut request = Request::get(path);
        if !mandate.is_empty() {
            request = request.bearer(mandate);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        // The proxy's clock is the test's.
        let stream = self.proxy.request(0, request);
        self.proxy.advance(Duration::from_millis(20));
        self.proxy.outcome(stream)
    }

    pub(crate) fn send(&mut self, path: &str, mandate: &str, headers: &[(&str, &str)]) -> Outcome {
        let all = [&[("x-caracal-resource", AUDIENCE)], headers].concat();
        self.send_as(path, mandate, &all)
    }

    /// What the upstream got.
    #[track_caller]
    pub(crate) fn forwarded(&mut self, path: &str, headers: &[(&str, &str)]) -> Headers {
        let mandate = self.sts.mandate(AUDIENCE);
        match self.send(path, &mandate, headers) {
            Outcome::Forwarded(upstream) => upstream.headers,
            other => panic!("{other:?}"),
        }
    }

    /// The request that used a mandate, as Redis has it.
    pub(crate) fn used_by(&self, mandate: &str) -> Option<String> {
        let jti = claims(mandate)["jti"].as_str().unwrap().to_owned();
        self.redis.ask(&["GET", &format!("seen:jti:{jti}")])
    }
}

/// What STS and companion answer to a callout of the proxy.
fn answer(callout: &Callout, sts: &Sts, companion: &Companion) -> Answer {
    let answer = match callout.path.starts_with("/.well-known/") {
        true => servers::get(sts.address, &callout.path, None),
        false => {
            let body = serde_json::from_slice(&callout.body).unwrap();
            companion.post(&callout.path, &body, None)
        }
    };
    Answer::with(answer.status.into(), answer.body).after(Duration::from_millis(1))
}

#[track_caller]
pub(crate) fn replied(outcome: Outcome) -> (Reply, String) {
    let Outcome::Replied(reply) = outcome else {
        panic!("{outcome:?}");
    };
    let error = reply.json()["error"].as_str().unwrap().to_owned();
    (reply, error)
}
