//! An edge in Gateway mode, and a companion that answers as a test says.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::filter_wasm;
use caracal_tests::host::{Answer, Builder, Module, Outcome, Proxy, Request, Stream};
use caracal_tests::mint::{Key, configuration, key_set};
use serde_json::{Value, json};

pub(crate) const START: u64 = 1_767_225_600;
/// Longer than the first tick takes to come.
pub(crate) const FIRST_TICK: Duration = Duration::from_millis(30);
pub(crate) const BILLING: &str = "resource://billing-api";
pub(crate) const REPORTS: &str = "resource://reports-api";
pub(crate) const ISSUER: &str = "https://sts.example.test";
/// How long the companion takes.
pub(crate) const LATE: Duration = Duration::from_millis(50);

pub(crate) fn settings(changes: Value) -> Value {
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
                "upstream_url": "https://reports.example.test",
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
    pub(crate) proxy: Proxy,
    pub(crate) asked: Rc<RefCell<Vec<Value>>>,
}

impl Edge {
    pub(crate) fn start(
        builder: Builder,
        companion: impl FnMut(&Value) -> Answer + 'static,
    ) -> Self {
        let keys = key_set(&[&Key::new("k1", 1)]).to_string();
        let asked: Rc<RefCell<Vec<Value>>> = Rc::default();
        let noted = Rc::clone(&asked);
        let companion: Companion = Rc::new(RefCell::new(companion));
        let proxy = builder
            .on_callout(move |callout| {
                if callout.cluster != "companion" {
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
            .unwrap();
        Edge { proxy, asked }
    }

    /// One that has its keys, and whose companion grants everything as the directive says.
    pub(crate) fn granting(directive: Value) -> Self {
        let mut edge = Edge::start(builder(json!({})), move |_| granted(&directive));
        edge.proxy.advance(FIRST_TICK);
        edge
    }

    pub(crate) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.asked.borrow_mut())
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

pub(crate) fn builder(changes: Value) -> Builder {
    Proxy::envoy(Module::from_file(filter_wasm()).unwrap())
        .configuration(configuration(settings(changes)).to_string())
        .wall(Duration::from_secs(START))
        .workers(1)
        .clusters(["sts", "companion"])
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
