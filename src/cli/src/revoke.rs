//! Revokes: publishes an event as Caracal's control plane does, or tells a
//! companion that runs without Redis.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use caracal_feed::event::{Event, Fields, Stream};
use caracal_feed::redis::publish::publish;
use clap::Args;
use serde_json::{Value, json};

use crate::feed::{RedisArguments, hmac_key};
use crate::output;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct Arguments {
    /// A session: the claim `sid` (or `root_sid`) of its mandates.
    #[arg(long)]
    session: Option<String>,
    /// A root session, with every session under it: the claim `root_sid`.
    #[arg(long)]
    root_session: Option<String>,
    /// An agent session: the claim `agent_session_id`.
    #[arg(long)]
    agent_session: Option<String>,
    /// A delegation edge: the claim `delegation_edge_id`.
    #[arg(long)]
    edge: Option<String>,
    /// Raises the delegation epoch of --zone.
    #[arg(long, conflicts_with_all = ["session", "root_session", "agent_session", "edge"])]
    epoch: Option<u64>,
    /// The zone; it has to be named for --epoch.
    #[arg(long, env = "CARACAL_ZONE_ID")]
    zone: Option<String>,
    /// Why, for those who read the stream.
    #[arg(long, default_value = "revoked")]
    reason: String,
    #[command(flatten)]
    redis: RedisArguments,
    /// Without Redis: the companion's address.
    #[arg(long, default_value = "http://127.0.0.1:7700")]
    feed: String,
    /// The companion's bearer token.
    #[arg(long, env = "CARACAL_FEED_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Prints what was done as JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// The event's stream and fields.
    fn event(&self) -> Result<(Stream, Fields)> {
        let mut named: Vec<(&str, String)> = Vec::new();
        if let Some(zone) = &self.zone {
            named.push(("zone_id", zone.clone()));
        }
        let stream = match self.epoch {
            Some(epoch) => {
                ensure!(self.zone.is_some(), "--epoch needs --zone");
                named.push(("epoch", epoch.to_string()));
                Stream::Delegations
            }
            None => {
                named.push(("reason", self.reason.clone()));
                let anchors = [
                    ("session_id", &self.session),
                    ("root_sid", &self.root_session),
                    ("agent_session_id", &self.agent_session),
                    ("delegation_edge_id", &self.edge),
                ];
                let given = anchors
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value.clone()?)));
                named.extend(given);
                Stream::Revocations
            }
        };
        let bytes = |(name, value): (&str, String)| (name.as_bytes().to_vec(), value.into_bytes());
        Ok((stream, named.into_iter().map(bytes).collect()))
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let (stream, fields) = arguments.event()?;
    // What a consumer would refuse is not sent.
    let event = Event::read(stream, &fields, None).map_err(|why| match why {
        caracal_feed::event::Refused::InvalidDelegationEpoch => {
            anyhow::anyhow!("expected --zone and an --epoch of at most 2^63-1")
        }
        _ => anyhow::anyhow!(
            "nothing to revoke: give --session, --root-session, --agent-session, --edge, or --epoch with --zone"
        ),
    })?;
    let said = match arguments.redis.address()? {
        Some(address) => {
            let key = hmac_key()?;
            let signed = key.is_some();
            let id = publish(&address.target()?, stream, fields, key.as_ref())
                .await
                .context("Redis did not take the event")?;
            json!({"stream": stream.key(), "id": id, "signed": signed})
        }
        None => tell(&arguments, &event).await?,
    };
    if arguments.json {
        output::line(&said.to_string());
    } else {
        output::line(&match said.get("id").and_then(Value::as_str) {
            Some(id) => format!("published to {} as {id}", stream.key()),
            None => format!("in force at {}", arguments.feed),
        });
    }
    Ok(ExitCode::SUCCESS)
}

async fn tell(arguments: &Arguments, event: &Event) -> Result<Value> {
    let body = match event {
        Event::Revoked(anchors) => json!({ "anchors": anchors }),
        Event::Epoch { zone, epoch } => json!({"zone": zone, "epoch": epoch}),
    };
    let url = format!("{}/v1/revocations", arguments.feed.trim_end_matches('/'));
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
    let mut request = client.build()?.post(&url).json(&body);
    if let Some(token) = &arguments.token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.with_context(|| {
        format!("no companion answers at {url}: start one, or give --redis-url")
    })?;
    let status = answer.status();
    let said: Value = answer.json().await.unwrap_or_default();
    if !status.is_success() {
        let why = said.get("error_description").and_then(Value::as_str);
        bail!(
            "the companion answers {status}: {}",
            why.unwrap_or_default()
        );
    }
    Ok(said)
}
