//! What holds for every command of `caracal-edge`: names of options, exit statuses, errors
//! of a configuration, the environment, the terminal, completions and manual pages.

mod addresses;
mod config_errors;
mod environment;
mod exit_statuses;
mod shell;
mod terminal;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use caracal_tests::processes::until;
use caracal_tests::root;

/// The program in an environment of its own, so that nothing of the caller's is in it.
fn program() -> Command {
    let mut command = Command::new(binary());
    command.env_clear();
    command
}

fn binary() -> PathBuf {
    root().join("dist/caracal-edge")
}

fn call(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn call_with_input(arguments: &[&str], input: &str) -> Output {
    let piped = Stdio::piped;
    let mut command = program();
    command.args(arguments);
    command.stdin(piped()).stdout(piped()).stderr(piped());
    let mut child = command.spawn().unwrap();
    // It may have ended before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(done: &Output) -> String {
    String::from_utf8(done.stdout.clone()).unwrap()
}

fn stderr(done: &Output) -> String {
    String::from_utf8(done.stderr.clone()).unwrap()
}

fn help(command: &[&str]) -> String {
    stdout(&call(&[command, &["--help"]].concat()))
}

/// The commands, as the program lists them.
fn commands() -> Vec<String> {
    let whole = help(&[]);
    let listed = whole.split("Commands:\n").nth(1).unwrap();
    let listed = listed.lines().take_while(|line| !line.is_empty());
    // What a description goes on in is further to the right.
    let begins = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = begins.filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    assert!(names.len() >= 11, "{names:?}");
    names
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A server of this program; stopped when dropped.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let file = folder.join(format!("address-of-{}", arguments[0]));
        let child = program()
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--address-file"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        until("it listens", Duration::from_secs(10), || {
            address = fs::read_to_string(&file).unwrap_or_default();
            !address.is_empty()
        });
        Running { child, address }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The option's name and what stands behind it, as in `--host <HOST>`.
fn option_of(command: &str, option: &str) -> Option<String> {
    let help = help(&[command]);
    let of_option = |line: &&str| {
        let line = line.trim_start();
        let name = line.trim_start_matches("-h, ");
        name.split([' ', '=']).next() == Some(option)
    };
    let line = help.lines().find(of_option)?.trim().to_owned();
    Some(line.split("  ").next().unwrap().to_owned())
}

#[test]
fn a_request_is_described_by_the_same_options_everywhere() {
    for option in ["--path", "--method", "--host", "--resource"] {
        let of_check = option_of("check", option);
        assert!(of_check.is_some(), "{option}");
        assert_eq!(of_check, option_of("explain", option), "{option}");
    }
}

#[test]
fn private_keys_and_key_sets_have_options_of_their_own() {
    for command in commands() {
        let help = help(&[&command]);
        let keys = option_of(&command, "--keys").is_some();
        assert_eq!(keys, ["sts", "mint"].contains(&command.as_str()), "{help}");
        let key_set = option_of(&command, "--key-set").is_some();
        assert_eq!(key_set, command == "explain", "{help}");
    }
    let done = call(&[
        "explain",
        "envoy.yaml",
        "--path",
        "/",
        "--keys",
        "keys.json",
    ]);
    assert_eq!(done.status.code(), Some(2));
    assert!(stderr(&done).contains("--key-set"), "{}", stderr(&done));
}
