//! Every snippet of README.md and of docs/ is run, every link leads somewhere, also in the
//! built book, and the pages of reference are complete.

mod book;
mod reference;

use std::path::PathBuf;
use std::process::Command;

use caracal_mandate::config::Configuration;
use caracal_tests::root;

/// The README, and all pages of docs/ by name.
fn pages() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in ["docs", "docs/reference"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.insert(0, root().join("README.md"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    };
    files.into_iter().map(read).collect()
}

/// The fenced blocks, by language, in order.
fn snippets(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let of = |(_, text): (PathBuf, String)| {
        text.split(&fence)
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    pages().into_iter().flat_map(of).collect()
}

/// A link within the repository leads to a file, and to a heading where it names one.
#[test]
fn every_link_leads_somewhere() {
    let (mut links, mut broken) = (0, Vec::new());
    let mut pages = pages();
    for path in book::listed() {
        let text = std::fs::read_to_string(&path).unwrap();
        pages.push((path, text));
    }
    for (page, text) in &pages {
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.starts_with("http") {
                continue;
            }
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            // A picture is no text.
            let is_there = (heading.is_empty() && target.exists())
                || std::fs::read_to_string(&target).is_ok_and(|text| has_heading(&text, heading));
            if !is_there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(
        links > 30 && broken.is_empty(),
        "{links} links: {broken:#?}"
    );
}

/// By the name that a heading has in a link.
fn has_heading(text: &str, name: &str) -> bool {
    let named = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    };
    name.is_empty()
        || text
            .lines()
            .any(|line| line.starts_with('#') && named(line) == name)
}

/// Every test that the bounds name is one.
#[test]
fn the_bounds_are_driven() {
    let bounds = std::fs::read_to_string(root().join("deploy/BOUNDS.md")).unwrap();
    let sources = Command::new("git")
        .args([
            "grep",
            "-h",
            "-E",
            "^ *(async )?fn [a-z0-9_]+\\(",
            "--",
            "src",
            "tests",
            "filters",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let sources = String::from_utf8(sources.stdout).unwrap();
    let mut named = 0;
    for row in bounds.lines().filter(|line| line.starts_with("| ")) {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for test in cell
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|test| test.contains('_'))
        {
            named += 1;
            assert!(
                sources.contains(&format!("fn {test}(")),
                "{test} is no test"
            );
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn only_known_kinds_of_snippets_stand_there() {
    // The rights in `acl` are given to users of a real Redis in `suites/companion`.
    // What is in `text` was printed, and is compared; `mermaid` is a picture.
    let known: usize = ["sh", "yaml", "json", "acl", "text", "mermaid"]
        .map(|l| snippets(l).len())
        .iter()
        .sum();
    let fences = pages()
        .iter()
        .map(|(_, text)| text.matches("\n```").count())
        .sum::<usize>();
    assert_eq!(fences, 2 * known);
}

/// `make test` is what runs this, and is looked up instead.
#[test]
fn the_commands_run() {
    for script in snippets("sh") {
        if script == "make test\n" {
            let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
            assert!(makefile.contains("\ntest:"));
            continue;
        }
        let said = runs(&script);
        if script.starts_with("make up") {
            is_played_with(&said);
            // Again where somebody else has the ports. Who has one already keeps it.
            let taken: Vec<_> = [7700, 7701, 7702, 10000, 9901]
                .map(|port| std::net::TcpListener::bind(("127.0.0.1", port)))
                .into();
            is_played_with(&runs(&script));
            drop(taken);
        }
        if script.starts_with("make demo") {
            // Once for each mode.
            assert_eq!(said.matches(" as expected").count(), 2, "{said}");
        }
    }
}

/// As in a shell. What cargo tells of the package under test makes build scripts of other
/// packages run again, and then half of the release build.
fn runs(script: &str) -> String {
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            shell.env_remove(name);
        }
    }
    let done = shell
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(root())
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(done.status.success(), "{script}\n{said}");
    said
}

fn is_played_with(said: &str) {
    assert!(said.contains(r#""x-caracal-sub":"user-1""#), "{said}");
    assert!(said.contains("missing_token"), "{said}");
    assert!(said.contains("session_revoked"), "{said}");
    let page = "# the companion's page, for a browser: http://127.0.0.1:";
    assert!(said.contains(page), "{said}");
}

#[test]
fn the_yaml_is_what_the_demo_runs() {
    let read = |file: &str| std::fs::read_to_string(root().join(file)).unwrap();
    let files = ["envoy.yaml", "deploy/envoy/gateway.yaml"].map(read);
    for snippet in snippets("yaml") {
        assert!(
            files.iter().any(|file| file.contains(&snippet)),
            "{snippet}"
        );
    }
}

#[test]
fn the_configurations_are_taken() {
    let found = snippets("json");
    assert!(!found.is_empty());
    for snippet in found {
        let taken = Configuration::from_json(snippet.as_bytes(), &|_| None);
        assert!(taken.is_ok(), "{taken:?}");
    }
}
