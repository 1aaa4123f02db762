//! Revokes: publishes an event as Caracal's control plane does, or asks a companion that
//! runs without Redis.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use caracal_feed::event::{Event, Fields, Stream};
use caracal_feed::redis::publish::publish;
use clap::Args;
use serde_json::{Value, json};

use crate::redis_options::{RedisArguments, hmac_key};
use crate::secret::secret;
use crate::{addresses, exit_status, terminal};

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
    /// The zone; required for --epoch.
    #[arg(long, env = "CARACAL_ZONE_ID")]
    zone: Option<String>,
    /// The reason, for readers of the stream.
    #[arg(long, default_value = "revoked")]
    reason: String,
    #[command(flatten)]
    redis: RedisArguments,
    /// Without Redis: the companion's address; with --wait: the companion that is asked
    /// [default: http://127.0.0.1:7700]. Given here it wins over REDIS_URL.
    #[arg(long, value_name = "URL")]
    feed: Option<String>,
    /// The companion's bearer token. Better in CARACAL_FEED_TOKEN, or in the file that
    /// CARACAL_FEED_TOKEN_FILE names: a process list shows arguments.
    #[arg(long)]
    token: Option<String>,
    /// Waits until the revocation is in force at the companion, at most this many
    /// seconds; 10 if no number is given.
    #[arg(long, num_args = 0..=1, default_missing_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: Option<u64>,
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
    // An event that a consumer would refuse is not sent.
    let event = Event::read(stream, &fields, None).map_err(|why| match why {
        caracal_feed::event::Refused::InvalidDelegationEpoch => {
            anyhow::anyhow!("expected --zone and an --epoch of at most 2^63-1")
        }
        _ => anyhow::anyhow!(
            "nothing to revoke: give --session, --root-session, --agent-session, --edge, or --epoch with --zone"
        ),
    })?;
    let explicit = arguments.redis.is_explicit();
    ensure!(
        !(explicit && arguments.feed.is_some() && arguments.wait.is_none()),
        "--redis-url publishes to Redis, and --feed asks a companion without Redis: use only one of them, or add --wait"
    );
    // An option wins over the environment.
    let address = match &arguments.feed {
        Some(_) if !explicit => None,
        _ => arguments.redis.address()?,
    };
    let feed = Feed::of(&arguments)?;
    let mut said = match address {
        Some(address) => {
            let key = hmac_key("STREAMS_HMAC_KEY")?;
            let signed = key.is_some();
            if !signed {
                terminal::problem(
                    "UNSIGNED: STREAMS_HMAC_KEY is not set. Companions and connectors that have a key refuse this event",
                );
            }
            terminal::progress("publishing to Redis");
            let id = publish(&address.target()?, stream, fields, key.as_ref())
                .await
                .context("Redis did not accept the event")?;
            json!({"stream": stream.key(), "id": id, "signed": signed})
        }
        None => tell(&feed, &event).await?,
    };
    let in_force = format!("in force at {}", feed.url);
    if !arguments.json {
        terminal::line(&match said.get("id").and_then(Value::as_str) {
            Some(id) => format!("published to {} as {id}", stream.key()),
            None => in_force.clone(),
        });
    }
    let mut is_in_force = true;
    if let Some(seconds) = arguments.wait {
        terminal::progress(&format!("waiting for {} to know it", feed.url));
        let why_not = feed.wait(&event, Duration::from_secs(seconds)).await?;
        is_in_force = why_not.is_none();
        if let Some(said) = said.as_object_mut() {
            said.insert("in_force".to_owned(), json!(is_in_force));
        }
        match why_not {
            Some(why) => terminal::problem(&format!("not {in_force} within {seconds} s: {why}")),
            None if arguments.json => {}
            None => terminal::line(&in_force),
        }
    }
    if arguments.json {
        terminal::line(&said.to_string());
    }
    Ok(exit_status::answer(is_in_force))
}

/// The companion that is asked.
struct Feed {
    url: String,
    token: Option<String>,
    client: reqwest::Client,
}

impl Feed {
    fn of(arguments: &Arguments) -> Result<Self> {
        let url = addresses::http(
            arguments
                .feed
                .as_deref()
                .unwrap_or(addresses::LOCAL_COMPANION),
        );
        Ok(Feed {
            url: url.trim_end_matches('/').to_owned(),
            token: match &arguments.token {
                Some(token) => Some(token.clone()),
                None => secret("CARACAL_FEED_TOKEN")?,
            },
            client: reqwest::Client::builder()
                .timeout(TIMEOUT)
                .no_proxy()
                .build()?,
        })
    }

    async fn post(&self, path: &str, body: &Value) -> Result<reqwest::Response> {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.post(&url).json(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await.with_context(|| {
            format!("no companion answers at {url}: start one, or give --redis-url")
        })
    }

    /// Asks until the event is in force; says why it is not where that takes too long.
    async fn wait(&self, event: &Event, longest: Duration) -> Result<Option<String>> {
        let question = match event {
            Event::Revoked(anchors) => json!({"anchors": anchors, "zone": ""}),
            Event::Epoch { zone, .. } => json!({"anchors": [], "zone": zone}),
        };
        let since = Instant::now();
        loop {
            let why = match self.post("/v1/check", &question).await {
                Err(error) => format!("{error:#}"),
                Ok(answer) if !answer.status().is_success() => {
                    let status = answer.status();
                    ensure!(
                        status.as_u16() != 401,
                        "the companion at {} does not accept this token: use --token or CARACAL_FEED_TOKEN",
                        self.url
                    );
                    format!("the companion answers {status}")
                }
                Ok(answer) => {
                    let said: Value = answer.json().await.unwrap_or_default();
                    if is_in_force(event, &said) {
                        return Ok(None);
                    }
                    "the companion does not know it yet".to_owned()
                }
            };
            if since.elapsed() >= longest {
                return Ok(Some(why));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn is_in_force(event: &Event, said: &Value) -> bool {
    match event {
        Event::Revoked(anchors) => {
            let revoked = said.get("revoked").and_then(Value::as_array);
            revoked.is_some_and(|revoked| {
                anchors
                    .iter()
                    .all(|anchor| revoked.iter().any(|known| known == anchor.as_str()))
            })
        }
        Event::Epoch { epoch, .. } => {
            let known = said.get("epoch").and_then(Value::as_u64);
            known.is_some_and(|known| known >= *epoch)
        }
    }
}

async fn tell(feed: &Feed, event: &Event) -> Result<Value> {
    let body = match event {
        Event::Revoked(anchors) => json!({ "anchors": anchors }),
        Event::Epoch { zone, epoch } => json!({"zone": zone, "epoch": epoch}),
    };
    terminal::progress(&format!("telling the companion at {}", feed.url));
    let answer = feed.post("/v1/revocations", &body).await?;
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
