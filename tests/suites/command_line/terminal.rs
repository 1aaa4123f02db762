//! Colour, width and progress are for a terminal; a pipe gets plain lines.

use std::process::Command;

use caracal_tests::root;

use super::{binary, call, stdout};

/// Runs the program on a terminal of this width, and gives back what was written to it.
const ON_TERMINAL: &str = r#"
import fcntl, os, pty, struct, sys, termios
width = int(sys.argv[1])
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
while True:
    try:
        read = os.read(terminal, 65536)
    except OSError:
        break
    if not read:
        break
    sys.stdout.buffer.write(read)
os.waitpid(child, 0)
"#;

fn on_terminal(width: usize, environment: &[(&str, &str)], arguments: &[&str]) -> String {
    // The width is set before the program asks for it.
    let late = ["sh", "-c", "sleep 0.2; exec \"$@\"", "sh"];
    let done = Command::new("python3")
        .args(["-c", ON_TERMINAL, &width.to_string(), "/bin/sh"])
        .args(&late[1..])
        .arg(binary())
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("TERM", "xterm")
        .envs(environment.iter().copied())
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        done.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    stdout(&done).replace("\r\n", "\n")
}

/// Without what colours it.
fn bare(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut bare = parts.next().unwrap().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        bare.push_str(&part[end + 1..]);
    }
    bare
}

// Two calls of it print the same time.
const EXPLAIN: [&str; 6] = [
    "explain",
    "envoy.yaml",
    "--path",
    "/invoices",
    "--at",
    "1767225600",
];

#[test]
fn a_terminal_gets_colour_and_lines_that_fit() {
    let said = on_terminal(60, &[], &EXPLAIN);
    let first = said.lines().next().unwrap();
    assert!(
        first.starts_with("\u{1b}[1m\u{1b}[31mThe edge refuses: 401"),
        "{said}"
    );
    let plain = bare(&said);
    let long: Vec<&str> = plain.lines().filter(|line| line.len() > 60).collect();
    // A word is never broken, so that it can be copied.
    assert!(
        long.iter().all(|line| !line.trim().contains(' ')),
        "{long:#?}"
    );
    let wide = bare(&on_terminal(300, &[], &EXPLAIN));
    assert!(wide.lines().count() < plain.lines().count(), "{wide}");
    // Words are the same.
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&wide), words(&plain));
}

#[test]
fn no_color_leaves_colours_out_and_the_width_in() {
    let said = on_terminal(60, &[("NO_COLOR", "1")], &EXPLAIN);
    assert!(!said.contains('\u{1b}'), "{said}");
    assert_eq!(said, bare(&on_terminal(60, &[], &EXPLAIN)));
}

#[test]
fn a_pipe_gets_plain_lines_as_they_are() {
    let piped = Command::new(binary())
        .args(EXPLAIN)
        .env_clear()
        .env("TERM", "xterm")
        .current_dir(root())
        .output()
        .unwrap();
    let said = stdout(&piped);
    assert!(
        !said.contains('\u{1b}') && piped.stderr.is_empty(),
        "{said}"
    );
    let wide = bare(&on_terminal(2_000, &[], &EXPLAIN));
    assert_eq!(said, wide);
    // JSON and tokens are never broken, on a terminal neither.
    let json = on_terminal(40, &[], &["check", "envoy.yaml", "--json"]);
    assert!(
        serde_json::from_str::<serde_json::Value>(&json).is_ok(),
        "{json}"
    );
    assert!(!stdout(&call(&["--help"])).contains('\u{1b}'));
}

#[test]
fn what_is_waited_for_is_shown_on_a_terminal_and_cleared_again() {
    let address = caracal_tests::processes::free_address().to_string();
    let wait = ["revoke", "--session", "s", "--feed", &address];
    let said = on_terminal(100, &[], &wait);
    let progress = format!("\r\u{1b}[Ktelling the companion at http://{address} ...");
    assert!(said.contains(&progress), "{said:?}");
    let behind = said.split(&progress).nth(1).unwrap();
    assert!(behind.starts_with("\r\u{1b}[K"), "{said:?}");
    for environment in [("TERM", "dumb"), ("NO_COLOR", "1")] {
        let said = on_terminal(100, &[environment], &wait);
        let expects = environment.0 == "NO_COLOR";
        assert_eq!(said.contains("telling the companion"), expects, "{said:?}");
    }
}
