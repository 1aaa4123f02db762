//! Mandates for development: good by default, and wrong in any requested way.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::dev::signing_keys::{ZoneKeys, replace};
use crate::{addresses, terminal};

pub(crate) const DEMO_ISSUER: &str = "http://127.0.0.1:7701";
pub(crate) const DEMO_ZONE: &str = "zone-demo";
pub(crate) const DEMO_AUDIENCE: &str = "resource://billing-api";

#[derive(Args)]
pub(crate) struct Arguments {
    /// The key file that `sts --keys` writes; its current key signs.
    #[arg(long, value_name = "FILE", default_value = "run/keys.json")]
    keys: PathBuf,
    /// The claim `iss`: the STS's URL or address.
    #[arg(long, env = "CARACAL_STS_URL", default_value = DEMO_ISSUER)]
    issuer: String,
    /// The claim `zone_id`.
    #[arg(long, env = "CARACAL_ZONE_ID", default_value = DEMO_ZONE)]
    zone: String,
    /// The claim `aud`.
    #[arg(long, default_value = DEMO_AUDIENCE)]
    audience: String,
    /// The claim `scope`: scopes separated by spaces.
    #[arg(long, default_value = "billing:read")]
    scope: String,
    /// Seconds from now to `exp`; negative for an expired mandate.
    #[arg(long, default_value_t = 900, allow_negative_numbers = true)]
    ttl_s: i64,
    /// Any claim: NAME=VALUE, where VALUE is JSON, or otherwise text. `null` removes the
    /// claim. May be given several times.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// Any member of the JOSE header, in the same way.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// Prints {"token": ..., "claims": ...} instead of the token alone.
    #[arg(long)]
    json: bool,
}

/// The parts of a development mandate. Everything has a default.
pub(crate) struct Draft {
    pub(crate) issuer: String,
    pub(crate) zone: String,
    pub(crate) audience: String,
    pub(crate) scope: String,
    pub(crate) ttl_s: i64,
}

impl Draft {
    pub(crate) fn demo(issuer: &str) -> Self {
        Draft {
            issuer: issuer.to_owned(),
            zone: DEMO_ZONE.to_owned(),
            audience: DEMO_AUDIENCE.to_owned(),
            scope: "billing:read".to_owned(),
            ttl_s: 900,
        }
    }

    /// The claims of a mandate made now. `changes` replaces the usual ones.
    pub(crate) fn claims(&self, changes: &Map<String, Value>) -> Result<Map<String, Value>> {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let usual = json!({
            "iss": self.issuer, "aud": self.audience, "zone_id": self.zone,
            "exp": now.saturating_add(self.ttl_s), "iat": now.saturating_add(self.ttl_s.min(0)),
            "jti": format!("dev-{now}"), "sub": "user-1", "sid": "sid-1", "root_sid": "sid-1",
            "client_id": "app-1", "use": "resource", "sub_type": "user", "scope": self.scope,
        });
        let Value::Object(mut claims) = usual else {
            anyhow::bail!("the claims are not an object");
        };
        replace(&mut claims, changes);
        Ok(claims)
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let keys = ZoneKeys::read(&arguments.keys)?;
    let draft = Draft {
        issuer: addresses::http(&arguments.issuer),
        zone: arguments.zone.clone(),
        audience: arguments.audience.clone(),
        scope: arguments.scope.clone(),
        ttl_s: arguments.ttl_s,
    };
    let claims = draft.claims(&pairs("--claim", &arguments.claims)?)?;
    let token = keys.sign(&pairs("--header", &arguments.headers)?, &claims)?;
    if arguments.json {
        terminal::line(&json!({"token": token, "claims": claims}).to_string());
    } else {
        terminal::line(&token);
    }
    Ok(ExitCode::SUCCESS)
}

fn pairs(option: &str, given: &[String]) -> Result<Map<String, Value>> {
    let read = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .with_context(|| format!("{option} {text}: expected NAME=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        Ok((name.to_owned(), value))
    };
    given.iter().map(read).collect()
}
