//! The companion as a program: its options, its logs, its start and its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use caracal_feed::audit::Audit;
use caracal_feed::exchange::Exchange;
use caracal_feed::memory::Memory;
use caracal_feed::metrics::Metrics;
use caracal_feed::redis::Consumer;
use caracal_feed::redis::target::Address;
use caracal_feed::state::State;
use caracal_feed::token::Token;
use caracal_feed::{Companion, api, redis};
use clap::Args;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::audit_options::AuditArguments;
use crate::gateway_options::GatewayArguments;
use crate::page::{self, PageArguments};
use crate::redis_options::{RedisArguments, hmac_key};
use crate::secret::secret;
use crate::tls::Tls;
use crate::{loopback, serving, terminal};

/// The consumer group, unless another is named.
const GROUP: &str = "caracal-edge";
/// How often expired revocations are removed.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// The longest time for which the STS issues mandates (contract, "Parties").
const LIFETIME_S: u64 = 3_600;
/// Twice the largest clock skew that a filter can be configured with.
const LEEWAY_S: u64 = 600;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    redis: RedisArguments,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// Bearer token of /v1; required to listen beyond loopback. Better in
    /// CARACAL_FEED_TOKEN, or in the file that CARACAL_FEED_TOKEN_FILE names: a process
    /// list shows arguments.
    #[arg(long)]
    token: Option<String>,
    /// The API's certificate, followed by the intermediate ones (PEM). The API is then
    /// served over TLS. The file is read again within 30 seconds when it changes, and at
    /// once on SIGHUP.
    #[arg(long)]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM).
    #[arg(long)]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    gateway: GatewayArguments,
    #[command(flatten)]
    audit: AuditArguments,
    #[command(flatten)]
    page: PageArguments,
    /// Does not start without STREAMS_HMAC_KEY.
    #[arg(long)]
    require_signature: bool,
    /// Runs without Redis, for development. Revocations come through its own API, and no
    /// other companion knows them.
    #[arg(long)]
    in_memory: bool,
    /// The consumer group, which shares the work that must be done once [default:
    /// caracal-edge].
    #[arg(long)]
    group: Option<String>,
    /// This companion's name in the group. Default: the host's name.
    #[arg(long)]
    consumer: Option<String>,
    /// Serves epochs of this zone only. Anchors have no zone.
    #[arg(long)]
    zone: Option<String>,
    /// Most revoked anchors. With more, the companion serves nothing, and filters refuse
    /// requests.
    #[arg(long, default_value_t = 4_000_000, value_parser = at_least_one)]
    max_anchors: usize,
    /// The longest time that a mandate of this STS is valid, in seconds. The companion
    /// cannot check it: set it only if the STS keeps to it. Anchors are then kept for
    /// that time and ten minutes more [default: 3600, and anchors are kept for 24 hours].
    #[arg(long, value_parser = clap::value_parser!(u64).range(60..=86_400))]
    max_lifetime_s: Option<u64>,
    /// Without Redis: keeps revocations in this file over a restart.
    #[arg(long)]
    state_file: Option<PathBuf>,
    /// What is logged: error, warn, info, debug or trace [default: as RUST_LOG says, which
    /// chooses by module; without it, info].
    #[arg(long)]
    log_level: Option<tracing::Level>,
    /// Writes the address it listens on to this file once it does.
    #[arg(long)]
    address_file: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    log_as_json(arguments.log_level);
    let token = match &arguments.token {
        Some(token) => Some(token.clone()),
        None => secret("CARACAL_FEED_TOKEN")?,
    };
    ensure!(
        token.as_deref() != Some(""),
        "--token is empty: give it a value, or leave it out"
    );
    let token = token.as_deref().map(Token::of);
    let key = hmac_key("STREAMS_HMAC_KEY")?;
    let address = arguments.redis.address()?;
    check(
        &arguments,
        address.is_some(),
        token.is_some(),
        key.is_some(),
    )?;
    let sts = arguments.gateway.address()?;
    let tls = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls::start(certificate.clone(), key.clone())?),
        (None, None) => None,
        (Some(_), None) => bail!("--tls-cert needs --tls-key"),
        (None, Some(_)) => bail!("--tls-key needs --tls-cert"),
    };
    if tls.is_none() && !arguments.listen.ip().is_loopback() {
        tracing::warn!(
            "--listen {} is not on loopback, so the token would cross the network unencrypted: give --tls-cert and --tls-key",
            arguments.listen
        );
    }
    let (stop, stopping) = watch::channel(false);
    let companion = Companion {
        state: State::keeping(
            arguments.max_anchors,
            arguments.zone.clone(),
            retention(arguments.max_lifetime_s),
        ),
        metrics: Metrics::new()?,
        edges: Arc::default(),
        stopping,
    };
    let page = arguments.page.page(&companion)?;
    let target = address.as_ref().map(Address::target).transpose()?;
    let consumer = match &target {
        Some(target) => {
            if key.is_none() {
                tracing::warn!(
                    "STREAMS_HMAC_KEY is not set: every message on the streams is accepted, whoever wrote it"
                );
            }
            Some(Consumer {
                companion: companion.clone(),
                target: target.clone(),
                key,
                group: arguments.group.clone().unwrap_or_else(|| GROUP.to_owned()),
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

    serving::raise_descriptors();
    let listener = loopback::bind(arguments.listen, true).await?;
    let audit = arguments.audit.settings(target.as_ref(), token.is_some())?;
    let audit = audit.map(|settings| Audit::start(&companion, settings));
    let audit = audit.transpose()?;
    let gateway = match sts {
        Some(sts) => Some(Exchange::start(
            companion.clone(),
            arguments
                .gateway
                .settings(sts, target, arguments.zone.clone(), audit.clone()),
        )?),
        None => None,
    };
    let parts = api::Parts {
        memory,
        gateway,
        audit: audit.clone(),
    };
    let at = listener.local_addr()?.ip();
    let page = page::routes(page, audit.clone(), token.clone(), at);
    let routes = api::routes(companion.clone(), token, parts).merge(page);
    let expiring = tokio::spawn(expire(companion.clone()));
    let consuming = consumer.map(|consumer| tokio::spawn(redis::run(consumer)));
    let told_to_stop = loopback::stopped();
    tokio::spawn(async move {
        told_to_stop.await;
        tracing::info!("stopping: finishing messages that are under way");
        let _ = stop.send(true);
    });
    let stopped = companion.clone();
    let served = serving::serve(
        listener,
        tls,
        routes,
        arguments.address_file.as_deref(),
        async move { stopped.stopped().await },
    )
    .await;
    if let Some(consuming) = consuming {
        consuming.await.context("the consumers")?;
    }
    // Requests under way have been answered by now.
    if let Some(audit) = audit {
        audit.end().await;
    }
    expiring.abort();
    served.map(|()| ExitCode::SUCCESS)
}

/// How long a revocation is kept if mandates live no longer than this.
fn retention(lifetime_s: Option<u64>) -> Duration {
    lifetime_s.map_or(caracal_feed::RETENTION, |lifetime| {
        Duration::from_secs(lifetime.saturating_add(LEEWAY_S))
    })
}

/// Refuses settings with which the companion would be useless, or weaker than intended:
/// an empty state that is served as a complete one admits what was revoked.
fn check(arguments: &Arguments, redis: bool, token: bool, key: bool) -> Result<()> {
    let listen = arguments.listen;
    ensure!(
        token || listen.ip().is_loopback(),
        "--listen {listen} is not on loopback: set CARACAL_FEED_TOKEN, which filters then send as revocation.token"
    );
    if arguments.gateway.is_on() {
        ensure!(
            listen.ip().is_loopback() || arguments.tls_cert.is_some(),
            "--listen {listen} is not on loopback, and an exchange answers with credentials: give --tls-cert and --tls-key"
        );
        ensure!(
            redis || arguments.in_memory,
            "--gateway notes used mandates in Redis: give --redis-url or REDIS_URL; or --in-memory, for development"
        );
    }
    if redis {
        ensure!(
            key || !arguments.require_signature,
            "--require-signature needs STREAMS_HMAC_KEY in the environment"
        );
        ensure!(
            !arguments.in_memory,
            "--in-memory works only without Redis: leave it out, or unset REDIS_URL"
        );
        ensure!(
            arguments.state_file.is_none(),
            "--state-file works only without Redis"
        );
        return Ok(());
    }
    ensure!(
        arguments.in_memory || arguments.state_file.is_some(),
        "no Redis: give --redis-url or REDIS_URL; or --in-memory for development, which knows only revocations from its own API"
    );
    let idle = [
        ("--require-signature", arguments.require_signature),
        ("--group", arguments.group.is_some()),
        ("--consumer", arguments.consumer.is_some()),
        ("STREAMS_HMAC_KEY", key),
        ("--listen beyond loopback", !listen.ip().is_loopback()),
    ];
    let idle = idle.into_iter().find(|(_, given)| *given);
    ensure!(
        idle.is_none(),
        "{} needs Redis: give --redis-url or REDIS_URL",
        idle.map_or("", |(name, _)| name)
    );
    Ok(())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("0 would refuse everything".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("expected a whole number from 1".to_owned()),
    }
}

fn without_redis(arguments: &Arguments, companion: &Companion) -> Result<Arc<Memory>> {
    let memory = Memory::open(arguments.state_file.clone(), &companion.state)?;
    companion.state.stand_alone();
    tracing::warn!(
        "without Redis: revocations are not shared; for development only (use --redis-url)"
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

/// One object for each line, on standard error.
fn log_as_json(level: Option<tracing::Level>) {
    let filter = match level {
        Some(level) => EnvFilter::new(level.to_string()),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    };
    let logging = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
    if logging.is_err() {
        terminal::problem("there is a logger already");
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
