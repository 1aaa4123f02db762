//! Development zones: their key sets and the token endpoint as Caracal's STS serves them,
//! and, under `/dev`, what a test or a person needs to play with them.
//!
//! `zone` has the keys. `token` is the endpoint: `form` reads what it is sent, `gateway`
//! answers the Gateway, `agent` an application, `refusal` says no. `policy` is what a file
//! allows, `coordinator` starts `sessions`, `state` is what all of them share, `dev` the
//! rest.

mod agent;
mod clock;
mod coordinator;
mod dev;
mod form;
mod gateway;
mod policy;
mod refusal;
mod sessions;
mod state;
mod token;
mod zone;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, delete, get, post};
use caracal_feed::exchange::signature::{GatewayKey, TOKEN_PATH};
use clap::Args;

pub(crate) use policy::{DEMO_PROVIDER_TOKEN, DEMO_SECRET};
pub(crate) use zone::{Order, Zone};

use crate::dev::mint::DEMO_ZONE;
use crate::secret::secret;
use crate::{loopback, terminal};
use policy::Source;
use state::Sts;

/// Largest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// The Gateway's key where none is given. Everybody knows it: for development only.
pub(crate) const DEVELOPMENT_KEY: &str =
    "646576656c6f706d656e74206b6579206f66206361726163616c2d656467652e2e";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7701")]
    listen: SocketAddr,
    /// Listens beyond loopback, where anybody who reaches it can mint.
    #[arg(long)]
    allow_remote: bool,
    /// A zone that it is the STS of; may be given often.
    #[arg(long, env = "CARACAL_ZONE_ID", default_value = DEMO_ZONE)]
    zone: Vec<String>,
    /// Keeps the first zone's private keys here (made when missing, mode 0600), and those
    /// of further zones beside it, as in keys.2.json; without it they live in memory.
    #[arg(long)]
    keys: Option<PathBuf>,
    /// Applications, resources and decisions (JSON), read again for each exchange; without
    /// it those of the demo. Exchanges are signed with GATEWAY_STS_HMAC_KEY, or with a
    /// development key that is printed.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Writes the address it listens on to this file once it does.
    #[arg(long)]
    address_file: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let listener = loopback::bind(arguments.listen, arguments.allow_remote).await?;
    let issuer = format!("http://{}", listener.local_addr()?);
    terminal::line(&format!(
        "development STS of zone {}: never let a real verifier trust it",
        arguments.zone.join(", ")
    ));
    let mut zones: Vec<Arc<Zone>> = Vec::new();
    for (n, zone) in arguments.zone.iter().enumerate() {
        ensure!(
            zones.iter().all(|other| other.id() != zone),
            "--zone {zone} is given twice"
        );
        let keys = arguments.keys.as_ref().map(|file| match n {
            0 => file.clone(),
            _ => file.with_extension(format!("{}.json", n.saturating_add(1))),
        });
        zones.push(Zone::new(issuer.clone(), zone.clone(), keys)?);
    }
    let key = match secret("GATEWAY_STS_HMAC_KEY")? {
        Some(key) => gateway_key(&key)?,
        None => {
            terminal::line(&format!("GATEWAY_STS_HMAC_KEY={DEVELOPMENT_KEY}"));
            gateway_key(DEVELOPMENT_KEY)?
        }
    };
    let policy = Source::new(arguments.policy);
    policy.read()?;
    let sts = Sts::new(zones, policy, key);
    loopback::serve(listener, routes(sts), arguments.address_file.as_deref()).await?;
    Ok(ExitCode::SUCCESS)
}

fn gateway_key(text: &str) -> Result<GatewayKey> {
    GatewayKey::from_hex(text).map_err(|why| anyhow::anyhow!("GATEWAY_STS_HMAC_KEY: {why}"))
}

/// The endpoints of one zone, with the demo's policy and the development key.
///
/// # Errors
/// None: the key is one.
pub(crate) fn routes_of(zone: &Arc<Zone>) -> Result<Router> {
    let key = gateway_key(DEVELOPMENT_KEY).context("the development key")?;
    let zones = vec![Arc::clone(zone)];
    Ok(routes(Sts::new(zones, Source::new(None), key)))
}

fn routes(sts: Arc<Sts>) -> Router {
    Router::new()
        .route("/.well-known/jwks.json", get(dev::key_set))
        .route(TOKEN_PATH, any(token::exchange))
        .route("/zones/{zone}/agents", post(coordinator::start))
        .route("/zones/{zone}/agents/{session}", delete(coordinator::end))
        .route("/zones/{zone}/delegations", post(coordinator::delegate))
        .route("/dev/mint", post(dev::mint))
        .route("/dev/rotate", post(dev::rotate))
        .route("/dev/stats", get(dev::stats))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(sts)
}
