//! The commands that docs/operate.md tells an operator to run first, each run against a whole
//! edge: Envoy, STS, companion with audit and a real Redis.

use std::process::Command;

use caracal_tests::mint::ZONE;
use caracal_tests::processes::filter_with_hooks;
use caracal_tests::root;

use super::*;

/// The commands of the column "first", by the row's symptom.
fn commands() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(root().join("docs/operate.md")).unwrap();
    let (_, rest) = page.split_once("\n| symptom | first |").unwrap();
    let rows = rest
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut all = Vec::new();
    for row in rows {
        // A bar within a command is escaped.
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<&str> = row.split('|').collect();
        let code = cells[2].split('`').skip(1).step_by(2);
        let before = all.len();
        all.extend(code.map(|one| (cells[1].trim().to_owned(), one.replace('\u{1}', "|"))));
        assert!(all.len() > before, "no command: {row}");
    }
    all
}

#[test]
fn each_first_command_says_something() {
    let redis = Redis::default();
    let around = Around::default();
    let audit = folder("audit");
    let companion = Companion::of(&redis.url())
        .with(&["--audit-dir", audit.to_str().unwrap()])
        .environment("AUDIT_HMAC_KEY", KEY)
        .token(TOKEN)
        .started();
    let changes = json!({
        "revocation": {"upstream": "feed", "token": TOKEN},
        "audit": {"upstream": "feed"}, "readiness_path": "/caracal/ready",
    });
    let envoy = started(&around.setup(companion.address, changes));
    let edge = envoy.listener(0);
    let good = around.of_session("good");
    until("admitted", SOON, || all_are(edge, &good, 200));
    // Something to find: a refusal, a revocation, a dead letter.
    revoke(&redis, "s1");
    let revoked = around.of_session("s1");
    until("revoked", SOON, || all_are(edge, &revoked, 401));
    let _: String = redis.ask(&["XADD", SESSIONS, "*", "nonsense", "x"]);
    until("a dead letter", SOON, || {
        redis.ask::<usize>(&["XLEN", "caracal.sessions.revoke.dead"]) == 1
    });
    until("events", SOON, || redis.ask::<usize>(&["XLEN", STREAM]) > 0);

    let all = commands();
    assert!(all.len() >= 10, "{all:?}");
    let with_several = all.iter().filter(|(_, one)| alternatives(one).len() > 1);
    assert_eq!(with_several.count(), 4, "{all:?}");
    for (symptom, command) in all {
        let run = || {
            Command::new("bash")
                .args(["-euo", "pipefail", "-c", &command])
                .current_dir(root())
                .env("ADMIN", format!("http://{}", envoy.admin()))
                .env("EDGE", format!("http://{edge}"))
                .env("FEED", format!("http://{}", companion.address))
                .env("STS", format!("http://{}", around.sts.address()))
                .env("ZONE", ZONE)
                .env("REDIS_URL", redis.url())
                .env("AUDIT_HMAC_KEY", KEY)
                .output()
                .unwrap()
        };
        // Counters come to the proxy with a tick.
        let mut said = String::new();
        let mut missing = alternatives(&command);
        until(&format!("{symptom}: {command}"), SOON, || {
            let done = run();
            said = String::from_utf8(done.stdout).unwrap();
            missing.retain(|text| !said.contains(text));
            done.status.success() && !said.is_empty() && missing.is_empty()
        });
        println!("{command}\n{said}");
    }
}

/// What a command looks for by `grep -E 'a|b'`: each of them is there when it is run.
fn alternatives(command: &str) -> Vec<String> {
    let patterns = command.split("grep -E '").skip(1);
    let each = patterns.flat_map(|rest| rest.split('\'').next().unwrap().split('|'));
    each.map(str::to_owned).collect()
}

/// A VM that has trapped: the request gets 503 without our JSON, the proxy's log says why, and
/// the next requests have a new VM.
#[test]
fn a_trap_is_told_by_the_log_and_the_next_request_has_a_new_vm() {
    let redis = Redis::default();
    let around = Around::default();
    let companion = Companion::of(&redis.url()).started();
    let setup = around.setup(companion.address, json!({}));
    let envoy = started(&setup.wasm(filter_with_hooks()));
    let edge = envoy.listener(0);
    let good = around.of_session("good");
    until("admitted", SOON, || all_are(edge, &good, 200));
    let trapped = Client::connect(edge).get("/", Some(&good), &[("x-test-trap", "1")]);
    assert_eq!((trapped.status, trapped.error().as_str()), (503, ""));
    until("the log says so", SOON, || {
        envoy.logged("Function: proxy_on_request_headers failed") > 0
    });
    until("admitted again", SOON, || all_are(edge, &good, 200));
    // Either worker may take a connection, and the new VM comes with a request to its own.
    until("the new VM is counted", SOON, || {
        let _ = all_are(edge, &good, 200);
        envoy.stats("wasm").contains("vm_reload_success: 1")
    });
}
