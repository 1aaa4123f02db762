//! What a shell and `man` are given about this program's commands.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::terminal;

#[derive(Args)]
pub(crate) struct CompletionsArguments {
    /// The shell that completes. `source <(caracal-edge completions bash)` tries it.
    shell: Shell,
}

#[derive(Args)]
pub(crate) struct ManArguments {
    /// The folder that gets a page for the program and one for each command. Without it,
    /// the program's page is printed.
    directory: Option<PathBuf>,
}

pub(crate) fn completions(arguments: &CompletionsArguments, mut program: Command) -> ExitCode {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, name, &mut script);
    terminal::line(String::from_utf8_lossy(&script).trim_end());
    ExitCode::SUCCESS
}

pub(crate) fn man(arguments: &ManArguments, program: Command) -> Result<ExitCode> {
    let program = program.disable_help_subcommand(true);
    match &arguments.directory {
        Some(directory) => {
            let what = || format!("cannot write to {}", directory.display());
            std::fs::create_dir_all(directory).with_context(what)?;
            clap_mangen::generate_to(program, directory).with_context(what)?;
        }
        None => {
            let mut page = Vec::new();
            Man::new(program).render(&mut page)?;
            terminal::line(String::from_utf8_lossy(&page).trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}
