//! Where recorded decisions are: in Redis, or, where there is none, among the last ones of a
//! companion.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use caracal_feed::audit::reader::{Reader, Signature, Stored};
use caracal_feed::event::HmacKey;
use caracal_feed::redis::target::Target;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::decision::Decision;
use crate::addresses;
use crate::redis_options::{RedisArguments, hmac_key};
use crate::secret::secret;
use crate::terminal;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Events of one answer.
const PAGE: usize = 200;
/// Events that are looked through for one request.
const MAX_SEARCHED: usize = 200_000;
/// Events of one request that are shown: the newest.
pub(crate) const MAX_FOUND: usize = 50;
/// Largest answer of a companion: its last events have 16 MiB.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

#[derive(Args)]
pub(crate) struct SourceArguments {
    #[command(flatten)]
    redis: RedisArguments,
}

/// See the module.
pub(crate) enum Source {
    Redis {
        reader: Option<Box<Reader>>,
        target: Box<Target>,
        key: Option<HmacKey>,
        /// The place of the last event that was shown.
        place: Option<String>,
        /// Events that the key did not sign.
        unsigned: u64,
    },
    Companion {
        url: String,
        token: Option<String>,
        client: reqwest::Client,
        after: Option<u64>,
    },
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Value>,
    next: u64,
}

impl SourceArguments {
    /// Redis, or the companion that is named, or without either the one on this machine.
    pub(crate) fn source(&self, companion: Option<&str>) -> Result<Source> {
        ensure!(
            !(self.redis.is_explicit() && companion.is_some()),
            "give --redis-url or --feed, not both"
        );
        let address = match companion {
            Some(_) => None,
            None => self.redis.address()?,
        };
        if let Some(address) = address {
            return Ok(Source::Redis {
                reader: None,
                target: Box::new(address.target()?),
                key: hmac_key("AUDIT_HMAC_KEY")?,
                place: None,
                unsigned: 0,
            });
        }
        let url = addresses::http(companion.unwrap_or(addresses::LOCAL_COMPANION));
        Ok(Source::Companion {
            url: url.trim_end_matches('/').to_owned(),
            token: secret("CARACAL_FEED_TOKEN")?,
            client: reqwest::Client::builder()
                .timeout(TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build()?,
            after: None,
        })
    }
}

impl Source {
    /// Where the decisions come from, in words.
    pub(crate) fn name(&self) -> String {
        match self {
            Source::Redis { target, .. } => {
                format!("the audit stream in Redis ({})", target.name())
            }
            Source::Companion { url, .. } => {
                format!("the last decisions of the companion at {url}")
            }
        }
    }

    /// Says that nobody checks the signatures of what is shown, if that is so. A companion's
    /// own events need no check.
    pub(crate) fn warn_if_unchecked(&self) {
        if let Source::Redis { key: None, .. } = self {
            terminal::problem(
                "UNCHECKED: AUDIT_HMAC_KEY is not set, so whoever may write to the stream could have written these events",
            );
        }
    }

    /// Says how many events were passed over since the last call.
    pub(crate) fn warn_of_unsigned(&mut self) {
        if let Source::Redis { unsigned, .. } = self
            && *unsigned > 0
        {
            let count = std::mem::take(unsigned);
            terminal::problem(&format!(
                "{count} events were passed over: AUDIT_HMAC_KEY has not signed them"
            ));
        }
    }

    /// The decisions on one request, the oldest first.
    ///
    /// # Errors Redis or the companion does not answer.
    pub(crate) async fn of_request(&mut self, request_id: &str) -> Result<Vec<Decision>> {
        match self {
            Source::Redis { .. } => self.search(request_id).await,
            Source::Companion { .. } => {
                let query = form_urlencoded::Serializer::new(String::new())
                    .append_pair("request_id", request_id)
                    .append_pair("max", &MAX_FOUND.to_string())
                    .finish();
                let page = self.ask(&query).await?;
                Ok(decisions(page.events))
            }
        }
    }

    /// Redis has no index: the stream is read from its end.
    async fn search(&mut self, request_id: &str) -> Result<Vec<Decision>> {
        let (mut found, mut searched, mut place) = (Vec::new(), 0_usize, None);
        while searched < MAX_SEARCHED && found.len() < MAX_FOUND {
            let page = self.before(place.as_deref()).await?;
            let Some(last) = page.last() else { break };
            place = Some(last.place.clone());
            searched = searched.saturating_add(page.len());
            let decisions = page.into_iter().filter_map(|stored| self.good(&stored));
            found.extend(decisions.filter(|one| one.text("request_id") == request_id));
            found.truncate(MAX_FOUND);
        }
        found.reverse();
        Ok(found)
    }

    /// The newest decisions, the oldest first. [`Source::next`] goes on behind them.
    ///
    /// # Errors Redis or the companion does not answer.
    pub(crate) async fn last(&mut self, most: usize) -> Result<Vec<Decision>> {
        match self {
            Source::Redis { .. } => {
                let page = self.before(None).await?;
                if let (Source::Redis { place, .. }, first) = (&mut *self, page.first()) {
                    // A stream that is empty begins with its first event.
                    *place = Some(first.map_or_else(|| "0-0".to_owned(), |one| one.place.clone()));
                }
                let page = page.into_iter().take(most);
                let mut found: Vec<_> = page.filter_map(|stored| self.good(&stored)).collect();
                found.reverse();
                Ok(found)
            }
            Source::Companion { .. } => {
                let page = self.ask(&format!("max={}", most.max(1))).await?;
                if let Source::Companion { after, .. } = self {
                    *after = Some(page.next);
                }
                let mut found = decisions(page.events);
                Ok(found.split_off(found.len().saturating_sub(most)))
            }
        }
    }

    /// The decisions since the last call.
    ///
    /// # Errors Redis or the companion does not answer. The next call goes on from here.
    pub(crate) async fn next(&mut self) -> Result<Vec<Decision>> {
        let after = match self {
            Source::Redis { place, .. } => {
                let from = place.clone().unwrap_or_else(|| "0-0".to_owned());
                let reader = self.reader().await?;
                let page = reader.after(&from, PAGE).await;
                let page = self.or_connect_again(page)?;
                if let (Source::Redis { place, .. }, Some(last)) = (&mut *self, page.last()) {
                    *place = Some(last.place.clone());
                }
                return Ok(page.iter().filter_map(|stored| self.good(stored)).collect());
            }
            Source::Companion { after, .. } => after.unwrap_or(0),
        };
        let page = self.ask(&format!("after={after}&max={PAGE}")).await?;
        if let Source::Companion { after, .. } = self {
            *after = Some(page.next);
        }
        Ok(decisions(page.events))
    }

    async fn before(&mut self, place: Option<&str>) -> Result<Vec<Stored>> {
        let page = self.reader().await?.before(place, PAGE).await;
        self.or_connect_again(page)
    }

    async fn reader(&mut self) -> Result<&mut Reader> {
        let Source::Redis {
            reader,
            target,
            key,
            ..
        } = self
        else {
            bail!("there is no Redis");
        };
        if reader.is_none() {
            let connected = Reader::connect(target, key.clone()).await;
            *reader = Some(Box::new(connected.context("Redis does not answer")?));
        }
        reader.as_deref_mut().context("there is no Redis")
    }

    /// A connection that failed once is not used again.
    fn or_connect_again<T, E: std::error::Error + Send + Sync + 'static>(
        &mut self,
        answer: Result<T, E>,
    ) -> Result<T> {
        if let (Err(_), Source::Redis { reader, .. }) = (&answer, self) {
            *reader = None;
        }
        answer.context("Redis does not answer")
    }

    /// A decision that the key has signed, or any if there is no key.
    fn good(&mut self, stored: &Stored) -> Option<Decision> {
        if stored.signature == Signature::Bad {
            if let Source::Redis { unsigned, .. } = self {
                *unsigned = unsigned.saturating_add(1);
            }
            return None;
        }
        Decision::read(&stored.data)
    }

    async fn ask(&self, query: &str) -> Result<Page> {
        let Source::Companion {
            url, token, client, ..
        } = self
        else {
            bail!("there is no companion");
        };
        let mut request = client.get(format!("{url}/v1/audit/recent?{query}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await;
        let mut answer = answer.with_context(|| {
            format!("no companion answers at {url}: give --feed or --redis-url")
        })?;
        match answer.status().as_u16() {
            200 => {}
            401 => bail!("the companion at {url} takes another token: set CARACAL_FEED_TOKEN"),
            404 => bail!("the companion at {url} keeps no audit events: start it with --audit-dir"),
            status => bail!("the companion at {url} answers {status}"),
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .context("the companion's answer broke off")?
        {
            body.extend_from_slice(&chunk);
            ensure!(
                body.len() <= MAX_ANSWER_BYTES,
                "the companion's answer is too large"
            );
        }
        serde_json::from_slice(&body).context("the companion's answer cannot be read")
    }
}

fn decisions(events: Vec<Value>) -> Vec<Decision> {
    let read = |event: Value| Decision::read(event.to_string().as_bytes());
    events.into_iter().filter_map(read).collect()
}
