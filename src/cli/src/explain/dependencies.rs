//! What a decision depends on besides the request: the zone's key set, and what is
//! revoked. Both are fetched only when a check needs them, as at an edge.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use caracal_feed::state::State;
use caracal_feed::state::page::NoPage;
use caracal_mandate::config::{AcceptedZone, Configuration, Revocation};
use caracal_mandate::jwks::key_set::{KeySet, MAX_DOCUMENT_BYTES};
use caracal_mandate::revocation::{AnchorId, Availability, RevocationView};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::configured::read_file;
use crate::{addresses, terminal};

/// Longest wait for the companion.
const FEED_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer of the companion, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What a revocation can name in a payload.
pub(super) const ANCHORS: [&str; 4] = ["sid", "root_sid", "agent_session_id", "delegation_edge_id"];
/// The edge's description while it knows nothing of revocations.
const UNREAD: &str = "The revocation state has not been read yet";

/// A key set, or why there is none.
pub(crate) struct Keys {
    /// Where it comes from.
    pub(crate) from: String,
    pub(crate) set: Result<KeySet, String>,
}

impl Keys {
    /// Reads it from a file or a URL, or else from where the edge fetches it.
    pub(crate) async fn get(
        given: Option<&str>,
        configuration: &Configuration,
        zone: &AcceptedZone,
    ) -> Result<Self> {
        let (from, is_url) = match given {
            None => (edge_url(zone), true),
            Some(given) if is_url(given) => (key_set_url(given, zone), true),
            Some(file) => (file.to_owned(), false),
        };
        let document = if is_url {
            terminal::progress(&format!("asking {from} for the key set"));
            fetch(&from, Duration::from_millis(zone.jwks.timeout_ms)).await
        } else {
            Ok(read_file(Path::new(&from))?)
        };
        let set = document.and_then(|document| {
            KeySet::parse(&document, &configuration.algorithms).map_err(|why| why.to_string())
        });
        Ok(Keys { from, set })
    }
}

/// Whether it is no file's name. A file that is there is meant, whatever its name is.
fn is_url(given: &str) -> bool {
    given.contains("://") || (addresses::is_host_and_port(given) && !Path::new(given).exists())
}

/// An STS that is named alone is asked as the edge asks its own.
fn key_set_url(given: &str, zone: &AcceptedZone) -> String {
    let url = addresses::http(given);
    match addresses::has_no_path(&url) {
        true => format!("{}{}", url.trim_end_matches('/'), zone.jwks_target().path),
        false => url,
    }
}

/// Where the edge gets a zone's key set from.
pub(crate) fn edge_url(zone: &AcceptedZone) -> String {
    let target = zone.jwks_target();
    format!("{}://{}{}", target.scheme, target.authority, target.path)
}

fn client(timeout: Duration) -> Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .timeout(timeout)
        // A proxy's callout follows no redirects.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    client.build().context("no client can be made")
}

/// What went wrong with a request, down to the cause, without the URL.
fn causes(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::new(error.without_url()))
}

async fn fetch(url: &str, timeout: Duration) -> Result<Vec<u8>, String> {
    let client = client(timeout).map_err(|why| format!("{why:#}"))?;
    let answer = client.get(url).send().await.map_err(causes)?;
    if answer.status().as_u16() != 200 {
        return Err(format!("the STS answers {}", answer.status().as_u16()));
    }
    body(answer, MAX_DOCUMENT_BYTES).await
}

async fn body(mut answer: reqwest::Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(causes)? {
        body.extend_from_slice(&chunk);
        if body.len() > most {
            return Err(format!("the answer is over {most} bytes"));
        }
    }
    Ok(body)
}

/// What is known about revocations.
pub(crate) enum Revocations {
    /// The configuration disables them.
    Disabled,
    /// No companion was named, and nothing was given.
    NotAsked,
    /// The companion will be asked when a check needs it.
    Pending,
    /// Given by flags.
    Given { revoked: Vec<String>, epoch: u64 },
    /// A companion's answer.
    Answered(Answer),
    /// The companion gave no usable answer.
    Unavailable {
        why: String,
        /// The edge's description.
        reply: &'static str,
    },
}

/// The answer to `POST /v1/check`.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) revoked: Vec<String>,
    pub(crate) epoch: u64,
    pub(crate) confirmed_age_ms: u64,
}

impl Revocations {
    /// Asks a companion about a mandate's anchors.
    pub(crate) async fn ask(
        feed: &str,
        token: Option<&str>,
        anchors: &[String],
        zone: &str,
        configuration: &Configuration,
    ) -> Self {
        let answer = match check(feed, token, anchors, zone).await {
            Ok(answer) => answer,
            Err(why) => {
                return Revocations::Unavailable {
                    why: format!("{why:#}"),
                    reply: UNREAD,
                };
            }
        };
        Revocations::young(answer, configuration)
    }

    /// What a companion's own state says of the anchors and the zone in a payload, which
    /// nobody may have signed. Anchors of other types than text are none.
    pub(super) fn of_state(
        state: &State,
        payload: Option<&Value>,
        configuration: Option<&Configuration>,
    ) -> Self {
        if let Some(Revocation::Disabled(_)) = configuration.map(|known| &known.revocation) {
            return Revocations::Disabled;
        }
        let claim = |name: &str| Some(payload?.get(name)?.as_str()?.to_owned());
        let anchors: Vec<String> = ANCHORS.iter().filter_map(|name| claim(name)).collect();
        let zone = claim("zone_id").unwrap_or_default();
        if state.only_zone().is_some_and(|only| only != zone) {
            return Revocations::Unavailable {
                why: "the companion keeps the delegation epochs of another zone only (--zone)"
                    .to_owned(),
                reply: UNREAD,
            };
        }
        match state.check(&anchors, &zone) {
            Ok((revoked, epoch, confirmed_age_ms)) => {
                let revoked = revoked.into_iter().map(str::to_owned).collect();
                let answer = Answer {
                    revoked,
                    epoch,
                    confirmed_age_ms,
                };
                match configuration {
                    Some(known) => Revocations::young(answer, known),
                    None => Revocations::Answered(answer),
                }
            }
            Err(NoPage::NotReady(why)) => Revocations::Unavailable {
                why: why.to_owned(),
                reply: UNREAD,
            },
            Err(NoPage::Gone(_) | NoPage::Behind) => Revocations::NotAsked,
        }
    }

    /// An answer, unless it is older than the edge accepts.
    fn young(answer: Answer, configuration: &Configuration) -> Self {
        match &configuration.revocation {
            Revocation::Feed(settings)
                if answer.confirmed_age_ms > settings.max_staleness_s.saturating_mul(1_000) =>
            {
                let why = format!("it is {} ms old", answer.confirmed_age_ms);
                let reply = "The revocation state is too old";
                Revocations::Unavailable { why, reply }
            }
            _ => Revocations::Answered(answer),
        }
    }

    /// The anchors among these that are revoked.
    pub(crate) fn revoked(&self) -> &[String] {
        match self {
            Revocations::Given { revoked, .. } => revoked,
            Revocations::Answered(answer) => &answer.revoked,
            _ => &[],
        }
    }
}

async fn check(feed: &str, token: Option<&str>, anchors: &[String], zone: &str) -> Result<Answer> {
    let feed = addresses::http(feed);
    let url = format!("{}/v1/check", feed.trim_end_matches('/'));
    terminal::progress(&format!("asking the companion at {feed}"));
    let body_sent = json!({"anchors": anchors, "zone": zone});
    let mut request = client(FEED_TIMEOUT)?.post(url).json(&body_sent);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request
        .send()
        .await
        .map_err(|e| anyhow::anyhow!(causes(e)))?;
    let status = answer.status();
    if !status.is_success() {
        let why = if status.as_u16() == 401 {
            ": CARACAL_FEED_TOKEN is not its token"
        } else {
            ""
        };
        bail!("the companion answers {}{why}", status.as_u16());
    }
    let body = body(answer, MAX_ANSWER_BYTES)
        .await
        .map_err(anyhow::Error::msg)?;
    serde_json::from_slice(&body).context("the companion's answer cannot be read")
}

impl RevocationView for Revocations {
    fn availability(&self) -> Availability {
        match self {
            Revocations::Pending => Availability::Pending,
            Revocations::Unavailable { reply, .. } => Availability::Unavailable(reply),
            _ => Availability::Ready,
        }
    }

    fn is_revoked(&self, anchor: AnchorId) -> bool {
        self.revoked().iter().any(|one| AnchorId::of(one) == anchor)
    }

    fn delegation_epoch(&self) -> u64 {
        match self {
            Revocations::Given { epoch, .. } => *epoch,
            Revocations::Answered(answer) => answer.epoch,
            _ => 0,
        }
    }
}
