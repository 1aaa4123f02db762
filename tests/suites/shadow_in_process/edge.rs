//! An edge in shadow, and what its upstream gets.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::host::{Answer, Callout, Outcome, Proxy, Request, Stream};
use caracal_tests::hosts::{ENVOY, KONG, On};
use caracal_tests::mint::{Key, key_set};
use serde_json::{Value, json};

pub(crate) const START: u64 = 1_767_225_600;
/// Longer than the first tick and its fetches take.
pub(crate) const SOON: Duration = Duration::from_millis(300);

pub(crate) struct Edge {
    pub(crate) on: On,
    pub(crate) proxy: Proxy,
    /// Bodies of `POST /v1/audit`.
    batches: Rc<RefCell<Vec<Value>>>,
}

pub(crate) fn mandate(claims: Value) -> String {
    Key::new("k1", 1).mandate(START, claims)
}

/// A request with all that a client must not set.
pub(crate) fn forging(request: Request) -> Request {
    request
        .header("x-caracal-sub", "forged")
        .header("X-Caracal-Scope", "forged")
        .header("baggage", "caracal.sub=forged,own=1")
}

impl Edge {
    pub(crate) fn start(on: On, changes: Value) -> Self {
        let mut edge = Edge::cold(on, changes, |_| None);
        edge.proxy.advance(SOON);
        edge
    }

    /// One that has fetched nothing yet, and whose callouts may be answered otherwise.
    pub(crate) fn cold(
        on: On,
        changes: Value,
        other: impl Fn(&Callout) -> Option<Answer> + 'static,
    ) -> Self {
        let companion = InProcess::default();
        companion.revoke("revoked");
        let mut all = json!({
            "enforcement": "shadow",
            "revocation": {"upstream": "feed"},
            "exclude": ["/open"],
        });
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        let batches: Rc<RefCell<Vec<Value>>> = Rc::default();
        let noted = Rc::clone(&batches);
        let builder = on
            .builder(&on.configuration(all))
            .wall(Duration::from_secs(START))
            .on_callout(move |callout| {
                if let Some(answer) = other(callout) {
                    return answer;
                }
                if on.is_sts(callout) {
                    return Answer::json(&key_set(&[&Key::new("k1", 1)]));
                }
                if callout.path != "/v1/audit" {
                    return companion.answer(callout);
                }
                let batch: Value = serde_json::from_slice(&callout.body).unwrap();
                let events = batch["events"].as_array().unwrap().len();
                noted.borrow_mut().push(batch);
                Answer::json(&json!({"accepted": events, "rejected": 0}))
            });
        let builder = match on {
            ENVOY => builder.shows_body(),
            _ => builder,
        };
        Edge {
            on,
            proxy: builder.start().unwrap(),
            batches,
        }
    }

    /// Sends a request once.
    pub(crate) fn send(&mut self, request: Request) -> Stream {
        let stream = self.proxy.request(0, request);
        self.on.settle(&mut self.proxy, stream);
        stream
    }

    /// Every value of a header that the upstream got, without one that nginx overwrote with
    /// nothing.
    #[track_caller]
    pub(crate) fn got(&self, stream: Stream, name: &str) -> Vec<String> {
        let forwarded = self.proxy.upstream(stream);
        let forwarded = forwarded.unwrap_or_else(|| panic!("{:?}", self.proxy.outcome(stream)));
        let values = forwarded.headers.all(name).into_iter();
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        values.map(text).filter(|value| !value.is_empty()).collect()
    }

    /// A request went on although it is refused, with nothing that its client made up.
    #[track_caller]
    pub(crate) fn went_on(&self, stream: Stream, code: &str, reason: &str) {
        self.went_on_to(stream, code, reason, &[]);
    }

    /// The same, and the upstream is told these resources.
    #[track_caller]
    pub(crate) fn went_on_to(&self, stream: Stream, code: &str, reason: &str, to: &[&str]) {
        for name in ["x-caracal-sub", "x-caracal-scope"] {
            assert_eq!(self.got(stream, name), Vec::<String>::new(), "{name}");
        }
        assert_eq!(self.got(stream, "x-caracal-resource"), to);
        for line in self.got(stream, "baggage") {
            assert!(!line.contains("caracal"), "{line}");
        }
        if self.on == ENVOY {
            let of = |name: &str| self.proxy.filter_state_text(stream, name);
            assert_eq!(of("caracal_decision"), Some("shadow_refused"));
            assert_eq!(of("caracal_error"), Some(code));
            assert_eq!(of("caracal_reason"), Some(reason));
        }
    }

    /// How many requests were refused in shadow with this code, and for this reason.
    pub(crate) fn counted(&mut self, code: &str, reason: &str) -> [u64; 2] {
        self.proxy.advance(Duration::from_millis(20));
        [
            format!("caracal_decisions_total.outcome=shadow_refused.code={code}"),
            format!("caracal_shadow_refusals_total.reason={reason}"),
        ]
        .map(|name| self.proxy.metric_value(&name))
    }

    /// Metrics that say that a request was refused.
    #[track_caller]
    pub(crate) fn refused_none(&mut self) {
        self.proxy.advance(Duration::from_millis(20));
        for name in self.proxy.metrics().keys() {
            let is_refusal = name.contains("outcome=refused") || name.contains("_refusals_total");
            if is_refusal && !name.contains("shadow") {
                assert_eq!(self.proxy.metric_value(name), 0, "{name}");
            }
        }
    }

    /// The events that were sent, once they have gathered.
    pub(crate) fn events(&mut self) -> Vec<Value> {
        self.proxy.advance(Duration::from_secs(1));
        let batches = std::mem::take(&mut *self.batches.borrow_mut());
        let events = |batch: &Value| batch["events"].as_array().unwrap().clone();
        batches.iter().flat_map(events).collect()
    }

    pub(crate) fn replied(&self, stream: Stream) -> (u32, String) {
        match self.proxy.outcome(stream) {
            Outcome::Replied(reply) => {
                let error = reply.json()["error"].as_str().unwrap().to_owned();
                assert!(self.proxy.upstream(stream).is_none());
                (reply.status, error)
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The hosts that count.
pub(crate) const COUNTING: [On; 2] = [ENVOY, KONG];
