//! Servers whose wall clock is wrong.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::processes::folder;

/// Makes a program's wall clock wrong by so many seconds.
pub fn skewed(command: &mut Command, seconds: i64) {
    if seconds != 0 {
        command.env("LD_PRELOAD", library());
        command.env("CLOCK_SKEW_S", seconds.to_string());
    }
}

/// Compiled once for each run of a suite.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = folder("skew").join("skew.so");
        let source = crate::root().join("tests/redis_topology/skew.c");
        let made = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status();
        assert!(made.is_ok_and(|made| made.success()), "cc makes skew.so");
        library
    })
}
