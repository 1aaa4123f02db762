//! The requests that are sent: which mandates, and which edges get them.

use caracal_tests::mint::{Key, now};
use serde_json::{Value, json};

use super::chosen;
use super::edges::{REVOKED, builds};
use super::report::WAYS;
use super::wrk::Load;

/// Mandates that live at the same time in the mixed load.
const LIVE: usize = 10_000;
/// Draws of the mixed load.
const DRAWS: usize = 40_000;
/// New mandates for each second of a measurement: more than a cold edge can take.
const FRESH: usize = 12_500;

/// Requests a second of the paced loads: a companion on the clients' core takes as many
/// audit events.
const PACE: u32 = 2_000;

/// Who gets the warm load.
const WARM: &str = "none,noop,calls_only,jwt_authn,jwt_authn_uncached,ext_authz,caracal,caracal_bare,\
    caracal_1M,none+2w,noop+2w,jwt_authn+2w,caracal+2w";

/// A load, and the edges that it is for.
pub struct Planned {
    pub name: &'static str,
    pub load: Load,
    edges: &'static str,
}

impl Planned {
    fn new(name: &'static str, load: Load, edges: &'static str) -> Self {
        Planned { name, load, edges }
    }

    pub fn is_for(&self, edge: &str) -> bool {
        let edge = match builds().any(|(build, _)| build == edge) {
            true => "caracal",
            false => edge,
        };
        self.edges.split(',').any(|name| name == edge)
    }
}

/// A good mandate with a claim for each header that the filter sends by default.
pub fn mandate(key: &Key, changes: Value) -> String {
    let mut claims = json!({
        "agent_session_id": "agent-session-1", "delegation_edge_id": "delegation-1", "hop_count": 1,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    key.mandate(now(), claims)
}

/// Mandates of one key, minted on both cores.
fn mandates(key: &Key, kind: &str, count: usize) -> Vec<String> {
    let made = |half: usize| {
        let numbers = (0..count).filter(|n| n % 2 == half);
        let claims = |n| json!({"jti": format!("{kind}-{n}"), "exp": now() + 3_600});
        numbers.map(|n| mandate(key, claims(n))).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| made(1));
        let mut all = made(0);
        all.extend(other.join().unwrap());
        all
    })
}

/// 1/rank of each mandate, drawn with a fixed seed.
fn zipf(tokens: &[String], draws: usize) -> Vec<String> {
    let sums: Vec<f64> = (1..=tokens.len())
        .scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        })
        .collect();
    let mut seed = 88_172_645_463_325_252_u64;
    let mut draw = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = (seed >> 11) as f64 / (1_u64 << 53) as f64 * sums[sums.len() - 1];
        tokens[sums.partition_point(|sum| *sum < at).min(tokens.len() - 1)].clone()
    };
    (0..draws).map(|_| draw()).collect()
}

fn flipped(token: &str) -> String {
    let at = token.len() - 20;
    let other = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

/// The loads of one round that `BENCH_LOADS` asks for.
pub fn of_round(key: &Key, round: u64, seconds: u64) -> Vec<Planned> {
    let count = FRESH * seconds as usize * WAYS.len();
    let one = |claims: Value| vec![mandate(key, claims)];
    let fresh = |kind: &str| mandates(key, &format!("{kind}-{round}"), count);
    let mut loads = Vec::new();
    let mut add = |name, edges, load: &dyn Fn() -> Load| {
        if chosen("BENCH_LOADS", name) {
            loads.push(Planned::new(name, load(), edges));
        }
    };
    add("warm", WARM, &|| Load::of(one(json!({})), 200));
    add(
        "cold",
        "jwt_authn_uncached,ext_authz,caracal,caracal_audit",
        &|| Load::of(fresh("cold"), 200),
    );
    add("bad_signature", "jwt_authn_uncached,caracal", &|| {
        Load::of(
            fresh("bad").iter().map(|token| flipped(token)).collect(),
            401,
        )
    });
    add("mix", "noop,jwt_authn,caracal", &|| {
        Load::of(zipf(&mandates(key, "live", LIVE), DRAWS), 200)
    });
    add("no_token", "jwt_authn,caracal", &|| {
        Load::without_token(401)
    });
    add("expired", "caracal", &|| {
        let past = json!({"exp": now() - 600, "iat": now() - 1_200});
        Load::of(one(past), 401)
    });
    add("revoked", "caracal", &|| {
        Load::of(one(json!({"sid": REVOKED})), 401)
    });
    add("warm_paced", "caracal,caracal_audit", &|| {
        Load::of(one(json!({})), 200).paced(PACE)
    });
    add("cold_paced", "caracal,caracal_audit", &|| {
        Load::of(fresh("cold-paced"), 200).paced(PACE)
    });
    loads
}
