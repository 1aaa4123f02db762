//! 0 is done or yes, 1 is no, 2 is not done; `--help` has the table.

use std::process::Stdio;

use caracal_tests::processes::{Redis, folder, free_address};
use serde_json::json;

use super::{call, call_with_input, commands, file, help, program, stderr};

#[test]
fn every_command_is_in_the_table_and_says_its_own_part() {
    let whole = help(&[]);
    let table = whole.split("Exit status:").nth(1).unwrap();
    for command in commands() {
        let row = table.lines().find(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(command.as_str())
        });
        let row = row.unwrap_or_else(|| panic!("{command} is not in the table: {table}"));
        let own = help(&[&command]);
        let own = own.split("Exit status:").nth(1).unwrap();
        let has_no = own.lines().any(|line| line.trim_start().starts_with("1 "));
        assert_eq!(has_no, !row.trim_end().ends_with(" -"), "{command}: {own}");
        assert!(own.contains("2  not done"), "{command}: {own}");
    }
}

#[test]
fn what_cannot_be_done_ends_with_2() {
    let nobody = free_address().to_string();
    let nothing = "/nothing/at/all";
    for arguments in [
        &["feed"][..],
        &["feed", "--in-memory", "--listen", "192.0.2.1:1"],
        &["revoke"],
        &["revoke", "--session", "s", "--feed", &nobody],
        &["revoke", "--session", "s", "--redis-url", &nobody],
        &["sts", "--listen", "192.0.2.1:1"],
        &["upstream", "--listen", "192.0.2.1:1"],
        &["mint", "--keys", nothing],
        &["check", nothing],
        &["check", nothing, "--against", nothing],
        &["explain", nothing, "--path", "/"],
        &["demo", "--envoy", nothing, "--run-dir", "/proc/none"],
        &["up", "--envoy", nothing, "--run-dir", "/proc/none"],
        &["completions", "none"],
        &["man", "/proc/none"],
        &["none"],
    ] {
        let done = call(arguments);
        let said = stderr(&done);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(!said.is_empty(), "{arguments:?}");
        // A bad option is clap's to say.
        let begins = ["caracal-edge: ", "error: ", "{\""];
        assert!(begins.iter().any(|words| said.starts_with(words)), "{said}");
    }
}

#[test]
fn the_answer_no_is_1_and_yes_is_0() {
    let folder = folder("statuses");
    let good = json!({
        "issuer": "https://sts.example.com", "zone_id": "z", "audience": "a",
        "jwks": {"upstream": "sts"}, "revocation": "disabled", "exclude": ["/open"],
    });
    let mut wider = good.clone();
    wider["exclude"] = json!(["/open", "/more"]);
    let (old, new) = (
        file(&folder, "good.json", &good.to_string()),
        file(&folder, "wider.json", &wider.to_string()),
    );
    let redis = Redis::default();
    let url = redis.url();
    let nobody = free_address().to_string();
    let revoke = ["revoke", "--session", "s", "--redis-url", &url];
    for (arguments, status) in [
        (vec!["check", &old], 0),
        (vec!["check", &new, "--against", &old], 1),
        (vec!["check", &old, "--against", &old], 0),
        (vec!["explain", &old, "--path", "/open"], 0),
        (vec!["explain", &old, "--path", "/closed"], 1),
        (revoke.to_vec(), 0),
        (
            [&revoke[..], &["--wait", "1", "--feed", &nobody]].concat(),
            1,
        ),
        (vec!["man"], 0),
        (vec!["completions", "bash"], 0),
        (vec!["--help"], 0),
    ] {
        let done = call(&arguments);
        let said = stderr(&done);
        assert_eq!(done.status.code(), Some(status), "{arguments:?}: {said}");
    }
    let done = call_with_input(&["check", "-"], r#"{"issuer": 1}"#);
    assert_eq!(done.status.code(), Some(1));
}

#[test]
fn a_server_that_is_told_to_stop_ends_with_0() {
    let folder = folder("stopped");
    for command in [&["feed", "--in-memory"][..], &["sts"], &["upstream"]] {
        let address = folder.join(command[0]);
        let mut child = program()
            .args(command)
            .args(["--listen", "127.0.0.1:0", "--address-file"])
            .arg(&address)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let within = std::time::Duration::from_secs(10);
        caracal_tests::processes::until("it listens", within, || address.exists());
        let pid = child.id().to_string();
        let sent = std::process::Command::new("kill").arg(&pid).status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{command:?}");
    }
}
