//! What the exit status of each command means: one table, which `--help` prints.

use std::process::ExitCode;

/// The answer is no.
const NO: u8 = 1;
/// There is no answer. clap ends with the same for an option that it does not know.
const NOT_DONE: u8 = 2;

/// What the statuses 0 and 1 mean for one command.
struct Meaning {
    command: &'static str,
    yes: &'static str,
    /// None where a command has no question to answer with no.
    no: Option<&'static str>,
}

const fn meaning(command: &'static str, yes: &'static str, no: Option<&'static str>) -> Meaning {
    Meaning { command, yes, no }
}

const MEANINGS: [Meaning; 12] = [
    meaning("feed", "told to stop", None),
    meaning(
        "revoke",
        "published, or in force",
        Some("published, and not in force within --wait"),
    ),
    meaning("sts", "told to stop", None),
    meaning("upstream", "told to stop", None),
    meaning("mint", "printed", None),
    meaning(
        "check",
        "filters start, all is guarded",
        Some("not so, or --against admits less"),
    ),
    meaning(
        "explain",
        "the edge admits or answers it",
        Some("the edge refuses it"),
    ),
    meaning("tail", "told to stop, or all is shown", None),
    meaning("demo", "all as expected", Some("something differs")),
    meaning("up", "told to stop", None),
    meaning("completions", "printed", None),
    meaning("man", "printed or written", None),
];

const ALWAYS_NOT_DONE: &str =
    "not done: a bad option, an input that cannot be read, a server that does not answer";

/// 0 or 1.
pub(crate) fn answer(is_yes: bool) -> ExitCode {
    match is_yes {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NO),
    }
}

/// What was asked could not be answered or done.
pub(crate) fn not_done() -> ExitCode {
    ExitCode::from(NOT_DONE)
}

/// The lines of one command, for its `--help`.
pub(crate) fn of(command: &str) -> Option<String> {
    let meaning = MEANINGS.iter().find(|one| one.command == command)?;
    let no = meaning.no.map(|no| format!("  1  {no}\n"));
    Some(format!(
        "Exit status:\n  0  {}\n{}  2  {ALWAYS_NOT_DONE}",
        meaning.yes,
        no.unwrap_or_default()
    ))
}

/// The table of all commands, for the program's `--help`.
pub(crate) fn table() -> String {
    let wide = |text: fn(&Meaning) -> &str| MEANINGS.iter().map(|one| text(one).len()).max();
    let command = wide(|one| one.command).unwrap_or_default();
    let yes = wide(|one| one.yes).unwrap_or_default();
    let mut lines = vec![
        "Exit status:".to_owned(),
        "  0  done, or the answer is yes".to_owned(),
        "  1  the answer is no".to_owned(),
        format!("  2  {ALWAYS_NOT_DONE}"),
        String::new(),
        format!("  {:command$}  {:yes$}  1", "command", "0"),
    ];
    lines.extend(MEANINGS.iter().map(|one| {
        format!(
            "  {:command$}  {:yes$}  {}",
            one.command,
            one.yes,
            one.no.unwrap_or("-")
        )
    }));
    lines.join("\n")
}
