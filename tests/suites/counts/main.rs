//! What a request costs, counted exactly: units of work (about a wasm instruction
//! each) and host calls, over all callbacks of one stream, in each of the hosts. Fails
//! when a count grows by more than 5 % over the committed one, so that nobody makes
//! requests dearer without saying so.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::host::{Answer, Cost, Outcome, Proxy, Request};
use caracal_tests::hostile::{Kind, Meter, worst};
use caracal_tests::hosts::{APISIX, ENVOY, KONG, On};
use caracal_tests::mint::{AUDIENCE, Key, key_set};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
/// A count may be this much over the committed one, in percent.
const TOLERANCE: u64 = 5;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    work: u64,
    host_calls: BTreeMap<String, u64>,
    /// Times that the host asks for memory in the VM, each a call back into it.
    allocations: u64,
    /// Between host and VM, in both directions.
    bytes_copied: u64,
}

impl From<Cost> for Counts {
    fn from(cost: Cost) -> Self {
        let named = |(name, count): (&str, u64)| (name.to_owned(), count);
        Counts {
            work: cost.fuel,
            host_calls: cost.host_calls.into_iter().map(named).collect(),
            allocations: cost.handed.allocations,
            bytes_copied: cost.handed.bytes,
        }
    }
}

struct Edge {
    on: On,
    proxy: Proxy,
    key: Key,
    /// Sent with every request.
    headers: Vec<(&'static str, &'static str)>,
    /// The upstream answers.
    answers: bool,
}

impl Edge {
    fn start(on: On, changes: Value) -> Self {
        let companion = Rc::new(InProcess::default());
        companion.revoke("revoked-session");
        let mut all = json!({"revocation": {"upstream": "feed", "max_staleness_s": 3600}});
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        let mut proxy = on
            .builder(&on.configuration(all))
            .wall(Duration::from_secs(START))
            .on_callout(move |callout| match on.is_sts(callout) {
                true => Answer::json(&key_set(&[&Key::new("k1", 1)])),
                false => companion.answer(callout),
            })
            .start()
            .unwrap();
        proxy.advance(Duration::from_secs(1));
        Edge {
            on,
            proxy,
            key: Key::new("k1", 1),
            headers: Vec::new(),
            answers: false,
        }
    }

    fn send(&mut self, token: Option<&str>, expected: u32) -> Counts {
        let mut request = Request::get("/payouts/1?page=2");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = match token {
            Some(token) => request.bearer(token),
            None => request,
        };
        let stream = self.proxy.request(0, request);
        let status = match self.on.settle(&mut self.proxy, stream) {
            Outcome::Forwarded(_) => 200,
            Outcome::Replied(reply) => reply.status,
            other => panic!("{other:?}"),
        };
        assert_eq!(status, expected);
        if self.answers {
            self.proxy.respond(stream, 200, [("content-length", "0")]);
        }
        Counts::from(self.proxy.cost(stream))
    }

    /// The second time, when memory has been taken, and in another millisecond, when
    /// clock and shared data are read anew.
    fn settled(&mut self, tokens: [Option<&str>; 2], expected: u32) -> Counts {
        self.send(tokens[0], expected);
        self.proxy.advance(Duration::from_millis(1));
        self.send(tokens[1], expected)
    }
}

fn hostile() -> BTreeMap<String, Counts> {
    let mut meter = Meter::envoy();
    let mut found = BTreeMap::new();
    let plain = meter.cost(Kind::Path, b"/payouts/1?page=2");
    found.insert("worst: nothing hostile".to_owned(), Counts::from(plain));
    for (kind, name, input) in worst() {
        let counts = Counts::from(meter.cost(kind, &input));
        found.insert(format!("worst: {name}"), counts);
    }
    found
}

fn measured() -> BTreeMap<String, Counts> {
    let mut found = on_envoy();
    found.extend(hostile());
    found.extend(on_nginx(KONG));
    found.extend(on_nginx(APISIX));
    found
}

/// The requests that differ there. In APISIX a cold one asks the companion.
fn on_nginx(on: On) -> BTreeMap<String, Counts> {
    let mut edge = Edge::start(on, json!({}));
    let mandate = |claims: Value| Key::new("k1", 1).mandate(START, claims);
    let cold = ["a", "b", "c"].map(|sid| mandate(json!({"sid": sid, "root_sid": sid})));
    let bad = [&cold[0], &cold[1]].map(|token| token[..token.len() - 4].to_owned() + "AAAA");
    let revoked = mandate(json!({"sid": "revoked-session"}));
    // The first fetches the key set where requests do.
    if on == APISIX {
        edge.send(Some(&cold[2]), 200);
        edge.proxy.advance(Duration::from_secs(1));
    }
    let mut found = BTreeMap::new();
    let mut note = |what: &str, counts| found.insert(format!("{}: {what}", on.name()), counts);
    note("cold", edge.settled([Some(&cold[0]), Some(&cold[1])], 200));
    note("warm", edge.settled([Some(&cold[0]), Some(&cold[0])], 200));
    note("no token", edge.settled([None, None], 401));
    note(
        "bad signature",
        edge.settled([Some(&bad[0]), Some(&bad[1])], 401),
    );
    note(
        "revoked",
        edge.settled([Some(&revoked), Some(&revoked)], 401),
    );
    found
}

fn on_envoy() -> BTreeMap<String, Counts> {
    let mut edge = Edge::start(ENVOY, json!({}));
    let mandate = |edge: &Edge, claims| edge.key.mandate(START, claims);
    let [first, second] = ["a", "b"].map(|jti| mandate(&edge, json!({"jti": jti})));
    let bad = [&first, &second].map(|token| token[..token.len() - 4].to_owned() + "AAAA");
    let revoked = mandate(&edge, json!({"sid": "revoked-session"}));
    let expired = mandate(&edge, json!({"exp": START - 600, "iat": START - 900}));
    // Without the host's crypto. The first one makes the key's tables.
    let [third, fourth] = ["c", "d"].map(|jti| mandate(&edge, json!({"jti": jti})));
    edge.proxy
        .on_host_call(|call| (call.name == "proxy_call_foreign_function").then_some(1));
    let tables = edge.send(Some(&third), 200);
    let in_wasm = edge.send(Some(&fourth), 200);
    edge.proxy.no_faults();
    // The same mandate, for one of three resources that have hosts.
    let mut several = Edge::start(
        ENVOY,
        json!({"audience": null, "resources": {
            AUDIENCE: {"hosts": ["edge.test"]}, "b": {"hosts": ["b.test"]}, "c": {},
        }}),
    );
    let by_host = several.settled([Some(&first), Some(&first)], 200);
    several.headers.push(("x-caracal-resource", AUDIENCE));
    let by_header = several.settled([Some(&first), Some(&first)], 200);
    // With the answer, and the note for its audit event.
    let mut audited = Edge::start(ENVOY, json!({"audit": {"upstream": "feed"}}));
    audited.answers = true;
    let audited = audited.settled([Some(&first), Some(&first)], 200);
    BTreeMap::from([
        ("warm, audited".to_owned(), audited),
        ("warm, chosen by host".to_owned(), by_host),
        ("warm, chosen by header".to_owned(), by_header),
        ("cold in wasm, the first of its key".to_owned(), tables),
        ("cold in wasm".to_owned(), in_wasm),
        (
            "cold".to_owned(),
            edge.settled([Some(&first), Some(&second)], 200),
        ),
        (
            "warm".to_owned(),
            edge.settled([Some(&first), Some(&first)], 200),
        ),
        ("no token".to_owned(), edge.settled([None, None], 401)),
        (
            "bad signature".to_owned(),
            edge.settled([Some(&bad[0]), Some(&bad[1])], 401),
        ),
        (
            "revoked".to_owned(),
            edge.settled([Some(&revoked), Some(&revoked)], 401),
        ),
        (
            "expired".to_owned(),
            edge.settled([Some(&expired), Some(&expired)], 401),
        ),
    ])
}

#[test]
fn no_request_costs_more_than_was_committed() {
    let found = measured();
    let file = caracal_tests::root().join("tests/suites/counts/counts.json");
    if std::env::var_os("UPDATE_COUNTS").is_some() {
        let text = serde_json::to_string_pretty(&found).unwrap();
        std::fs::write(&file, text + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let committed: BTreeMap<String, Counts> = serde_json::from_str(&text).unwrap();
    assert!(found.keys().eq(committed.keys()));
    for (what, counts) in &found {
        let before = &committed[what];
        println!(
            "{what}: {} units of work ({} committed), {} host calls, {} allocations, {} bytes copied",
            counts.work,
            before.work,
            counts.host_calls.values().sum::<u64>(),
            counts.allocations,
            counts.bytes_copied
        );
        assert!(
            counts.work * 100 <= before.work * (100 + TOLERANCE),
            "{what}: {} units of work, {} committed; if it is meant: UPDATE_COUNTS=1 cargo test -p caracal-tests --test counts",
            counts.work,
            before.work
        );
        assert_eq!(counts.host_calls, before.host_calls, "{what}: host calls");
        assert_eq!(
            counts.allocations, before.allocations,
            "{what}: allocations"
        );
        assert!(
            counts.bytes_copied * 100 <= before.bytes_copied * (100 + TOLERANCE),
            "{what}: {} bytes copied, {} committed",
            counts.bytes_copied,
            before.bytes_copied
        );
    }
}

/// What an input may cost beyond a plain refusal, in units of work: at once, and for each
/// byte. The table is in deploy/BOUNDS.md.
fn documented(kind: Kind) -> (u64, u64) {
    let text = std::fs::read_to_string(caracal_tests::root().join("deploy/BOUNDS.md")).unwrap();
    let cells = |line: &str| -> Vec<String> {
        let cells = line.split('|').map(|cell| cell.trim().replace(' ', ""));
        cells.collect()
    };
    let name = kind.name().replace(' ', "");
    let is_row = |row: &Vec<String>| row.len() == 5 && row[1] == name;
    let row = text.lines().map(cells).find(is_row).expect(&name);
    (row[2].parse().unwrap(), row[3].parse().unwrap())
}

/// Most work for a request that is refused for its path: twice what a plain refusal cost
/// when this bound was set. A plain refusal has become cheaper since.
const MOST_PATH_WORK: u64 = 32_600;

/// No path costs more than about two plain refusals, and nothing more than is documented.
#[test]
fn the_dearest_inputs_known_stay_within_what_is_promised() {
    let mut meter = Meter::envoy();
    let plain = meter.plain();
    for (kind, name, input) in worst() {
        let work = meter.work(kind, &input);
        let beyond = match kind {
            // What takes a document does nothing else.
            Kind::KeySet | Kind::Page => work,
            _ => work.saturating_sub(plain),
        };
        println!(
            "{name}: {beyond} units beyond a plain refusal's {plain} for {} bytes",
            input.len()
        );
        let (once, each) = documented(kind);
        let promised = once + each * u64::try_from(input.len()).unwrap();
        assert!(
            beyond <= promised,
            "{name}: {beyond} units, {promised} are promised"
        );
        if kind == Kind::Path {
            assert!(work <= MOST_PATH_WORK, "{name}: {work}");
        }
    }
}

/// A known mandate is verified once: no foreign function, and one look at shared data
/// at the most, none in the same millisecond.
#[test]
fn a_warm_request_asks_the_host_little() {
    let warm = &measured()["warm"];
    assert!(!warm.host_calls.contains_key("proxy_call_foreign_function"));
    assert_eq!(warm.host_calls.get("proxy_get_shared_data"), Some(&1));
    assert_eq!(warm.host_calls.get("proxy_get_header_map_pairs"), Some(&1));
    assert_eq!(warm.host_calls.get("proxy_get_header_map_value"), None);
}
