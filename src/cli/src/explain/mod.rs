//! Explains a decision: every check with what it compared, the reply, and what to change.
//! The verdict comes from the core, with the code that the filter runs.

mod advice;
mod case;
mod dependencies;
mod expectation;
mod found;
mod gateway;
mod mcp;
pub(crate) mod pasted;
mod public_reply;
mod report;
mod request;
mod required_claims;
mod row;
mod shown_values;
mod subject;
mod token_origin;
mod unconfigured;
mod zone;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use caracal_mandate::config::{Configuration, Mode, Revocation};
use caracal_mandate::decision::explain::{Check, Outcome, TokenCheck, Trace, Traced};
use caracal_mandate::decision::verifier::Verifier;
use caracal_mandate::token::claims::Claims;
use clap::Args;

use self::case::Case;
use self::dependencies::{Keys, Revocations};
use self::report::Report;
use self::request::RequestArguments;
use self::subject::Subject;
use crate::configured::{self, read_file};
use crate::secret::secret;
use crate::trail::recorded;
use crate::trail::source::SourceArguments;
use crate::{exit_status, terminal, timestamps};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The filter's configuration: a JSON object, or an Envoy, Kong, nginx or APISIX
    /// file that it stands in; `-` reads standard input.
    #[arg(required_unless_present = "request_id")]
    config: Option<PathBuf>,
    /// Which filter, where the file has several.
    #[arg(long)]
    filter: Option<String>,
    /// Instead of a request: the id of one that was decided. Its audit events are explained,
    /// from Redis or from a companion.
    #[arg(long, value_name = "ID", conflicts_with_all = ["path", "request", "headers", "host", "resource", "token_file", "claims", "key_set", "revoked", "epoch", "at", "all"])]
    request_id: Option<String>,
    #[command(flatten)]
    recorded: SourceArguments,
    #[command(flatten)]
    request: RequestArguments,
    /// The zone's key set: a file, a URL, or an STS's address. Without it: where the edge
    /// gets it from.
    #[arg(long, value_name = "FILE|URL")]
    key_set: Option<String>,
    /// A companion to ask what is revoked, with the token in CARACAL_FEED_TOKEN. With
    /// --request-id: the companion whose last decisions are looked through, instead of Redis
    /// [default without Redis: http://127.0.0.1:7700].
    #[arg(long, value_name = "URL", conflicts_with_all = ["revoked", "epoch"])]
    feed: Option<String>,
    /// A revoked session or delegation edge; may be given often.
    #[arg(long, value_name = "ANCHOR")]
    revoked: Vec<String>,
    /// The zone's delegation epoch.
    #[arg(long)]
    epoch: Option<u64>,
    /// When: Unix seconds or RFC 3339. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Shows every check, not only those that failed, would fail or could not be made.
    #[arg(long)]
    all: bool,
    /// Prints the result as JSON, with every check.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let configuration = arguments.configuration()?;
    if let Some(id) = &arguments.request_id {
        let (source, feed) = (&arguments.recorded, arguments.feed.as_deref());
        let known = configuration.as_ref();
        return recorded::explain(id, source, feed, known, arguments.json).await;
    }
    let configuration = configuration.context("the configuration is missing")?;
    let case = Case {
        verifier: Verifier::from(&configuration),
        at: match &arguments.at {
            Some(text) => timestamps::parse(text)?,
            None => timestamps::now()?,
        },
        request: arguments.request.read()?,
        claims: match &arguments.request.claims {
            Some(file) => Some(read_file(file)?),
            None => None,
        },
    };
    if let Some(reply) = public_reply::of(&case) {
        reply.print(arguments.json);
        return Ok(exit_status::answer(true));
    }
    let mut revocations = arguments.revocations(&configuration)?;
    let key_set = arguments.key_set.as_deref();
    let (mut trace, keys) = traced(&configuration, &case, key_set, &revocations).await?;
    if let (Traced::NeedsRevocations, Some(feed), Some(claims)) =
        (&trace.verdict, &arguments.feed, &trace.claims)
    {
        let anchors = anchors(claims);
        let token = secret("CARACAL_FEED_TOKEN")?;
        revocations = Revocations::ask(
            feed,
            token.as_deref(),
            &anchors,
            claims.zone_id.as_deref().unwrap_or_default(),
            &configuration,
        )
        .await;
        trace = case.trace(keys.as_ref(), &revocations);
    }
    trace.verdict = of_mode(&configuration, &case, trace.verdict);
    let keys = keys.as_ref();
    let subject = Subject::new(&configuration, &case, &trace, keys, &revocations)?;
    let report = Report::new(&subject)?;
    match arguments.json {
        true => terminal::line(&report.json().to_string()),
        false => report.print(arguments.all),
    }
    Ok(report
        .admits()
        .map_or_else(exit_status::not_done, exit_status::answer))
}

/// The configuration that stands in a file.
pub(crate) fn configuration_in(file: &Path, filter: Option<&str>) -> Result<Configuration> {
    let source = configured::read_one(file, filter)?;
    let errors = match source.configuration() {
        Ok(configuration) => return Ok(configuration),
        Err(errors) => errors,
    };
    for error in &errors {
        terminal::problem(&format!("{}: {error}", file.display()));
    }
    bail!("with this configuration the filter does not start");
}

impl Arguments {
    /// None without a file.
    fn configuration(&self) -> Result<Option<Configuration>> {
        let file = self.config.as_deref();
        let configuration = file.map(|file| configuration_in(file, self.filter.as_deref()));
        configuration.transpose()
    }

    fn revocations(&self, configuration: &Configuration) -> Result<Revocations> {
        let given = !self.revoked.is_empty() || self.epoch.is_some();
        if let Revocation::Disabled(_) = configuration.revocation {
            ensure!(
                !given && self.feed.is_none(),
                "the configuration disables revocation: --feed, --revoked and --epoch would change nothing"
            );
            return Ok(Revocations::Disabled);
        }
        Ok(match &self.feed {
            Some(_) => Revocations::Pending,
            None if given => Revocations::Given {
                revoked: self.revoked.clone(),
                epoch: self.epoch.unwrap_or(0),
            },
            None => Revocations::NotAsked,
        })
    }
}

/// The decision, with the key set if a check needs it.
async fn traced(
    configuration: &Configuration,
    case: &Case,
    key_set: Option<&str>,
    revocations: &Revocations,
) -> Result<(Trace, Option<Keys>)> {
    let trace = case.trace(None, revocations);
    if !needs_keys(&trace) {
        return Ok((trace, None));
    }
    let zone = zone::of(configuration, case.payload().as_ref());
    let zone = zone.context("the configuration has no zone")?;
    let keys = Keys::get(key_set, configuration, &zone).await?;
    Ok((case.trace(Some(&keys), revocations), Some(keys)))
}

/// The verdict, with what the configuration's mode checks besides.
fn of_mode(configuration: &Configuration, case: &Case, verdict: Traced) -> Traced {
    match configuration.mode {
        Mode::Gateway => gateway::before_exchange(verdict, &case.request),
        Mode::Connector => verdict,
    }
}

fn needs_keys(trace: &Trace) -> bool {
    let key_set = Check::Token(TokenCheck::KeySet);
    trace
        .checks
        .iter()
        .any(|(check, outcome)| *check == key_set && matches!(outcome, Outcome::Failed(_)))
}

/// What a revocation can name.
fn anchors(claims: &Claims) -> Vec<String> {
    let optional = [&claims.agent_session_id, &claims.delegation_edge_id];
    let optional = optional
        .into_iter()
        .filter_map(|shape| shape.as_ref().ok().cloned().flatten());
    [claims.sid.clone(), claims.root_sid.clone()]
        .into_iter()
        .chain(optional)
        .collect()
}
