//! An edge in Gateway mode, and a companion that answers as a test says.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::host::{Answer, Builder, Headers, Outcome, Proxy, Request, Stream};
use caracal_tests::hosts::{APISIX, ENVOY, On};
use caracal_tests::mint::{Key, key_set};
use serde_json::{Value, json};

pub(crate) const START: u64 = 1_767_225_600;
/// Longer than the first tick takes to come.
pub(crate) const FIRST_TICK: Duration = Duration::from_millis(30);
pub(crate) const BILLING: &str = "resource://billing-api";
pub(crate) const REPORTS: &str = "resource://reports-api";
pub(crate) const ISSUER: &str = "https://sts.example.test";
/// The proxies that have Gateway mode.
pub(crate) const BOTH: [On; 2] = [ENVOY, APISIX];
/// How long the companion takes.
pub(crate) const LATE: Duration = Duration::from_millis(50);

pub(crate) fn settings(on: On, changes: Value) -> Value {
    // On APISIX all resources have one server.
    let reports = match on == APISIX {
        true => "https://billing.example.test/reports",
        false => "https://reports.example.test",
    };
    let mut all = json!({
        "audience": null,
        "mode": "gateway",
        "gateway": {"upstream": "companion", "token": "companion-token"},
        "exclude": null,
        "resources": {
            BILLING: {
                "upstream_url": "https://billing.example.test/v1",
                "required_scopes": ["billing:read"],
                "exclude": ["/open"],
            },
            REPORTS: {
                "upstream_url": reports,
                "exclude": ["/open"],
            },
        },
    });
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

/// What the companion is asked, and what it answers.
pub(crate) type Companion = Rc<RefCell<dyn FnMut(&Value) -> Answer>>;

/// An edge whose companion answers so, and the questions that it was asked.
pub(crate) struct Edge {
    pub(crate) on: On,
    pub(crate) proxy: Proxy,
    pub(crate) asked: Rc<RefCell<Vec<Value>>>,
}

impl Edge {
    pub(crate) fn start(
        on: On,
        builder: Builder,
        companion: impl FnMut(&Value) -> Answer + 'static,
    ) -> Self {
        Edge::try_start(on, builder, companion).unwrap()
    }

    /// The same; `None` if the proxy does not start.
    pub(crate) fn try_start(
        on: On,
        builder: Builder,
        companion: impl FnMut(&Value) -> Answer + 'static,
    ) -> Option<Self> {
        let keys = key_set(&[&Key::new("k1", 1)]).to_string();
        let asked: Rc<RefCell<Vec<Value>>> = Rc::default();
        let noted = Rc::clone(&asked);
        let companion: Companion = Rc::new(RefCell::new(companion));
        let proxy = builder
            .on_callout(move |callout| {
                if on.is_sts(callout) {
                    return Answer::with(200, keys.clone());
                }
                assert_eq!(callout.headers.text(":path"), Some("/v1/exchange"));
                assert_eq!(
                    callout.headers.text("authorization"),
                    Some("Bearer companion-token")
                );
                let question: Value = serde_json::from_slice(&callout.body).unwrap();
                let answer = (companion.borrow_mut())(&question);
                noted.borrow_mut().push(question);
                answer
            })
            .start()
            .ok()?;
        Some(Edge { on, proxy, asked })
    }

    /// One that has its keys, and whose companion grants everything as the directive says.
    pub(crate) fn granting(on: On, directive: Value) -> Self {
        let companion = move |_: &Value| granted(&directive);
        Edge::ready(on, json!({}), companion)
    }

    /// One that has its keys, unless it is APISIX, where a request fetches them.
    pub(crate) fn ready(
        on: On,
        changes: Value,
        companion: impl FnMut(&Value) -> Answer + 'static,
    ) -> Self {
        let mut edge = Edge::start(on, builder(on, changes), companion);
        edge.proxy.advance(FIRST_TICK);
        edge
    }

    pub(crate) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.asked.borrow_mut())
    }

    /// What the upstream got of a request that was let go on.
    #[track_caller]
    pub(crate) fn upstream(&self, stream: Stream) -> Headers {
        let found = self
            .proxy
            .upstream(stream)
            .map(|upstream| &upstream.headers);
        let Some(headers) = found else {
            panic!("{}: {:?}", self.on.name(), self.proxy.outcome(stream));
        };
        headers.clone()
    }

    /// Sends a request, waits for its exchange, and says what became of it.
    pub(crate) fn send(&mut self, request: Request) -> Stream {
        let stream = self.proxy.request(0, request);
        self.proxy.advance(LATE * 2);
        stream
    }

    /// Status and error of a refused request.
    #[track_caller]
    pub(crate) fn refused(&mut self, request: Request) -> (u32, String) {
        let stream = self.send(request);
        match self.proxy.outcome(stream) {
            Outcome::Replied(reply) => {
                let body = reply.json();
                assert!(body["requestId"].is_string(), "{body}");
                assert!(body["error_hint"].is_string(), "{body}");
                (reply.status, body["error"].as_str().unwrap().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn builder(on: On, changes: Value) -> Builder {
    on.builder(&on.configuration(settings(on, changes)))
        .wall(Duration::from_secs(START))
        .workers(1)
}

/// What the upstream gets has its credential, and is for its host and path.
#[track_caller]
pub(crate) fn is_exchanged(on: On, headers: &Headers, what: &str) {
    let credential = headers.all("authorization");
    assert_eq!(credential, [b"Bearer provider-secret"], "{what}");
    let host = headers.text(host_header(on));
    assert_eq!(host, Some("billing.example.test"), "{what}");
    assert_eq!(headers.text(":path"), Some("/v1/x"), "{what}");
    assert_eq!(headers.text(":method"), Some("GET"), "{what}");
    assert_eq!(headers.text("x-caracal-resource"), None, "{what}");
}

/// The header that has the upstream's host.
pub(crate) fn host_header(on: On) -> &'static str {
    if on == APISIX { "host" } else { ":authority" }
}

pub(crate) fn granted(directive: &Value) -> Answer {
    let answer = json!({"revoked": [], "epoch": null, "confirmed_age_ms": 5, "granted": directive});
    Answer::with(200, answer.to_string()).after(LATE)
}

pub(crate) fn refusing(refused: &Value) -> Answer {
    let answer = json!({"revoked": [], "epoch": null, "confirmed_age_ms": 5, "refused": refused});
    Answer::with(200, answer.to_string()).after(LATE)
}

pub(crate) fn bearer_token() -> Value {
    json!({
        "url": "https://billing.example.test/v1", "auth_mode": "provider_oauth",
        "allowed_token_hosts": ["billing.example.test"], "credential": "provider-secret",
    })
}

/// A gateway mandate for a resource.
pub(crate) fn mandate(resource: &str, changes: Value) -> String {
    let mut claims = json!({
        "use": "gateway", "aud": [ISSUER], "iss": ISSUER,
        "target": [resource], "scope": "billing:read",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    Key::new("k1", 1).mandate(START, claims)
}

pub(crate) fn get(path: &str) -> Request {
    let token = mandate(BILLING, json!({}));
    Request::get(path)
        .header("x-caracal-resource", BILLING)
        .bearer(token)
}

/// A request for a resource, without a mandate.
pub(crate) fn resource(name: &str) -> Request {
    Request::get("/x").header("x-caracal-resource", name)
}
