//! Requests that try to walk around the routes, put to a real Envoy with every
//! combination of its options about paths, and judged by what the upstream saw:
//! whatever way it may read that, the request had what the rule there requires.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use caracal_fuzz::paths::{readings, rules_of};
use caracal_tests::envoy::{Envoy, Paths, Setup};
use caracal_tests::mint::{Key, configuration, key_set, now};
use caracal_tests::servers::{Client, Reply, Server, request};
use serde_json::json;

const ROUTES: [&str; 3] = ["/pub", "/pay", "/pay/admin"];
const EXCLUDED: [&str; 2] = ["/open", "/pay/live"];

/// What a request carries: nothing, or a mandate with these scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Carries {
    Nothing,
    NoScope,
    Pay,
}

/// Whether that is enough under a rule.
fn suffices(carried: Carries, rule: &str) -> bool {
    match rule {
        "/open" | "/pay/live" => true,
        "/pub" => carried >= Carries::NoScope,
        "/pay" => carried >= Carries::Pay,
        // Everything else asks for a scope that no request here has.
        _ => false,
    }
}

/// The weaker prefix, the stronger one, and what is enough for the weaker only.
const PAIRS: [(&str, &str, Carries); 6] = [
    ("/open", "/pay", Carries::Nothing),
    ("/open", "/other", Carries::Nothing),
    ("/pay/live", "/pay/admin", Carries::Nothing),
    ("/pub", "/pay", Carries::NoScope),
    ("/pub", "/other", Carries::NoScope),
    ("/pay", "/pay/admin", Carries::Pay),
];

const SLASHES: [&str; 18] = [
    "/",
    "//",
    "/./",
    "/x/../",
    "/%2e/",
    "/;a=1/",
    "%2f",
    "%2F",
    "%252f",
    "%25252F",
    "\\",
    "%5c",
    "%255C",
    "%c0%af",
    "%e0%80%af",
    "%ef%bc%8f",
    "／",
    "%e2%88%95",
];

const PARENTS: [&str; 27] = [
    "..",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "%25252e.",
    "..;",
    "..;x=1",
    "..%3b",
    "%2e%2e;",
    "..%00",
    "..%2500",
    "..%20",
    "..%09",
    ".%09.",
    ".%0d%0a.",
    "..%3f",
    "..%23",
    "..#",
    "..?",
    "%c0%ae%c0%ae",
    "%u002e%u002e",
    "...",
    "..%5c",
    "．．",
    "%ef%bc%8e%ef%bc%8e",
    "%e2%80%a5",
];

/// Request targets that somebody might read as the stronger path.
fn targets(weak: &str, strong: &str) -> Vec<String> {
    let mut all = Vec::new();
    // One level up from the weaker prefix, or as many as it has.
    let levels = weak.matches('/').count();
    for slash in SLASHES {
        for parent in PARENTS {
            let up = format!("{slash}{parent}").repeat(levels);
            let down = strong.replacen('/', slash, 1);
            all.push(format!("{weak}{up}{down}"));
            all.push(format!("{weak}{up}{strong}"));
            all.push(format!("{weak}{slash}x{up}{slash}{parent}{down}"));
        }
        all.push(strong.replace('/', slash));
        all.push(format!("{slash}{}", strong.trim_start_matches('/')));
        all.push(format!("{strong}{slash}"));
    }
    let name = strong.trim_start_matches('/');
    let first = name.as_bytes()[0];
    all.extend([
        strong.to_owned(),
        format!("{strong}."),
        format!("{strong}.."),
        format!("{strong}%20"),
        format!("{strong}%2e"),
        format!("{strong};x=1"),
        format!("{strong};x=1/../..{weak}"),
        format!("{strong}%3bx"),
        format!("{strong}%00"),
        format!("{strong}?{weak}"),
        format!("{strong}#{weak}"),
        format!("{weak}#/../{name}"),
        format!("{strong}%3f{weak}"),
        format!("{strong}%23"),
        format!("/%{first:02x}{}", &name[1..]),
        format!("/%25{first:02x}{}", &name[1..]),
        format!("{strong}.json"),
        format!("{strong}.xml/1"),
        format!("{strong}:action"),
        format!("{strong},v=1"),
        format!("{strong}~"),
        format!("{strong}%7E"),
        format!("{strong}%C2%A0"),
        format!("{strong}\u{a0}x"),
        format!("{strong}%252ejson"),
        format!("{weak}/x/../..{strong}.json"),
        strong.to_uppercase(),
        format!("http://edge.test{strong}"),
        format!("http://edge.test{weak}/..{strong}"),
        format!("http://edge.test{weak}/%2e%2e{strong}"),
        format!("http://other.test{strong}"),
        format!("http://edge.test{}", strong.replacen('/', "//", 1)),
        format!("http:/{strong}"),
        format!("//edge.test{strong}"),
        name.to_owned(),
        "*".to_owned(),
        // Longer than what is looked at, and longer than what a filter reads.
        format!(
            "{weak}{}{}{strong}",
            "/a".repeat(900),
            "/..".repeat(900 + levels)
        ),
        format!(
            "{weak}{}{}{strong}",
            "/a".repeat(8_000),
            "/..".repeat(8_000 + levels)
        ),
        format!("{weak}{}/..{strong}", "/".repeat(20_000)),
        format!("{weak}/{}{strong}", "a%2f..%2f".repeat(3_000)),
    ]);
    all
}

/// What reached the upstream, by the number that the request carried.
type Reached = Arc<Mutex<BTreeMap<usize, Vec<u8>>>>;

struct Edge {
    envoy: Envoy,
    tokens: BTreeMap<Carries, String>,
    reached: Reached,
    _servers: [Server; 2],
}

fn edge() -> Edge {
    let key = Key::new("k1", 1);
    let keys = key_set(&[&key]);
    let reached: Reached = Arc::default();
    let record = Arc::clone(&reached);
    let sts = Server::start(move |_| Reply::json(&keys));
    let upstream = Server::start(move |request| {
        let number = request.all("x-number")[0].parse().unwrap();
        let target = request.target.clone().into_bytes();
        record.lock().unwrap().insert(number, target);
        Reply::new(200, "reached")
    });
    let configuration = configuration(json!({
        "required_scopes": ["all"],
        "routes": {
            "/pub": {"required_scopes": []},
            "/pay": {"required_scopes": ["pay"]},
            "/pay/admin": {"required_scopes": ["admin"]},
        },
        "exclude": EXCLUDED,
    }));
    let paths = Paths::all();
    let envoy = Setup::new(vec![configuration; paths.len()])
        .cluster("sts", sts.address())
        .cluster("upstream", upstream.address())
        .paths(paths)
        .start()
        .unwrap_or_else(|log| panic!("{log}"));
    let mandate = |scope: &str| key.mandate(now(), json!({"scope": scope}));
    let tokens = [
        (Carries::NoScope, mandate("none")),
        (Carries::Pay, mandate("pay")),
    ];
    Edge {
        envoy,
        tokens: tokens.into(),
        reached,
        _servers: [sts, upstream],
    }
}

/// The bytes of a request to that target.
fn bytes(edge: &Edge, target: &str, carries: Carries, number: usize) -> Vec<u8> {
    let number = number.to_string();
    let bearer = edge
        .tokens
        .get(&carries)
        .map(|token| format!("Bearer {token}"));
    let mut headers = vec![("x-number", number.as_str())];
    headers.extend(
        bearer
            .as_ref()
            .map(|bearer| ("authorization", bearer.as_str())),
    );
    request("GET", target, &headers)
}

#[test]
fn nobody_walks_around_a_route() {
    let edge = edge();
    let all: Vec<(String, Carries)> = PAIRS
        .iter()
        .flat_map(|(weak, strong, carries)| {
            targets(weak, strong)
                .into_iter()
                .map(|target| (target, *carries))
        })
        .collect();
    assert!(all.len() > 5_000);
    for (listener, paths) in Paths::all().into_iter().enumerate() {
        let mut client = None;
        for (number, (target, carries)) in all.iter().enumerate() {
            let request = bytes(&edge, target, *carries, number);
            // Envoy closes connections after some refusals: each such request on
            // a new one.
            for _ in 0..2 {
                let connection =
                    client.get_or_insert_with(|| Client::connect(edge.envoy.listener(listener)));
                match connection.exchange(&request) {
                    Ok(answer) => {
                        if answer.header("connection") == Some("close") {
                            client = None;
                        }
                        break;
                    }
                    Err(_) => client = None,
                }
            }
        }
        let reached = std::mem::take(&mut *edge.reached.lock().unwrap());
        for (number, seen) in &reached {
            let (target, carries) = &all[*number];
            for reading in readings(seen) {
                for rule in rules_of(&reading, &ROUTES, &EXCLUDED) {
                    assert!(
                        suffices(*carries, rule),
                        "{paths:?}: {target:?} with {carries:?} reached the upstream as {:?}, which reads as {:?} under {rule}",
                        String::from_utf8_lossy(seen),
                        String::from_utf8_lossy(&reading),
                    );
                }
            }
        }
        println!(
            "{paths:?}: {} requests, {} reached the upstream",
            all.len(),
            reached.len()
        );
        // Targets that only look strange, `/open/...` among them, do get through.
        assert!(reached.len() > 20, "{}", reached.len());
    }
}

/// The judgement itself: what it says of a request that did walk around.
#[test]
fn a_walk_around_would_be_seen() {
    for seen in [
        "/open/../pay",
        "/open/%252e%252e/pay",
        "/open\\..\\pay",
        "/open/..;/pay",
        "//pay",
        "/pay.json",
        "/pay%C2%A0",
        "/open/%EF%BC%8E%EF%BC%8E/pay",
    ] {
        let rules: Vec<&str> = readings(seen.as_bytes())
            .iter()
            .flat_map(|reading| rules_of(reading, &ROUTES, &EXCLUDED))
            .collect();
        assert!(
            rules.iter().any(|rule| !suffices(Carries::Nothing, rule)),
            "{seen}"
        );
    }
}

/// The same requests with what the stronger rule asks for do get through, where
/// there is one way to read them.
#[test]
fn plain_requests_get_what_they_ask_for() {
    let edge = edge();
    for listener in 0..Paths::all().len() {
        for (number, (target, carries, status)) in [
            ("/open", Carries::Nothing, 200),
            ("/open/a%20b?c=/../pay", Carries::Nothing, 200),
            ("/pay/live/x", Carries::Nothing, 200),
            ("/pub/x", Carries::NoScope, 200),
            ("/pay/1", Carries::Pay, 200),
            ("/pay/1", Carries::NoScope, 403),
            ("/pay/admin", Carries::Pay, 403),
            ("/pub", Carries::Nothing, 401),
            ("/other", Carries::Pay, 403),
        ]
        .into_iter()
        .enumerate()
        {
            let mut client = Client::connect(edge.envoy.listener(listener));
            let answer = client
                .exchange(&bytes(&edge, target, carries, number))
                .unwrap();
            assert_eq!(answer.status, status, "{target} {carries:?}");
        }
    }
}
