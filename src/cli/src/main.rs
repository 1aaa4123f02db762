//! `caracal-edge`: the native program beside the filter. The companion, revoking,
//! development STS and upstream, minting, configuration checks, explanations, and the
//! demo.

mod addresses;
mod audit_options;
mod check;
mod compare;
mod config_errors;
mod configured;
mod dev;
mod exit_status;
mod explain;
mod feed;
mod gateway_options;
mod guard;
mod json_position;
mod loopback;
mod mcp_options;
mod page;
mod proxy_file;
mod redis_options;
mod request_rule;
mod revoke;
mod rule_names;
mod secret;
mod serving;

mod shell;
mod sts;
mod terminal;
mod timestamps;
mod tls;
mod trail;
mod warning;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use dev::{demo, mint, stack, upstream};

#[derive(Parser)]
#[command(name = "caracal-edge", version, about = "The program beside the Caracal edge filter", long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The companion: consumes the revocation streams and serves them to filters.
    Feed(Box<feed::Arguments>),
    /// Revokes a session or a delegation edge, or raises a zone's delegation epoch.
    Revoke(revoke::Arguments),
    /// Serves development zones: their key sets, the token endpoint for agents and for the
    /// Gateway, minting and key rotation.
    Sts(sts::Arguments),
    /// Serves an upstream that answers with what it received.
    Upstream(upstream::Arguments),
    /// Mints a mandate with keys from a file, and prints it.
    Mint(mint::Arguments),
    /// Checks a filter configuration: prints every error at once, or the rules in force;
    /// or compares it with an older one.
    Check(check::Arguments),
    /// Explains a decision: the verdict, what failed, and what to change.
    Explain(Box<explain::Arguments>),
    /// Follows decisions as they are made: a table on a terminal, JSON lines in a pipe.
    Tail(trail::tail::Arguments),
    /// Starts STS, upstream and Envoy, sends good and bad requests, and prints a table of
    /// what was sent, what was expected, and what came back.
    Demo(stack::Arguments),
    /// Starts the same servers, prints curl lines that work, and runs until SIGTERM or
    /// Ctrl-C.
    Up(stack::Arguments),
    /// Prints the completions of these commands for a shell.
    Completions(shell::CompletionsArguments),
    /// Prints the manual page of this program, or writes one for each command.
    Man(shell::ManArguments),
}

/// The program's commands; each tells in its help what its exit status means.
fn program() -> clap::Command {
    let program = Arguments::command().after_help(exit_status::table());
    program.mut_subcommands(|command| match exit_status::of(command.get_name()) {
        Some(lines) => command.after_help(lines),
        None => command,
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    // The HTTP client uses the installed provider, and panics if there is none. If one is
    // already installed, that is fine too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let matches = program().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let done = match arguments.command {
        Command::Feed(arguments) => feed::run(*arguments).await,
        Command::Revoke(arguments) => revoke::run(arguments).await,
        Command::Sts(arguments) => sts::run(arguments).await,
        Command::Upstream(arguments) => upstream::run(arguments).await,
        Command::Mint(arguments) => mint::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(*arguments).await,
        Command::Tail(arguments) => trail::tail::run(arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Up(arguments) => stack::run(arguments).await,
        Command::Completions(arguments) => Ok(shell::completions(&arguments, program())),
        Command::Man(arguments) => shell::man(&arguments, program()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            terminal::problem(&format!("{error:#}"));
            exit_status::not_done()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_says_what_its_exit_status_means() {
        program().debug_assert();
        let lines = exit_status::table();
        assert!(lines.lines().all(|line| line.len() <= 90), "{lines}");
        for command in program().get_subcommands() {
            let name = command.get_name();
            assert!(command.get_after_help().is_some(), "{name}");
            assert!(
                exit_status::table().contains(&format!("\n  {name} ")),
                "{name}"
            );
        }
    }
}
