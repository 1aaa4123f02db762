//! Gateway mode of the companion, as options and the environment say.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use caracal_feed::audit::Audit;
use caracal_feed::exchange::signature::GatewayKey;
use caracal_feed::exchange::{Address, Settings};
use caracal_feed::redis::target::Target;
use clap::Args;

use crate::redis_options::certificates;
use crate::secret::secret;

/// Longest `--sts-timeout-ms`: with the wait for Redis it has to end before requests
/// under way are cut at the companion's end.
const MAX_TIMEOUT_MS: u64 = 7_000;

/// Gateway mode.
#[derive(Args, Clone)]
pub(crate) struct GatewayArguments {
    /// Gateway mode: exchanges one-shot mandates at the STS (POST /v1/exchange), signed
    /// with GATEWAY_STS_HMAC_KEY, or the key in the file that GATEWAY_STS_HMAC_KEY_FILE
    /// names.
    #[arg(long)]
    gateway: bool,
    /// Where it exchanges: the STS's base URL. Also CARACAL_STS_URL.
    #[arg(long, requires = "gateway")]
    sts_url: Option<String>,
    /// Takes an http:// STS beyond loopback: mandates and credentials cross the network in
    /// the clear.
    #[arg(long, requires = "gateway")]
    allow_insecure_sts: bool,
    /// CA certificates (PEM) of the STS, instead of the system's.
    #[arg(long, requires = "gateway")]
    sts_ca_file: Option<PathBuf>,
    /// Longest wait for the STS's answer, in milliseconds [default: 5000].
    #[arg(long, requires = "gateway", value_parser = clap::value_parser!(u64).range(50..=MAX_TIMEOUT_MS))]
    sts_timeout_ms: Option<u64>,
    /// Most exchanges at once; more are answered 503 and use no mandate up [default: 256].
    #[arg(long, requires = "gateway", value_parser = clap::value_parser!(u16).range(1..))]
    max_exchanges: Option<u16>,
}

impl GatewayArguments {
    pub(crate) fn is_on(&self) -> bool {
        self.gateway
    }

    /// Where the STS is; `None` without `--gateway`. The key is read in Gateway mode
    /// alone: nobody else has to hold it.
    ///
    /// # Errors
    /// Something is missing or cannot be used.
    pub(crate) fn address(&self) -> Result<Option<Address>> {
        if !self.gateway {
            return Ok(None);
        }
        let url = match &self.sts_url {
            Some(url) => Some(url.clone()),
            None => secret("CARACAL_STS_URL")?,
        };
        let url = url.context("--gateway needs --sts-url or CARACAL_STS_URL")?;
        self.check(&url)?;
        let key = secret("GATEWAY_STS_HMAC_KEY")?.context(
            "--gateway needs GATEWAY_STS_HMAC_KEY, or the file that GATEWAY_STS_HMAC_KEY_FILE names",
        )?;
        let key = GatewayKey::from_hex(&key)
            .map_err(|why| anyhow::anyhow!("GATEWAY_STS_HMAC_KEY: {why}"))?;
        let timeout = Duration::from_millis(self.sts_timeout_ms.unwrap_or(5_000));
        Ok(Some(Address {
            url,
            key,
            timeout,
            ca: certificates("--sts-ca-file", self.sts_ca_file.as_deref())?,
        }))
    }

    /// A mandate in the clear can be read and used by others.
    fn check(&self, url: &str) -> Result<()> {
        let what = "--sts-url: expected http:// or https://, a host, and at most a path";
        let parsed = reqwest::Url::parse(url).ok().context(what)?;
        let host = parsed.host_str().context(what)?;
        ensure!(
            parsed.username().is_empty()
                && parsed.password().is_none()
                && parsed.query().is_none()
                && parsed.fragment().is_none(),
            what
        );
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let is_loopback = host == "localhost" || address.is_ok_and(|ip| ip.is_loopback());
        match parsed.scheme() {
            "https" => ensure!(
                !self.allow_insecure_sts,
                "--allow-insecure-sts has no effect: the STS's URL begins with https://"
            ),
            "http" if is_loopback || self.allow_insecure_sts => {}
            "http" => bail!(
                "--sts-url: http:// beyond loopback shows mandates and credentials to the network: use https://, or add --allow-insecure-sts"
            ),
            _ => bail!(what),
        }
        ensure!(
            parsed.scheme() == "https" || self.sts_ca_file.is_none(),
            "--sts-ca-file has no effect: the STS's URL begins with http://"
        );
        Ok(())
    }

    pub(crate) fn settings(
        &self,
        sts: Address,
        redis: Option<Target>,
        zone: Option<String>,
        audit: Option<Arc<Audit>>,
    ) -> Settings {
        Settings {
            sts,
            redis,
            at_once: self.max_exchanges.unwrap_or(256).into(),
            zone,
            audit,
        }
    }
}
