//! What the development STS allows, from a small JSON file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

/// Where the policy is.
pub(super) struct Source(Option<PathBuf>);

/// See the module.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    /// By id.
    pub(super) applications: BTreeMap<String, Application>,
    /// By identifier.
    pub(super) resources: BTreeMap<String, Resource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Application {
    pub(super) secret: String,
    /// The zones that have it; all of them when there are none.
    #[serde(default)]
    pub(super) zones: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    /// It is found by this too.
    #[serde(default)]
    pub(super) id: String,
    pub(super) scopes: Vec<String>,
    pub(super) upstream_url: String,
    #[serde(default)]
    pub(super) provider: Provider,
    /// With these, only they are allowed, each with its scope.
    #[serde(default)]
    pub(super) operations: Option<Vec<Operation>>,
    #[serde(default)]
    pub(super) decision: Decision,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operation {
    method: String,
    path: String,
    scope: String,
}

/// How the upstream is called.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub(super) enum Provider {
    None,
    #[default]
    CaracalMandate,
    Oauth2AuthorizationCode(Oauth),
    Oauth2ClientCredentials(Oauth),
    BearerToken(Secret),
    HttpBasic(Basic),
    ApiKey(Secret),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Oauth {
    token: String,
    header: Option<String>,
    scheme: Option<String>,
    #[serde(default)]
    forward_identity: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    token: String,
    header: Option<String>,
    scheme: Option<String>,
    /// Of an API key: the name of the parameter that carries it.
    query: Option<String>,
    #[serde(default)]
    allowed_token_hosts: Vec<String>,
    #[serde(default)]
    forward_identity: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Basic {
    username: String,
    password: String,
    #[serde(default)]
    allowed_token_hosts: Vec<String>,
    #[serde(default)]
    forward_identity: bool,
}

/// What is decided of an exchange that is otherwise right; the lower ones are faults.
#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    #[default]
    Allow,
    /// With a reason.
    Deny(String),
    StepUp,
    /// As the STS answers its own rate limit: 403.
    RateLimit,
    /// 429, with the seconds to wait.
    TooMany(u64),
    /// Allows after so many milliseconds.
    LateMs(u64),
    Never,
    Oversize,
    NotJson,
    OtherResource,
    Redirect,
    Unavailable,
}

impl Source {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Source(file)
    }

    /// Read each time, so that a test or a person can change it meanwhile.
    ///
    /// # Errors
    /// The file cannot be read, or is no policy.
    pub(super) fn read(&self) -> Result<Policy> {
        let Some(file) = &self.0 else {
            return Ok(serde_json::from_value(demo())?);
        };
        let name = file.display();
        let text = std::fs::read(file).with_context(|| format!("--policy: cannot read {name}"))?;
        serde_json::from_slice(&text).with_context(|| format!("--policy: {name}"))
    }
}

/// The secret of the demo's application `app-1`.
pub(crate) const DEMO_SECRET: &str = "development";
/// The credential of the demo's resource `resource://crm-api`.
pub(crate) const DEMO_PROVIDER_TOKEN: &str = "development-provider-token";

/// The demo's application, and its resources as in deploy/envoy/gateway.yaml.
fn demo() -> Value {
    json!({
        "applications": {"app-1": {"secret": DEMO_SECRET}},
        "resources": {
            "resource://billing-api": {
                "scopes": ["billing:read", "billing:write", "billing:payout"],
                "upstream_url": "http://billing.internal",
            },
            "resource://payouts-api": {
                "scopes": ["billing:payout"],
                "upstream_url": "http://billing.internal/payouts",
                "decision": "step_up",
            },
            "resource://crm-api": {
                "scopes": ["crm:read"],
                "upstream_url": "http://crm.internal/v2",
                "provider": {
                    "kind": "bearer_token", "token": DEMO_PROVIDER_TOKEN,
                    "allowed_token_hosts": ["crm.internal"],
                },
            },
        },
    })
}

impl Policy {
    /// A resource by identifier or id, with its identifier.
    pub(super) fn resource(&self, named: &str) -> Option<(&str, &Resource)> {
        let found = self.resources.iter().find(|(identifier, resource)| {
            *identifier == named || (!resource.id.is_empty() && resource.id == named)
        });
        found.map(|(identifier, resource)| (identifier.as_str(), resource))
    }
}

impl Resource {
    /// Whether an operation is allowed to who has these scopes.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn permits(
        &self,
        identifier: &str,
        method: &str,
        path: &str,
        scopes: &[&str],
    ) -> Result<(), String> {
        let Some(operations) = &self.operations else {
            return Ok(());
        };
        let operation = operations
            .iter()
            .find(|operation| operation.method == method && operation.path == path);
        match operation {
            None => Err(format!(
                "operation {method} {path} is not declared on resource {identifier}"
            )),
            Some(operation) if !scopes.contains(&operation.scope.as_str()) => Err(format!(
                "operation {method} {path} on resource {identifier} requires scope {}",
                operation.scope
            )),
            Some(_) => Ok(()),
        }
    }

    /// What the Gateway is told about the upstream.
    pub(super) fn directive(&self) -> Value {
        let header = |mode, header: &Option<String>, scheme: Option<&str>, token: &str| {
            json!({
                "auth_mode": mode, "auth_location": "header", "provider_token": token,
                "auth_header": header.as_deref().unwrap_or("Authorization"),
                "auth_scheme": scheme.unwrap_or_default(),
            })
        };
        let bearer =
            |scheme: &Option<String>| scheme.clone().unwrap_or_else(|| "Bearer".to_owned());
        let (mut directive, hosts, identity) = match &self.provider {
            Provider::None => (json!({"auth_mode": "none"}), None, false),
            Provider::CaracalMandate => (json!({"auth_mode": "caracal_jwt"}), None, false),
            Provider::Oauth2AuthorizationCode(oauth) | Provider::Oauth2ClientCredentials(oauth) => {
                let scheme = bearer(&oauth.scheme);
                let scheme = Some(scheme.as_str());
                let mode = "provider_oauth";
                let directive = header(mode, &oauth.header, scheme, &oauth.token);
                (directive, None, oauth.forward_identity)
            }
            Provider::BearerToken(secret) => {
                let scheme = bearer(&secret.scheme);
                let scheme = Some(scheme.as_str());
                let mode = "provider_oauth";
                let directive = header(mode, &secret.header, scheme, &secret.token);
                let hosts = Some(&secret.allowed_token_hosts);
                (directive, hosts, secret.forward_identity)
            }
            Provider::HttpBasic(basic) => {
                let pair = format!("{}:{}", basic.username, basic.password);
                let token = STANDARD.encode(pair);
                let directive = header("provider_oauth", &None, Some("Basic"), &token);
                let hosts = Some(&basic.allowed_token_hosts);
                (directive, hosts, basic.forward_identity)
            }
            Provider::ApiKey(secret) => {
                let directive = match &secret.query {
                    Some(name) => json!({
                        "auth_mode": "provider_apikey", "auth_location": "query",
                        "query_param_name": name, "provider_token": secret.token,
                    }),
                    None => {
                        let scheme = secret.scheme.as_deref();
                        header("provider_apikey", &secret.header, scheme, &secret.token)
                    }
                };
                let hosts = Some(&secret.allowed_token_hosts);
                (directive, hosts, secret.forward_identity)
            }
        };
        if let Some(members) = directive.as_object_mut() {
            members.insert("url".to_owned(), json!(self.upstream_url));
            if let Some(hosts) = hosts {
                members.insert("allowed_token_hosts".to_owned(), json!(hosts));
            }
            if identity {
                members.insert("forward_caracal_identity".to_owned(), json!(true));
            }
            match &self.provider {
                Provider::None | Provider::CaracalMandate => {}
                Provider::Oauth2AuthorizationCode(_) => {
                    members.insert("provider_id".to_owned(), json!("provider-1"));
                    members.insert("connection_id".to_owned(), json!("connection-1"));
                }
                _ => drop(members.insert("provider_id".to_owned(), json!("provider-1"))),
            }
        }
        directive
    }
}
