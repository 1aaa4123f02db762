//! An edge with an audit, and a companion that notes what it is sent.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::host::{Answer, Proxy, Request, Stream};
use caracal_tests::hosts::On;
use caracal_tests::mint::{Key, key_set};
use serde_json::{Value, json};

pub(crate) const START: u64 = 1_767_225_600;
/// Longer than a batch gathers.
pub(crate) const GATHERED: Duration = Duration::from_millis(300);

type Said = Rc<RefCell<dyn FnMut(&[u8]) -> Answer>>;

pub(crate) struct Edge {
    pub(crate) proxy: Proxy,
    /// The bodies of `POST /v1/audit`.
    pub(crate) batches: Rc<RefCell<Vec<Vec<u8>>>>,
    pub(crate) key: Key,
}

/// The companion has kept all events of a batch.
pub(crate) fn accepted(batch: &[u8]) -> Answer {
    let batch: Value = serde_json::from_slice(batch).unwrap();
    let events = batch["events"].as_array().unwrap().len();
    Answer::json(&json!({"accepted": events, "rejected": 0}))
}

impl Edge {
    pub(crate) fn start(on: On, changes: Value) -> Self {
        Edge::with(on, changes, accepted)
    }

    /// One whose companion answers batches so.
    pub(crate) fn with(
        on: On,
        changes: Value,
        answer: impl FnMut(&[u8]) -> Answer + 'static,
    ) -> Self {
        let mut all = json!({"audit": {"upstream": "feed", "token": "companion-token"}});
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        let said: Said = Rc::new(RefCell::new(answer));
        let batches: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let noted = Rc::clone(&batches);
        let mut proxy = on
            .builder(&on.configuration(all))
            .wall(Duration::from_secs(START))
            .on_callout(move |callout| {
                if on.is_sts(callout) {
                    return Answer::json(&key_set(&[&Key::new("k1", 1)]));
                }
                if callout.path != "/v1/audit" {
                    return Answer::Refused;
                }
                let authorization = callout.headers.text("authorization");
                assert_eq!(authorization, Some("Bearer companion-token"));
                noted.borrow_mut().push(callout.body.clone());
                (said.borrow_mut())(&callout.body)
            })
            .start()
            .unwrap();
        proxy.advance(Duration::from_secs(1));
        Edge {
            proxy,
            batches,
            key: Key::new("k1", 1),
        }
    }

    pub(crate) fn mandate(&self, claims: Value) -> String {
        self.key.mandate(START, claims)
    }

    pub(crate) fn send(&mut self, request: Request) -> Stream {
        let stream = self.proxy.request(0, request);
        self.proxy.advance(Duration::ZERO);
        stream
    }

    /// Sends a request that is answered by the upstream with 200.
    pub(crate) fn answered(&mut self, request: Request) -> Stream {
        let stream = self.send(request);
        self.proxy.advance(Duration::from_millis(12));
        self.proxy
            .respond(stream, 200, [("content-type", "text/plain")]);
        stream
    }

    /// The events that were sent, once they have gathered.
    pub(crate) fn events(&mut self) -> Vec<Value> {
        self.proxy.advance(GATHERED);
        let batches = std::mem::take(&mut *self.batches.borrow_mut());
        let events = |batch: &Vec<u8>| {
            let batch: Value = serde_json::from_slice(batch).unwrap();
            batch["events"].as_array().unwrap().clone()
        };
        batches.iter().flat_map(events).collect()
    }

    /// The only event.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Value {
        let events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.into_iter().next().unwrap()
    }
}
