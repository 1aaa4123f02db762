//! `make bench`: the processor time of idle Envoys with two workers, side by side at the same
//! time: with this filter, with one that does nothing, and with an earlier build if
//! `IDLE_BEFORE` names its file. With that, it exits non-zero if this filter takes more than a
//! third of the time.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use caracal_tests::edge::Around;
use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::mint::{configuration, now};
use caracal_tests::processes::{Companion, Redis, until};
use caracal_tests::servers::get;
use serde_json::{Value, json};

const MEASURED: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(60);
/// The earlier filter's processor time is at least so many times this one's.
const PROMISED: f64 = 3.0;
const THIS: &str = "this filter";
const EARLIER: &str = "the earlier filter";

struct Idle {
    name: &'static str,
    envoy: Envoy,
}

fn main() -> ExitCode {
    let redis = Redis::default();
    let around = Around::default();
    let companion = Companion::of(&redis.url()).started();
    let start = |configuration: Value, wasm: Option<PathBuf>| {
        let setup = around
            .setup_of(Setup::new([configuration]))
            .cluster("upstream", around.upstream())
            .cluster("feed", companion.address);
        let setup = match wasm {
            Some(file) => setup.wasm(file),
            None => setup,
        };
        setup.start().unwrap_or_else(|log| panic!("{log}"))
    };
    let settings = configuration(json!({"revocation": {"upstream": "feed"}}));
    let earlier: Option<PathBuf> = std::env::var_os("IDLE_BEFORE").map(Into::into);
    let noop = caracal_tests::root().join("dist/noop.wasm");
    let mut all = vec![Idle {
        name: THIS,
        envoy: start(settings.clone(), None),
    }];
    if noop.exists() {
        all.push(Idle {
            name: "a filter that does nothing",
            envoy: start(Value::Null, Some(noop)),
        });
    }
    if let Some(file) = earlier {
        all.push(Idle {
            name: EARLIER,
            envoy: start(settings, Some(file)),
        });
    }
    let bearer = around.mandate(json!({"exp": now() + 3_600}));
    for one in &all {
        until("it admits", SOON, || {
            (0..8).all(|_| get(one.envoy.listener(0), "/", Some(&bearer)).status == 200)
        });
    }
    // What begins with a start is over.
    sleep(Duration::from_secs(3));
    let before: Vec<Duration> = all.iter().map(|one| one.envoy.processor_time()).collect();
    let began = Instant::now();
    sleep(MEASURED);
    let lasted = began.elapsed().as_secs_f64();
    let mut spent = Vec::new();
    for (one, before) in all.iter().zip(before) {
        let time = one.envoy.processor_time() - before;
        let ms = time.as_secs_f64() * 1_000.0 / lasted;
        println!("{}: {ms:.2} ms of processor time a second", one.name);
        spent.push((one.name, ms));
    }
    let of = |name| spent.iter().find(|(known, _)| *known == name);
    let (Some((_, earlier)), Some((_, this))) = (of(EARLIER), of(THIS)) else {
        return ExitCode::SUCCESS;
    };
    println!("{EARLIER} to {THIS}: {:.1}", earlier / this);
    match earlier / this >= PROMISED {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
