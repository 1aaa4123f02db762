//! Audit events of the companion, as options and the environment say.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use caracal_feed::audit::Settings;
use caracal_feed::redis::target::Target;
use clap::Args;

use crate::redis_options::hmac_key;

/// Smallest `--audit-max-bytes`: a batch of filters has to fit, with the files beside it.
const LEAST_BYTES: u64 = 4 * 1024 * 1024;
const KEY: &str = "AUDIT_HMAC_KEY";

/// Audit events.
#[derive(Args, Clone)]
pub(crate) struct AuditArguments {
    /// Takes audit events from filters (POST /v1/audit), keeps them in this folder until
    /// Redis has them, and signs them with AUDIT_HMAC_KEY, or the key in the file that
    /// AUDIT_HMAC_KEY_FILE names. The key needs a token (CARACAL_FEED_TOKEN). The folder
    /// is this companion's own.
    #[arg(long)]
    audit_dir: Option<PathBuf>,
    /// Most bytes of that folder. With more, filters keep their events and try again
    /// [default: 1073741824].
    #[arg(long, requires = "audit_dir", value_parser = clap::value_parser!(u64).range(LEAST_BYTES..))]
    audit_max_bytes: Option<u64>,
}

impl AuditArguments {
    /// How audit events are kept; `None` if they are not. Without Redis they always are, for
    /// development. The key is read only then.
    ///
    /// # Errors
    /// It is not a key, or there is no token although there is a key.
    pub(crate) fn settings(&self, redis: Option<&Target>, token: bool) -> Result<Option<Settings>> {
        if self.audit_dir.is_none() && redis.is_some() {
            if std::env::var_os(KEY).is_some() || std::env::var_os("AUDIT_HMAC_KEY_FILE").is_some()
            {
                tracing::warn!("{KEY} is set, and no audit events are taken: give --audit-dir");
            }
            return Ok(None);
        }
        if let Some(folder) = &self.audit_dir {
            ensure!(
                !folder.as_os_str().is_empty(),
                "--audit-dir is empty: give it a value, or leave it out"
            );
        }
        let key = hmac_key(KEY)?;
        // On loopback too: any local program, and maybe a browser, could have events signed.
        ensure!(
            token || key.is_none(),
            "{KEY} is set, and there is no token, so anybody who reaches --listen could have audit events signed: set CARACAL_FEED_TOKEN (or --token), which filters then send as audit.token"
        );
        if key.is_none() && redis.is_some() {
            tracing::warn!(
                "{KEY} is not set: audit events have no signature, and a production installation of Caracal puts every one of them into its dead letters"
            );
        }
        if self.audit_dir.is_some() && redis.is_none() {
            tracing::warn!(
                "without Redis no audit event leaves --audit-dir: it fills up to --audit-max-bytes, and then no more are taken; leave --audit-dir out, or give --redis-url"
            );
        }
        Ok(Some(Settings {
            folder: self.audit_dir.clone(),
            max_bytes: self.audit_max_bytes.unwrap_or(1 << 30),
            key,
            redis: redis.cloned(),
        }))
    }
}
