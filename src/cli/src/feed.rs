//! The companion as a program: its options, its logs, its start and its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use caracal_feed::event::HmacKey;
use caracal_feed::memory::Memory;
use caracal_feed::metrics::Metrics;
use caracal_feed::redis::Consumer;
use caracal_feed::redis::target::Address;
use caracal_feed::state::State;
use caracal_feed::{Companion, api, redis};
use clap::Args;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::{loopback, output};

/// How often expired revocations leave.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// The longest that the STS makes a mandate valid (contract, "Parties").
const LIFETIME_S: u64 = 3_600;
/// Twice the largest leeway for clocks that a filter can be told.
const LEEWAY_S: u64 = 600;

/// Where Redis is, and the key of its streams.
#[derive(Args, Clone)]
pub(crate) struct RedisArguments {
    /// redis:// or rediss:// with user and password as in redis://user:pass@host:6379/0;
    /// several, with commas, for Sentinels or a cluster.
    #[arg(long, env = "REDIS_URL", value_delimiter = ',', hide_env_values = true)]
    redis_url: Vec<String>,
    /// The URLs are Sentinels'; this is the master's name. User and password are
    /// the master's.
    #[arg(long, conflicts_with = "redis_cluster")]
    redis_sentinel_master: Option<String>,
    /// The URLs are nodes of a cluster.
    #[arg(long)]
    redis_cluster: bool,
    /// CA certificates (PEM) for rediss://, instead of the system's.
    #[arg(long)]
    redis_ca_file: Option<PathBuf>,
}

impl RedisArguments {
    /// `None` without a URL.
    pub(crate) fn address(&self) -> Result<Option<Address>> {
        let urls: Vec<String> = self
            .redis_url
            .iter()
            .map(|url| url.trim().to_owned())
            .filter(|url| !url.is_empty())
            .collect();
        if urls.is_empty() {
            return Ok(None);
        }
        let address = Address {
            urls,
            sentinel_master: self.redis_sentinel_master.clone(),
            cluster: self.redis_cluster,
            ..Address::default()
        };
        address
            .with_ca_file(self.redis_ca_file.as_deref())
            .map(Some)
    }
}

/// `STREAMS_HMAC_KEY`, if it is set: hex of at least 32 bytes. No option has it,
/// because a process list shows arguments.
pub(crate) fn hmac_key() -> Result<Option<HmacKey>> {
    match std::env::var("STREAMS_HMAC_KEY") {
        Ok(text) if !text.is_empty() => HmacKey::from_hex(&text)
            .map(Some)
            .map_err(|why| anyhow::anyhow!("STREAMS_HMAC_KEY: {why}")),
        _ => Ok(None),
    }
}

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    redis: RedisArguments,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// Bearer token of /v1; required to listen beyond loopback. Better in the
    /// environment: a process list shows arguments.
    #[arg(long, env = "CARACAL_FEED_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Refuses to start without STREAMS_HMAC_KEY.
    #[arg(long)]
    require_signature: bool,
    /// The consumer group that does what must happen once.
    #[arg(long, default_value = "caracal-edge")]
    group: String,
    /// This companion's name in the group. Default: the host's name.
    #[arg(long)]
    consumer: Option<String>,
    /// Serves epochs of this zone only. Anchors have no zone.
    #[arg(long)]
    zone: Option<String>,
    /// Most revoked anchors held; beyond it filters are told nothing and refuse.
    #[arg(long, default_value_t = 4_000_000)]
    max_anchors: usize,
    /// The longest that a mandate of this STS is valid, in seconds, where the edges
    /// bound it (limits.max_lifetime_s): anchors are then kept no longer than that.
    #[arg(long, value_parser = clap::value_parser!(u64).range(60..=86_400))]
    max_lifetime_s: Option<u64>,
    /// Without Redis: keeps revocations in this file over a restart.
    #[arg(long)]
    state_file: Option<PathBuf>,
    /// Writes the address it listens on to this file once it does.
    #[arg(long)]
    address_file: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    log_as_json();
    let token = arguments.token.as_deref().filter(|token| !token.is_empty());
    ensure!(
        token.is_some() || arguments.listen.ip().is_loopback(),
        "--listen {} is not on loopback: set CARACAL_FEED_TOKEN, which filters then send as revocation.token",
        arguments.listen
    );
    let key = hmac_key()?;
    ensure!(
        key.is_some() || !arguments.require_signature,
        "--require-signature needs STREAMS_HMAC_KEY in the environment"
    );
    let address = arguments.redis.address()?;
    let (stop, stopping) = watch::channel(false);
    let companion = Companion {
        state: State::keeping(
            arguments.max_anchors,
            arguments.zone.clone(),
            retention(arguments.max_lifetime_s),
        ),
        metrics: Metrics::new()?,
        stopping,
    };
    let consumer = match &address {
        Some(address) => {
            ensure!(
                arguments.state_file.is_none(),
                "--state-file is for running without Redis"
            );
            if key.is_none() {
                tracing::warn!(
                    "STREAMS_HMAC_KEY is not set: every message on the streams counts, whoever wrote it"
                );
            }
            Some(Consumer {
                companion: companion.clone(),
                target: address.target()?,
                key,
                group: arguments.group.clone(),
                consumer: arguments.consumer.clone().unwrap_or_else(host_name),
                lifetime: Duration::from_secs(arguments.max_lifetime_s.unwrap_or(LIFETIME_S)),
            })
        }
        None => None,
    };
    let memory = match &consumer {
        Some(_) => None,
        None => Some(without_redis(&arguments, &companion)?),
    };

    let listener = loopback::bind(arguments.listen, true).await?;
    let routes = api::routes(companion.clone(), token, memory);
    let expiring = tokio::spawn(expire(companion.clone()));
    let consuming = consumer.map(|consumer| tokio::spawn(redis::run(consumer)));
    tokio::spawn(async move {
        loopback::stopped().await;
        tracing::info!("stopping: finishing what is held");
        let _ = stop.send(true);
    });
    let stopped = companion.clone();
    let served = loopback::serve_until(
        listener,
        routes,
        arguments.address_file.as_deref(),
        async move { stopped.stopped().await },
    )
    .await;
    if let Some(consuming) = consuming {
        consuming.await.context("the consumers")?;
    }
    expiring.abort();
    served.map(|()| ExitCode::SUCCESS)
}

/// How long a revocation is kept where mandates live no longer than that.
fn retention(lifetime_s: Option<u64>) -> Duration {
    lifetime_s.map_or(caracal_feed::RETENTION, |lifetime| {
        Duration::from_secs(lifetime.saturating_add(LEEWAY_S))
    })
}

fn without_redis(arguments: &Arguments, companion: &Companion) -> Result<Arc<Memory>> {
    let memory = Memory::open(arguments.state_file.clone(), &companion.state)?;
    companion.state.stand_alone();
    tracing::warn!(
        "no Redis URL: this state is not shared with anybody; for development only (--redis-url)"
    );
    Ok(Arc::new(memory))
}

async fn expire(companion: Companion) {
    let mut every = tokio::time::interval(EXPIRE_EVERY);
    loop {
        every.tick().await;
        while companion.state.expire() {
            tokio::task::yield_now().await;
        }
    }
}

/// One object for each line, on standard error; `RUST_LOG` chooses.
fn log_as_json() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logging = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
    if logging.is_err() {
        output::problem("there is a logger already");
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| format!("companion-{}", std::process::id()))
}
