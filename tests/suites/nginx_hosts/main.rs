//! The filter as it is made for Kong and APISIX, in the profiles of both: who may call
//! out and when, and that the upstream hears of nobody who was not verified.

mod apisix;
mod apisix_fetches;
mod attacks;
mod identity;
mod kong;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::host::{Answer, Builder, Outcome, Proxy, Request, Wrong, status};
use caracal_tests::hosts::{self, On};
use caracal_tests::mint::{Key, key_set};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
const MS: Duration = Duration::from_millis(1);
/// Longer than the first tick and its fetches take.
const SOON: Duration = Duration::from_millis(300);

fn key() -> Key {
    Key::new("k1", 1)
}

fn mandate(claims: Value) -> String {
    let mut long = json!({"exp": START + 1_000_000});
    for (name, value) in claims.as_object().unwrap() {
        long[name] = value.clone();
    }
    key().mandate(START, long)
}

fn good() -> Request {
    Request::get("/").bearer(mandate(json!({})))
}

/// What the STS says; a test changes it.
type Sts = Rc<RefCell<Answer>>;

fn keys() -> Sts {
    let answer = Answer::json(&key_set(&[&key()])).after(5 * MS);
    Rc::new(RefCell::new(answer))
}

fn builder(on: On, sts: &Sts, changes: Value) -> Builder {
    let (sts, companion) = (Rc::clone(sts), InProcess::default());
    companion.revoke("revoked");
    on.builder(&on.configuration(changes))
        .wall(Duration::from_secs(START))
        .on_callout(move |callout| match on.is_sts(callout) {
            true => sts.borrow().clone(),
            false => companion.answer(callout),
        })
}

fn start(on: On, changes: Value) -> Proxy {
    let mut proxy = builder(on, &keys(), changes).start().unwrap();
    proxy.advance(SOON);
    proxy
}

/// Status and error of a reply; 200 when the upstream has it.
fn said(outcome: Outcome) -> (u32, String) {
    match outcome {
        Outcome::Forwarded(_) => (200, String::new()),
        Outcome::Replied(reply) => {
            let error = reply.json()["error"].as_str().unwrap().to_owned();
            (reply.status, error)
        }
        other => panic!("{other:?}"),
    }
}

fn refused(status: u32, error: &str) -> (u32, String) {
    (status, error.to_owned())
}

/// The profiles would have noticed: a filter whose replies are lost lets requests go on,
/// kills the worker or holds them for good, and each is written down.
#[test]
fn a_filter_that_loses_its_replies_is_noticed() {
    for on in hosts::ALL.into_iter().filter(|on| *on != hosts::ENVOY) {
        let mut proxy = start(on, json!({}));
        proxy.on_host_call(|call| (call.name == "proxy_send_local_response").then_some(status::OK));
        let stranger = Key::new("k1", 9).mandate(START, json!({}));
        let stream = proxy.request(0, Request::get("/").bearer(stranger));
        proxy.advance(SOON);
        let noted = proxy.violations().iter().find(|v| v.stream == Some(stream));
        let expected = match on {
            hosts::KONG => Wrong::PauseForever,
            _ => Wrong::ForwardedUndecided,
        };
        assert_eq!(noted.unwrap().wrong, expected);
        let bare = proxy.request(0, Request::get("/"));
        assert!(proxy.upstream(bare).is_none());
        assert!(proxy.violations().iter().any(|v| v.stream == Some(bare)));
    }
}
