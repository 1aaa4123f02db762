//! `caracal-edge`: the native program beside the filter. The companion, revoking,
//! development STS and upstream, minting, configuration checks, explanations, and the
//! demo.

mod check;
mod compare;
mod configured;
mod demo;
mod envoy;
mod explain;
mod feed;
mod gateway_options;
mod guard;
mod keys;
mod loopback;
mod mint;
mod moment;
mod output;
mod place;
mod redis_options;
mod request_rule;
mod revoke;
mod secret;
mod serving;
mod shadowed;
mod stack;
mod sts;
mod tls;
mod upstream;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "caracal-edge", version, about = "The program beside the Caracal edge filter", long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The companion: consumes the revocation streams and serves them to filters.
    Feed(feed::Arguments),
    /// Revokes a session or a delegation edge, or raises a zone's delegation epoch.
    Revoke(revoke::Arguments),
    /// Serves development zones: their key sets, the token endpoint for agents and for the
    /// Gateway, minting and key rotation.
    Sts(sts::Arguments),
    /// Serves an upstream that answers with what reached it.
    Upstream(upstream::Arguments),
    /// Mints a mandate with keys from a file, and prints it.
    Mint(mint::Arguments),
    /// Checks a filter configuration: every error at once, or what will be in force;
    /// or compares it with an older one.
    Check(check::Arguments),
    /// Explains a decision: every check, the reply, and what to change. Exits with 0
    /// when the edge admits, 1 when it refuses, 2 when it could not be judged.
    Explain(Box<explain::Arguments>),
    /// Starts STS, upstream and Envoy, sends what an integrator should confirm,
    /// and prints a table of what was sent, expected and got.
    Demo(stack::Arguments),
    /// Starts the same, prints curl lines that work, and runs until it is told
    /// to stop (SIGTERM or Ctrl-C).
    Up(stack::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    // The HTTP client takes whichever is installed, and panics where none is. Installed
    // already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match Arguments::parse().command {
        Command::Feed(arguments) => feed::run(arguments).await,
        Command::Revoke(arguments) => revoke::run(arguments).await,
        Command::Sts(arguments) => sts::run(arguments).await,
        Command::Upstream(arguments) => upstream::run(arguments).await,
        Command::Mint(arguments) => mint::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(*arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Up(arguments) => stack::run(arguments).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            output::problem(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
