//! The alerts of deploy/prometheus and the dashboard of deploy/grafana: promtool reads and
//! tries them, and what they ask for is what a running edge and its companion show.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use caracal_tests::edge::Around;
use caracal_tests::processes::{Companion, Redis, folder, until};
use caracal_tests::root;
use caracal_tests::servers::Client;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// What PromQL reads, without being a metric's name or a label's.
const TYPED: [&str; 3] = ["_bucket", "_sum", "_count"];

fn promtool(arguments: &[&str]) {
    let out = Command::new("promtool")
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("promtool: `make promtool` installs it");
    assert!(
        out.status.success(),
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

fn rules() -> String {
    std::fs::read_to_string(root().join("deploy/prometheus/caracal.rules.yaml")).unwrap()
}

/// Each alert with its expression, and what else it has.
fn alerts() -> Vec<BTreeMap<String, String>> {
    let text = rules();
    let mut found: Vec<BTreeMap<String, String>> = Vec::new();
    for line in text.lines() {
        let line = line.trim_start().trim_start_matches("- ");
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        if name == "alert" {
            found.push(BTreeMap::new());
        }
        let value: String = serde_json::from_str(value).unwrap_or_else(|_| value.to_owned());
        if let Some(alert) = found.last_mut() {
            alert.insert(name.to_owned(), value);
        }
    }
    found
}

/// docs/reference/alerts.md, made of the rules. `UPDATE_DOCS=1` writes it.
#[test]
fn the_page_of_the_alerts_says_what_they_say() {
    let mut page = String::from(
        "# Alerts\nMade from [deploy/prometheus/caracal.rules.yaml](../../deploy/prometheus/caracal.rules.yaml). A page wakes somebody, a ticket waits for the morning.\n\n| alert | severity | what is wrong | what to do |\n|---|---|---|---|\n",
    );
    for alert in alerts() {
        let [name, severity, summary, action] =
            ["alert", "severity", "summary", "action"].map(|key| alert[key].as_str());
        page.push_str(&format!(
            "| `{name}` | {severity} | {summary} | {action} |\n"
        ));
    }
    let file = root().join("docs/reference/alerts.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == page,
        "docs/reference/alerts.md is stale: UPDATE_DOCS=1 writes it"
    );
}

fn dashboard() -> Value {
    let file = root().join("deploy/grafana/caracal.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The expressions of the dashboard, with an interval as Grafana would put in.
fn drawn() -> Vec<String> {
    let panels = dashboard()["panels"].as_array().unwrap().clone();
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    targets
        .map(|target| {
            target["expr"]
                .as_str()
                .unwrap()
                .replace("$__rate_interval", "5m")
        })
        .collect()
}

#[test]
fn promtool_takes_the_alerts_and_each_fires_as_it_must() {
    promtool(&["check", "rules", "deploy/prometheus/caracal.rules.yaml"]);
    promtool(&["test", "rules", "deploy/prometheus/caracal.test.yaml"]);
    let tests =
        std::fs::read_to_string(root().join("deploy/prometheus/caracal.test.yaml")).unwrap();
    let alerts = alerts();
    assert!(alerts.len() > 20, "{}", alerts.len());
    for alert in alerts {
        let name = &alert["alert"];
        for tried in ["fires", "is quiet"] {
            assert!(
                tests.contains(&format!("name: {name} {tried}\n")),
                "{name} {tried}"
            );
        }
        assert!(
            ["page", "ticket"].contains(&alert["severity"].as_str()),
            "{name}"
        );
        for text in ["summary", "action"] {
            assert!(alert[text].ends_with('.'), "{name} {text}");
        }
    }
}

#[test]
fn promtool_takes_the_expressions_of_the_dashboard() {
    let expressions = drawn();
    assert!(expressions.len() > 15);
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(n, expr)| json!({"record": format!("panel:{n}"), "expr": expr}))
        .collect();
    let file = folder("dashboards").join("panels.yaml");
    let document = json!({"groups": [{"name": "panels", "rules": rules}]});
    std::fs::write(&file, document.to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

/// Every series `name{label="value"}` as a name and its labels.
fn series(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found = Vec::new();
    for start in text.match_indices("caracal_").map(|(at, _)| at) {
        let rest = &text[start..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let mut labels = BTreeMap::new();
        if let Some(inner) = behind
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            for pair in inner.0.split(',').filter(|pair| !pair.is_empty()) {
                let (label, value) = pair.split_once('=').unwrap();
                labels.insert(label.to_owned(), value.trim_matches('"').to_owned());
            }
        }
        found.push((name.to_owned(), labels));
    }
    found
}

/// The labels by which an expression groups.
fn grouped(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in expression.match_indices("by (") {
        let inner = expression[at + 4..].split(')').next().unwrap();
        found.extend(inner.split(',').map(|label| label.trim().to_owned()));
    }
    // Prometheus adds the first, a histogram has the second.
    found.remove("instance");
    found.remove("le");
    found
}

#[test]
fn what_they_ask_for_is_what_a_running_edge_shows() {
    let redis = Redis::default();
    let around = Around::default();
    let companion = Companion::of(&redis.url())
        .with(&["--audit-dir", folder("audit").to_str().unwrap()])
        .started();
    let changes = json!({
        "revocation": {"upstream": "feed"},
        "audit": {"upstream": "feed"},
        "streams": {},
        "metrics": {"timings": true},
        "routes": {"/shadow": {"enforcement": "shadow"}},
    });
    let envoy = around.setup(companion.address, changes).start();
    let envoy = envoy.unwrap_or_else(|log| panic!("{log}"));
    let token = around.mandate(json!({}));
    until("the edge admits", SOON, || {
        Client::connect(envoy.listener(0))
            .get("/x", Some(&token), &[])
            .status
            == 200
    });
    let shown = || {
        let edge = envoy.every_metric();
        let feed = companion.get("/metrics");
        edge + &String::from_utf8(feed.body).unwrap()
    };
    // Envoy merges the values of histograms every few seconds.
    until("a request was measured", SOON, || {
        let text = shown();
        let mut counts = text.lines().filter_map(|line| {
            let count = line.strip_prefix("caracal_added_microseconds_count")?;
            count.rsplit(' ').next()?.parse::<f64>().ok()
        });
        counts.any(|count| count > 0.0)
    });
    // The group's numbers come when the companion has asked for them.
    until("the companion knows its group", SOON, || {
        shown().contains("caracal_feed_group_lag{")
    });
    let text = shown();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let shown: Vec<_> = lines.flat_map(series).collect();
    let asked = alerts().into_iter().map(|alert| alert["expr"].clone());
    for expression in asked.chain(drawn()) {
        let grouped = grouped(&expression);
        for (name, labels) in series(&expression) {
            // One zone has no label of its own.
            let is_there = shown.iter().any(|(known, has)| {
                *known == name
                    && labels
                        .iter()
                        .all(|(label, value)| has.get(label) == Some(value))
            });
            assert!(is_there, "{name} {labels:?} of {expression}");
            let has = shown.iter().filter(|(known, _)| *known == name);
            let has: BTreeSet<&String> = has.flat_map(|(_, labels)| labels.keys()).collect();
            for label in grouped.iter().filter(|label| *label != "zone") {
                assert!(has.contains(label), "{name} has no {label}: {expression}");
            }
        }
    }
    for typed in TYPED {
        assert!(text.contains(&format!("caracal_feed_sts_seconds{typed}")));
    }
}
