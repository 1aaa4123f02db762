//! How much memory the filter takes: the table of docs/operate.md is measured here, in the
//! wasm file's own linear memory and in the proxy's shared data. `UPDATE_DOCS=1` writes it.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::host::{Answer, Module, Proxy, Request, Vm};
use caracal_tests::mint::{Key, configuration, key_set};
use caracal_tests::{filter_wasm, root};
use serde_json::json;

const START: u64 = 1_767_225_600;
const BEGIN: &str = "<!-- measured by tests/suites/sizing.rs -->\n";
const END: &str = "<!-- end -->\n";
/// Anchors and mandates of each row, and how many bytes are added to each mandate.
const ROWS: [(usize, usize, usize); 7] = [
    (0, 0, 0),
    (0, 1_000, 0),
    (0, 10_000, 0),
    (0, 10_000, 300),
    (10_000, 10_000, 0),
    (100_000, 10_000, 0),
    (1_000_000, 10_000, 0),
];
const WORKERS: [usize; 3] = [2, 8, 32];
/// A cell may differ by a twentieth, or by two pages of memory where that is more.
const PAGES: f64 = 0.125;

struct Measured {
    token: usize,
    worker: f64,
    main: f64,
    shared: f64,
}

impl Measured {
    fn of(anchors: usize, mandates: usize, filling: usize) -> Self {
        let companion = Rc::new(InProcess::default());
        for n in 0..anchors {
            companion.revoke(&format!("01890a5d-ac96-774b-bcce-{n:012}"));
        }
        let feed = json!({"upstream": "feed", "max_staleness_s": 3600});
        let mut proxy = Proxy::envoy(Module::from_file(filter_wasm()).unwrap())
            .configuration(configuration(json!({ "revocation": feed })).to_string())
            .wall(Duration::from_secs(START))
            .workers(1)
            .clusters(["sts", "feed"])
            .on_callout(move |callout| match callout.cluster.as_str() {
                "sts" => Answer::json(&key_set(&[&Key::new("k1", 1)])),
                _ => companion.answer(callout),
            })
            .start()
            .unwrap();
        let mut seconds = 0;
        while proxy.metric_value("caracal_revocation_anchors") < anchors as u64 || seconds < 5 {
            proxy.advance(Duration::from_secs(1));
            seconds += 1;
            assert!(seconds < 120, "the anchors do not arrive");
        }
        let key = Key::new("k1", 1);
        let filling = "x".repeat(filling);
        let mut token = 0;
        for n in 0..mandates {
            let claims = json!({"jti": format!("jti-{n:08}"), "filling": filling});
            let mandate = key.mandate(START, claims);
            token = mandate.len();
            let stream = proxy.request(0, Request::get("/").bearer(&mandate));
            assert!(proxy.outcome(stream).is_forwarded(), "mandate {n}");
            proxy.respond(stream, 200, [("x", "y")]);
        }
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        let shared = proxy.shared_data();
        Measured {
            token,
            worker: mib(proxy.memory_size(Vm::Worker(0))),
            main: mib(proxy.memory_size(Vm::Main)),
            shared: mib(shared.values().map(|(value, _)| value.len()).sum()),
        }
    }

    fn cells(&self) -> Vec<f64> {
        let total = |workers: usize| self.worker * workers as f64 + self.main + self.shared;
        let mut cells = vec![self.worker, self.main, self.shared];
        cells.extend(WORKERS.map(total));
        cells
    }
}

fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

fn table(rows: &[Measured]) -> String {
    let mut table = String::from(
        "| revoked anchors | mandates remembered | MiB in a worker's VM | MiB in the main thread's VM | MiB of shared data | all, 2 workers | 8 workers | 32 workers |\n|---|---|---|---|---|---|---|---|\n",
    );
    for ((anchors, mandates, _), measured) in ROWS.iter().zip(rows) {
        let (anchors, mandates) = (grouped(*anchors), grouped(*mandates));
        let size = match measured.token {
            0 => String::new(),
            bytes => format!(" of {bytes} bytes"),
        };
        write!(table, "| {anchors} | {mandates}{size} |").unwrap();
        for cell in measured.cells() {
            write!(table, " {cell:.1} |").unwrap();
        }
        table.push('\n');
    }
    table
}

/// The cells of a table, the numbers apart from the words.
fn read(table: &str) -> Vec<Vec<String>> {
    let rows = table.lines().map(|line| line.trim_matches('|').split('|'));
    rows.map(|cells| cells.map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn the_table_of_sizes_is_what_is_measured() {
    let rows: Vec<Measured> = std::thread::scope(|scope| {
        let measure = |(anchors, mandates, filling)| {
            scope.spawn(move || Measured::of(anchors, mandates, filling))
        };
        let started: Vec<_> = ROWS.map(measure).into();
        started.into_iter().map(|row| row.join().unwrap()).collect()
    });
    let made = table(&rows);
    println!("{made}");
    let file = root().join("docs/operate.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the mark of the table");
    let (found, after) = rest.split_once(END).expect("the end of the table");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, [before, BEGIN, &made, END, after].concat()).unwrap();
        return;
    }
    let (found, made) = (read(found), read(&made));
    assert_eq!(found.len(), made.len());
    for (found, made) in found.iter().zip(&made) {
        assert_eq!(found.len(), made.len());
        for (found, made) in found.iter().zip(made) {
            let same = match (found.parse::<f64>(), made.parse::<f64>()) {
                (Ok(found), Ok(made)) => (found - made).abs() <= PAGES.max(made / 20.0),
                _ => found == made,
            };
            assert!(same, "{found} is {made} now: UPDATE_DOCS=1 writes it");
        }
    }
}
