//! Hosts that misbehave in other ways than by a status (`faults.rs`): VMs that die
//! at any host call, answers that are late, doubled, cut or of other sizes than
//! they say, shared data that is torn, old, or somebody else's, another plugin that writes there at any
//! moment, clocks that jump.
//! The filter neither traps nor admits what it cannot prove, and is well again.

mod other_plugin;
#[path = "../chaos/random.rs"]
mod random;
mod shared_data;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::filter_wasm;
use caracal_tests::host::{
    Answer, Builder, Callout, FailurePolicy, HostCall, Module, Outcome, Proxy, Request, Vm, status,
};
use caracal_tests::mint::{Key, configuration, key_set};
use serde_json::json;

const START: u64 = 1_767_225_600;
const MS: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_millis(300);
/// In which everything is well again: leases run out, failed fetches are tried once more.
const WELL: Duration = Duration::from_secs(20);
const WORKERS: usize = 2;

type Edit = Rc<RefCell<Option<Box<dyn Fn(&Callout, Answer) -> Answer>>>>;

/// An edge whose companion knows one revoked session, and whose answers may be edited.
fn edge(edit: &Edit) -> Builder {
    let companion = Rc::new(InProcess::default());
    companion.revoke("revoked");
    let edit = Rc::clone(edit);
    let changes = json!({
        "revocation": {"upstream": "feed", "poll_interval_ms": 100, "max_staleness_s": 5},
        "jwks": {"upstream": "sts", "ttl_s": 10, "max_stale_s": 5},
    });
    Proxy::envoy(Module::from_file(filter_wasm()).unwrap())
        .configuration(configuration(changes).to_string())
        .wall(Duration::from_secs(START))
        .workers(WORKERS)
        .failure_policy(FailurePolicy::Reload)
        .on_callout(move |callout| {
            let answer = match callout.cluster.as_str() {
                "sts" => Answer::json(&key_set(&[&Key::new("k1", 1)])).after(5 * MS),
                _ => companion.answer(callout),
            };
            match &*edit.borrow() {
                Some(edit) => edit(callout, answer),
                None => answer,
            }
        })
}

fn started() -> (Proxy, Edit) {
    let edit = Edit::default();
    let mut proxy = edge(&edit).start().unwrap();
    proxy.advance(SOON);
    assert_eq!(ask(&mut proxy, 0), (200, 401));
    (proxy, edit)
}

/// Good for two years: here clocks jump.
fn mandate(key: &Key, sid: &str) -> String {
    key.mandate(START, json!({"sid": sid, "exp": START + 63_072_000}))
}

/// Sends what must never be admitted, and something good, to every worker.
/// Forwarded requests are looked at by [`check`].
#[derive(Default)]
struct Sent {
    bad: Vec<caracal_tests::host::Stream>,
}

impl Sent {
    fn send(&mut self, proxy: &mut Proxy) {
        let (key, stranger) = (Key::new("k1", 1), Key::new("k1", 9));
        for worker in 0..WORKERS {
            for token in [mandate(&key, "revoked"), mandate(&stranger, "free")] {
                self.bad
                    .push(proxy.request(worker, Request::get("/").bearer(token)));
            }
            self.bad.push(proxy.request(worker, Request::get("/")));
            proxy.request(worker, Request::get("/").bearer(mandate(&key, "free")));
        }
    }

    fn check(&self, proxy: &Proxy, what: &str) {
        for stream in &self.bad {
            assert!(proxy.upstream(*stream).is_none(), "{what}: admitted");
        }
    }
}

/// What a good and a revoked mandate are answered at last.
fn ask(proxy: &mut Proxy, worker: usize) -> (u32, u32) {
    let key = Key::new("k1", 1);
    let mut one = |sid: &str| {
        let stream = proxy.request(worker, Request::get("/").bearer(mandate(&key, sid)));
        // Longer than a request may wait.
        for _ in 0..120 {
            proxy.advance(50 * MS);
            if !proxy.outcome(stream).is_paused() {
                break;
            }
        }
        match proxy.outcome(stream) {
            Outcome::Forwarded(_) => 200,
            Outcome::Replied(reply) | Outcome::Trapped(reply) => reply.status,
            other => panic!("{other:?}"),
        }
    };
    (one("free"), one("revoked"))
}

#[track_caller]
fn is_well(proxy: &mut Proxy, what: &str) {
    for worker in 0..WORKERS {
        assert_eq!(ask(proxy, worker), (200, 401), "{what}: worker {worker}");
    }
}

fn no_vm_is_dead(proxy: &Proxy, what: &str) {
    for vm in [Vm::Main, Vm::Worker(0), Vm::Worker(1)] {
        assert_eq!(proxy.failed(vm), None, "{what}");
    }
}

/// A VM that dies at any host call, and so between any two callbacks too: at each
/// distinct one of a life, the first and a later time.
#[test]
fn a_vm_that_dies_anywhere() {
    let life = |proxy: &mut Proxy, sent: &mut Sent| {
        for _ in 0..2 {
            sent.send(proxy);
            proxy.advance(SOON);
        }
    };
    let seen: Rc<RefCell<BTreeMap<(Vm, &str, &str), BTreeSet<u64>>>> = Rc::default();
    let note = Rc::clone(&seen);
    let started = edge(&Edit::default()).on_host_call(move |call: &HostCall| {
        let mut seen = note.borrow_mut();
        seen.entry((call.vm, call.callback, call.name))
            .or_default()
            .insert(call.nth);
        None
    });
    life(&mut started.start().unwrap(), &mut Sent::default());
    let mut runs = 0;
    for ((vm, callback, name), times) in seen.borrow().iter() {
        let middle = times.iter().nth(times.len() / 2).unwrap();
        let chosen: BTreeSet<u64> = [*times.first().unwrap(), *middle].into();
        for nth in chosen {
            let what = format!("{vm:?} dies in {callback} at {name} {nth}");
            let wanted = (*vm, *callback, *name, nth);
            let started = edge(&Edit::default())
                .on_host_call(move |call| {
                    let this = (call.vm, call.callback, call.name, call.nth);
                    (this == wanted).then_some(status::TRAP)
                })
                .start();
            // A host that cannot even start it serves nothing.
            let Ok(mut proxy) = started else { continue };
            runs += 1;
            let mut sent = Sent::default();
            life(&mut proxy, &mut sent);
            sent.check(&proxy, &what);
            proxy.no_faults();
            // The next request makes a dead worker anew.
            proxy.advance(WELL);
            sent.send(&mut proxy);
            proxy.advance(WELL);
            sent.check(&proxy, &what);
            is_well(&mut proxy, &what);
        }
    }
    println!("{runs} runs with one death each");
    assert!(runs > 50, "{runs}");
}

/// Restarts between any two moments of the first second, and twice in a row.
#[test]
fn a_worker_is_made_anew_at_any_moment() {
    for at in 0..60 {
        let mut proxy = edge(&Edit::default()).start().unwrap();
        let mut sent = Sent::default();
        sent.send(&mut proxy);
        proxy.advance(at * 5 * MS);
        for _ in 0..=at % 2 {
            proxy.restart_worker(0).unwrap();
        }
        sent.send(&mut proxy);
        proxy.advance(WELL);
        sent.check(&proxy, "restarted");
        is_well(&mut proxy, "restarted");
        proxy.assert_clean();
    }
}

/// Key sets and pages that are cut anywhere.
#[test]
fn answers_that_are_cut() {
    let cuts = |cluster: &'static str, step: usize| {
        let longest = Rc::new(RefCell::new(0));
        let mut at = 0;
        while at <= *longest.borrow() {
            let (edit, known) = (Edit::default(), Rc::clone(&longest));
            *edit.borrow_mut() = Some(Box::new(move |callout, mut answer| {
                if let Answer::Respond { body, .. } = &mut answer
                    && callout.cluster == cluster
                {
                    let mut known = known.borrow_mut();
                    *known = body.len().saturating_sub(1).max(*known);
                    body.truncate(at);
                }
                answer
            }));
            let mut proxy = edge(&edit).start().unwrap();
            let mut sent = Sent::default();
            sent.send(&mut proxy);
            proxy.advance(SOON);
            sent.send(&mut proxy);
            proxy.advance(SOON);
            let what = format!("{cluster} cut at {at}");
            sent.check(&proxy, &what);
            no_vm_is_dead(&proxy, &what);
            if at % (step * 8) == 0 {
                *edit.borrow_mut() = None;
                proxy.advance(WELL);
                is_well(&mut proxy, &what);
            }
            at += step;
        }
        assert!(*longest.borrow() > 50);
    };
    cuts("sts", 5);
    cuts("feed", 3);
}

/// Callbacks that are told other sizes than the answer has.
#[test]
fn sizes_that_are_lies() {
    for lie in [
        (0, 0),
        (0, u32::MAX),
        (u32::MAX, 0),
        (u32::MAX, u32::MAX),
        (1, 1),
        (3, 1 << 20),
        (1 << 31, 1 << 31),
    ] {
        let edit = Edit::default();
        let mut proxy = edge(&edit).start().unwrap();
        proxy.lie_about_sizes(Some(lie));
        let mut sent = Sent::default();
        for _ in 0..3 {
            sent.send(&mut proxy);
            proxy.advance(SOON);
        }
        let what = format!("told {lie:?}");
        sent.check(&proxy, &what);
        no_vm_is_dead(&proxy, &what);
        proxy.lie_about_sizes(None);
        proxy.advance(WELL);
        is_well(&mut proxy, &what);
    }
}

/// Never, later than the timeout says, and after somebody else took over.
#[test]
fn answers_that_never_come_or_late() {
    for cluster in ["sts", "feed"] {
        let (mut proxy, edit) = started();
        *edit.borrow_mut() = Some(Box::new(move |callout, answer| {
            if callout.cluster == cluster {
                Answer::Never
            } else {
                answer
            }
        }));
        let mut sent = Sent::default();
        for _ in 0..20 {
            sent.send(&mut proxy);
            proxy.advance(Duration::from_secs(2));
        }
        sent.check(&proxy, cluster);
        no_vm_is_dead(&proxy, cluster);
        // State and keys are too old by now.
        assert_eq!(ask(&mut proxy, 0), (503, 503), "{cluster}");
        // What was asked long ago is answered with what was true then: nothing revoked.
        let open: Vec<usize> = proxy.open_callouts().iter().map(|c| c.id).collect();
        let nothing = json!({"generation": "other", "head": 0, "confirmed_age_ms": 0, "entries": [], "more": false});
        *edit.borrow_mut() = None;
        for id in open {
            proxy.answer(id, Answer::json(&nothing));
            sent.send(&mut proxy);
            proxy.advance(50 * MS);
        }
        sent.check(&proxy, "late answers");
        proxy.advance(WELL);
        proxy.advance(WELL);
        is_well(&mut proxy, cluster);
        no_vm_is_dead(&proxy, cluster);
    }
}

/// A second answer to a callout is no answer to anything.
#[test]
fn an_answer_that_comes_twice_admits_nobody() {
    let (mut proxy, _) = started();
    let ids: Vec<usize> = proxy.callouts().iter().map(|c| c.id).collect();
    let mut sent = Sent::default();
    for id in ids {
        let nothing = json!({"generation": "x", "head": 0, "confirmed_age_ms": 0, "entries": []});
        for again in [json!({"keys": []}), nothing, key_set(&[&Key::new("k1", 9)])] {
            proxy.answer_again(id, Answer::json(&again));
            sent.send(&mut proxy);
            proxy.advance(50 * MS);
        }
    }
    sent.check(&proxy, "answered twice");
    sent.send(&mut proxy);
    proxy.advance(WELL);
    is_well(&mut proxy, "answered twice");
    no_vm_is_dead(&proxy, "answered twice");
}

/// The wall clock jumps, by a second or a year, there and back.
#[test]
fn a_wall_clock_that_jumps() {
    let year = 31_536_000;
    for jump in [
        1,
        -1,
        61,
        -61,
        86_400,
        -86_400,
        year,
        -year,
        i64::from(i32::MAX),
    ] {
        let (mut proxy, _) = started();
        let mut sent = Sent::default();
        let what = format!("{jump} s");
        for back in [jump, -jump] {
            proxy.jump_wall(back);
            for _ in 0..3 {
                sent.send(&mut proxy);
                proxy.advance(SOON);
                proxy.restart_worker(0).unwrap();
            }
            proxy.advance(WELL);
            sent.send(&mut proxy);
            sent.check(&proxy, &what);
            no_vm_is_dead(&proxy, &what);
        }
        is_well(&mut proxy, &what);
    }
}
