//! Completions and manual pages, made from the commands themselves.

use std::process::Command;

use caracal_tests::processes::folder;

use super::{call, commands, file, stderr, stdout};

#[test]
fn completions_are_scripts_that_know_every_command() {
    let folder = folder("completions");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&call(&["completions", shell]));
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
        assert!(script.contains("key-set"), "{shell}");
    }
    let script = stdout(&call(&["completions", "bash"]));
    let file = file(&folder, "completions", &script);
    let read = Command::new("bash").args(["-n", &file]).output().unwrap();
    assert!(read.status.success(), "{}", stderr(&read));
    // As bash itself asks for what may follow.
    let asks = format!(
        "source {file}; set -- $(complete -p caracal-edge); while [ \"$1\" != -F ]; do shift; done
        COMP_WORDS=(caracal-edge expl); COMP_CWORD=1
        \"$2\" caracal-edge expl caracal-edge; echo \"${{COMPREPLY[@]}}\""
    );
    let done = Command::new("bash").args(["-c", &asks]).output().unwrap();
    assert_eq!(stdout(&done), "explain\n", "{}", stderr(&done));
}

#[test]
fn there_is_a_manual_page_for_the_program_and_each_command() {
    let folder = folder("man");
    let pages = folder.join("man1");
    let done = call(&["man", pages.to_str().unwrap()]);
    assert!(done.status.success(), "{}", stderr(&done));
    let read = |name: String| std::fs::read_to_string(pages.join(&name)).unwrap_or_default();
    for command in commands() {
        let page = read(format!("caracal-edge-{command}.1"));
        assert!(page.contains(".TH"), "{command}");
        assert!(page.contains("Exit status:"), "{command}");
    }
    let whole = read("caracal-edge.1".to_owned());
    assert_eq!(stdout(&call(&["man"])).trim_end(), whole.trim_end());
    let explain = read("caracal-edge-explain.1".to_owned());
    assert!(explain.contains("\\-\\-key\\-set"), "{explain}");
}
