//! The address of Redis and the key of its streams, from options and the environment.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use caracal_feed::event::HmacKey;
use caracal_feed::redis::target::Address;
use clap::Args;

use crate::addresses;
use crate::secret::secret;

/// Where Redis is.
#[derive(Args, Clone)]
pub(crate) struct RedisArguments {
    /// redis:// or rediss:// with user and password as in redis://user:pass@host:6379/0
    /// (without a scheme: redis:// on loopback, rediss:// elsewhere); several, with commas, for Sentinels or a cluster. Better in REDIS_URL, or in the
    /// file that REDIS_URL_FILE names: a process list shows arguments.
    #[arg(long, value_delimiter = ',')]
    redis_url: Vec<String>,
    /// The name of the master. The URLs are then those of Sentinels; user, password,
    /// database and scheme in them are for the master.
    #[arg(long, conflicts_with = "redis_cluster")]
    redis_sentinel_master: Option<String>,
    /// The user for the Sentinels. Their password is in REDIS_SENTINEL_PASSWORD, or in
    /// the file that REDIS_SENTINEL_PASSWORD_FILE names.
    #[arg(long)]
    redis_sentinel_user: Option<String>,
    /// Whether the Sentinels use TLS [default: as the URLs' scheme says].
    #[arg(long)]
    redis_sentinel_tls: Option<bool>,
    /// CA certificates (PEM) of the Sentinels [default: those of --redis-ca-file].
    #[arg(long)]
    redis_sentinel_ca_file: Option<PathBuf>,
    /// The URLs are nodes of a cluster.
    #[arg(long)]
    redis_cluster: bool,
    /// CA certificates (PEM) for rediss://, instead of the system's.
    #[arg(long)]
    redis_ca_file: Option<PathBuf>,
}

impl RedisArguments {
    /// Whether the URL was given as an option.
    pub(crate) fn is_explicit(&self) -> bool {
        !self.redis_url.is_empty()
    }

    /// `None` without a URL.
    ///
    /// # Errors An option without an effect, or a file or a variable that cannot be used.
    pub(crate) fn address(&self) -> Result<Option<Address>> {
        let (from, urls) = if self.is_explicit() {
            ("--redis-url", Some(self.redis_url.clone()))
        } else {
            let urls = secret("REDIS_URL")?;
            let split = |urls: String| urls.split(',').map(str::to_owned).collect();
            ("REDIS_URL", urls.map(split))
        };
        let password = secret("REDIS_SENTINEL_PASSWORD")?;
        let Some(urls) = urls else {
            let idle = self.options().into_iter().find(|(_, given)| *given);
            ensure!(
                idle.is_none(),
                "{} has no effect without --redis-url or REDIS_URL",
                idle.map_or("", |(name, _)| name)
            );
            return Ok(None);
        };
        ensure!(
            urls.iter().all(|url| !url.trim().is_empty()),
            "{from} is empty, or has an empty place in its list"
        );
        let urls: Vec<String> = urls
            .iter()
            .map(|url| addresses::redis(url.trim()))
            .collect();
        let tls = urls.iter().any(|url| url.starts_with("rediss://"));
        if self.redis_sentinel_master.is_none() {
            let idle = [
                ("--redis-sentinel-user", self.redis_sentinel_user.is_some()),
                ("--redis-sentinel-tls", self.redis_sentinel_tls.is_some()),
                (
                    "--redis-sentinel-ca-file",
                    self.redis_sentinel_ca_file.is_some(),
                ),
                ("REDIS_SENTINEL_PASSWORD", password.is_some()),
            ];
            let idle = idle.into_iter().find(|(_, given)| *given);
            ensure!(
                idle.is_none(),
                "{} has no effect without --redis-sentinel-master",
                idle.map_or("", |(name, _)| name)
            );
        }
        let sentinel_tls = self.redis_sentinel_tls.unwrap_or(tls);
        ensure!(
            self.redis_ca_file.is_none() || tls || sentinel_tls,
            "--redis-ca-file has no effect: no URL begins with rediss://"
        );
        ensure!(
            self.redis_sentinel_ca_file.is_none() || sentinel_tls,
            "--redis-sentinel-ca-file has no effect: the Sentinels do not speak TLS"
        );
        Ok(Some(Address {
            urls,
            sentinel_master: self.redis_sentinel_master.clone(),
            cluster: self.redis_cluster,
            ca: certificates("--redis-ca-file", self.redis_ca_file.as_deref())?,
            sentinel_user: self.redis_sentinel_user.clone(),
            sentinel_password: password,
            sentinel_tls: self.redis_sentinel_tls,
            sentinel_ca: certificates(
                "--redis-sentinel-ca-file",
                self.redis_sentinel_ca_file.as_deref(),
            )?,
        }))
    }

    fn options(&self) -> [(&'static str, bool); 6] {
        [
            (
                "--redis-sentinel-master",
                self.redis_sentinel_master.is_some(),
            ),
            ("--redis-sentinel-user", self.redis_sentinel_user.is_some()),
            ("--redis-sentinel-tls", self.redis_sentinel_tls.is_some()),
            (
                "--redis-sentinel-ca-file",
                self.redis_sentinel_ca_file.is_some(),
            ),
            ("--redis-cluster", self.redis_cluster),
            ("--redis-ca-file", self.redis_ca_file.is_some()),
        ]
    }
}

/// The certificates of a PEM file, if one is given.
pub(crate) fn certificates(option: &str, file: Option<&Path>) -> Result<Option<Vec<u8>>> {
    let Some(file) = file else {
        return Ok(None);
    };
    let name = file.display();
    let pem = std::fs::read(file).with_context(|| format!("{option}: cannot read {name}"))?;
    let has_one = pem
        .windows(b"-----BEGIN CERTIFICATE-----".len())
        .any(|part| part == b"-----BEGIN CERTIFICATE-----");
    ensure!(has_one, "{option}: {name} has no certificate in PEM");
    Ok(Some(pem))
}

/// The key of a variable, if it is set: hex, at least 32 bytes.
///
/// # Errors It is not such a key.
pub(crate) fn hmac_key(name: &str) -> Result<Option<HmacKey>> {
    let key = secret(name)?;
    key.map(|text| HmacKey::from_hex(&text).map_err(|why| anyhow::anyhow!("{name}: {why}")))
        .transpose()
}
