//! Follows decisions as they are made.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::decision::{Decision, heading};
use super::source::SourceArguments;
use crate::terminal::{self, Tone};

/// From one look at the source to the next.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The same while there is more.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// Longest wait between attempts to reach it.
const MAX_WAIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outcome {
    Allow,
    Deny,
}

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// Asks this companion for its last decisions, instead of Redis for all [default without
    /// Redis: http://127.0.0.1:7700]. Its token is in CARACAL_FEED_TOKEN.
    #[arg(long, value_name = "URL")]
    feed: Option<String>,
    /// Only admitted or only refused requests.
    #[arg(long, value_enum)]
    decision: Option<Outcome>,
    /// Only refusals for this reason, or with this error.
    #[arg(long)]
    reason: Option<String>,
    /// Only decisions about this resource.
    #[arg(long)]
    resource: Option<String>,
    /// Only decisions about this client (the mandate's `client_id`).
    #[arg(long)]
    client: Option<String>,
    /// How many earlier decisions are looked at first.
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u16).range(0..=200))]
    last: u16,
    /// Ends after those.
    #[arg(long)]
    no_follow: bool,
    /// Prints events as JSON lines also on a terminal. A pipe gets them always.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn wants(&self, decision: &Decision) -> bool {
        let is = |wanted: &Option<String>, text: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == text)
        };
        let outcome = self
            .decision
            .is_none_or(|wanted| decision.is_denied() == (wanted == Outcome::Deny));
        let reason = is(&self.reason, decision.reason()) || is(&self.reason, decision.code());
        outcome
            && reason
            && is(&self.resource, decision.resource())
            && is(&self.client, decision.client())
    }

    fn show(&self, decisions: &[Decision], as_table: bool) {
        for decision in decisions.iter().filter(|one| self.wants(one)) {
            if !as_table {
                terminal::json(decision.event());
                continue;
            }
            let tone = match (decision.is_denied(), decision.is_in_shadow()) {
                (true, true) => Tone::Warning,
                (true, false) => Tone::Bad,
                (false, _) => Tone::Plain,
            };
            terminal::row(&decision.row(), tone);
        }
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut source = arguments.source.source(arguments.feed.as_deref())?;
    let as_table = !arguments.json && terminal::is_terminal();
    let before = source.last(usize::from(arguments.last)).await?;
    source.warn_if_unchecked();
    source.warn_of_unsigned();
    if as_table {
        terminal::row(&heading(), Tone::Heading);
    }
    arguments.show(&before, as_table);
    if arguments.no_follow {
        return Ok(ExitCode::SUCCESS);
    }
    let mut wait = LOOK_EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
        match source.next().await {
            Ok(decisions) => {
                if wait > LOOK_EVERY {
                    terminal::problem(&format!("{} answers again", source.name()));
                }
                // A full page may not be all.
                wait = if decisions.is_empty() {
                    LOOK_EVERY
                } else {
                    LOOK_SOON
                };
                arguments.show(&decisions, as_table);
                source.warn_of_unsigned();
            }
            Err(error) => {
                if wait <= LOOK_EVERY {
                    terminal::problem(&format!("{error:#}; trying again"));
                }
                wait = wait.max(LOOK_EVERY).saturating_mul(2).min(MAX_WAIT);
            }
        }
    }
}
