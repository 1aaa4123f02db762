//! An option that is given wins over its variable, in every command.

use std::process::{Command, Stdio};

use caracal_tests::processes::{Companion, folder};
use serde_json::Value;

use super::{Running, commands, help, program, stderr, stdout};

/// The variables that the help names as defaults of options, with their option.
fn documented() -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for command in commands() {
        let help = help(&[&command]);
        let mut option = String::new();
        for line in help.lines() {
            let words = line.split_whitespace();
            if let Some(name) = words.clone().find(|word| word.starts_with("--")) {
                let is_first = words.clone().next() == Some(name);
                option = if is_first { name.to_owned() } else { option };
            }
            if let Some(variable) = line.split("[env: ").nth(1) {
                let end = variable.find(['=', ']']).unwrap();
                let variable = variable.split_at(end).0.to_owned();
                all.push((command.clone(), option.clone(), variable));
            }
        }
    }
    all
}

#[test]
fn an_option_that_is_given_wins_over_its_variable() {
    let folder = folder("environment");
    let keys = folder.join("keys.json");
    let keys = keys.to_str().unwrap();
    drop(Running::start(&folder, &["sts", "--keys", keys]));
    let mut walked = Vec::new();
    for (command, option, variable) in documented() {
        let run = |arguments: &[&str], from_environment: &str| {
            let done = program()
                .arg(&command)
                .args(arguments)
                .env(&variable, from_environment)
                .output()
                .unwrap();
            (stdout(&done), stderr(&done))
        };
        match (command.as_str(), option.as_str()) {
            ("mint", "--issuer" | "--zone") => {
                let claim = if option == "--zone" { "zone_id" } else { "iss" };
                let (other, own) = ("https://other.example", "https://own.example");
                let claims = |more: &[&str]| {
                    let given = [&["--keys", keys, "--json"], more].concat();
                    let said: Value = serde_json::from_str(&run(&given, other).0).unwrap();
                    said["claims"][claim].clone()
                };
                assert_eq!(claims(&[]), other);
                assert_eq!(claims(&[&option, own]), own);
            }
            ("revoke", "--zone") => {
                // With the variable alone it has a zone, with an empty option it has none.
                let epoch = ["--epoch", "1", "--feed", "127.0.0.1:1"];
                assert!(run(&epoch, "z").1.contains("no companion answers"));
                let emptied = [&epoch[..], &["--zone", ""]].concat();
                assert!(!run(&emptied, "z").1.contains("no companion answers"));
            }
            ("sts", "--zone") => {
                let said = |more: &[&str]| {
                    let listen = ["--listen", "127.0.0.1:0", "--address-file", "/proc/none"];
                    run(&[&listen[..], more].concat(), "of-environment").0
                };
                assert!(said(&[]).contains("zone of-environment"));
                assert!(said(&["--zone", "of-option"]).contains("zone of-option"));
            }
            ("demo" | "up", "--envoy") => {
                let run_dir = folder.join("run");
                let given = ["--run-dir", run_dir.to_str().unwrap()];
                assert!(run(&given, "/of-environment").1.contains("/of-environment"));
                let both = [&given[..], &["--envoy", "/of-option"]].concat();
                assert!(run(&both, "/of-environment").1.contains("/of-option"));
            }
            other => panic!("{other:?} and {variable}: add what shows that the option wins"),
        }
        walked.push(command);
    }
    assert!(walked.len() >= 5, "{walked:?}");
}

/// Variables that hold secrets or addresses are read by the program itself.
#[test]
fn an_option_wins_over_a_variable_that_no_help_shows() {
    let companion = Companion::new(&["--in-memory"])
        .environment("CARACAL_FEED_TOKEN", "right")
        .started();
    let feed = companion.address.to_string();
    let revoke = |session: &str, more: &[&str], environment: &[(&str, &str)]| {
        let done = program()
            .args(["revoke", "--session", session, "--feed", &feed])
            .args(more)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        (done.status.code(), stderr(&done))
    };
    let wrong = [("CARACAL_FEED_TOKEN", "wrong")];
    assert_eq!(revoke("a", &[], &wrong).0, Some(2));
    let (code, said) = revoke("a", &["--token", "right"], &wrong);
    assert_eq!(code, Some(0), "{said}");
    let elsewhere = [
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("CARACAL_FEED_TOKEN", "right"),
    ];
    let (code, said) = revoke("b", &[], &elsewhere);
    assert_eq!(code, Some(0), "{said}");
    // The same variable in a file, for every command that asks a companion.
    let folder = folder("token-file");
    let token = super::file(&folder, "token", "right\n");
    let (code, said) = revoke("c", &[], &[("CARACAL_FEED_TOKEN_FILE", token.as_str())]);
    assert_eq!(code, Some(0), "{said}");

    let mut own = Companion::new(&["--in-memory", "--token", "of-option"])
        .environment("CARACAL_FEED_TOKEN", "of-environment");
    own.start();
    let asked = |token: &str| {
        own.post("/v1/check", &serde_json::json!({}), Some(token))
            .status
    };
    assert_eq!((asked("of-option"), asked("of-environment")), (200, 401));
}

#[test]
fn make_up_says_at_once_that_one_is_running() {
    let folder = folder("make-up");
    std::fs::create_dir_all(folder.join("run")).unwrap();
    let mut running = Running::start(&folder, &["upstream"]);
    let pid = running.child.id().to_string();
    super::file(&folder, "run/pid", &pid);
    let make = |target: &str| {
        Command::new("make")
            .arg("-f")
            .arg(caracal_tests::root().join("Makefile"))
            .arg(target)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let done = make("up");
    assert!(!done.status.success());
    assert_eq!(
        stdout(&done),
        "already running: make down\n",
        "{}",
        stderr(&done)
    );
    // Until somebody waits for it, it is still a process.
    let ended = std::thread::spawn(move || running.child.wait().unwrap().code());
    let done = make("down");
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(ended.join().unwrap(), Some(0));
    assert!(!folder.join("run/pid").exists());
    // Another process may have got its number since.
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    super::file(&folder, "run/pid", &other.id().to_string());
    let done = make("down");
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(other.try_wait().unwrap(), None, "it was killed");
    other.kill().unwrap();
    other.wait().unwrap();
}
