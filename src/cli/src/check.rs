//! Whether a filter would take a configuration, and what would be in force.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use caracal_mandate::config::{Configuration, Revocation};
use clap::Args;
use serde_json::{Value, json};

use crate::output;

/// The committed schema, which a test compares with the types.
const SCHEMA: &str = include_str!("../../mandate/config.schema.json");

#[derive(Args)]
pub(crate) struct Arguments {
    /// The filter's configuration, a JSON object; `-` reads standard input.
    #[arg(required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
    /// Prints the configuration's JSON Schema instead.
    #[arg(long)]
    schema: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some(file) = arguments.file.as_ref().filter(|_| !arguments.schema) else {
        output::line(SCHEMA.trim_end());
        return Ok(ExitCode::SUCCESS);
    };
    let name = file.display();
    let mut document = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut document)?;
    } else {
        document = std::fs::read(file).with_context(|| format!("cannot read {name}"))?;
    }
    let environment = |name: &str| std::env::var(name).ok();
    match Configuration::from_json(&document, &environment) {
        Ok(configuration) => {
            if arguments.json {
                output::line(&json!({"ok": true, "in_force": in_force(&configuration)?, "configuration": configuration}).to_string());
            } else {
                describe(&configuration)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            if arguments.json {
                let errors: Vec<Value> = errors
                    .iter()
                    .map(|error| json!({"path": error.path, "problem": error.problem}))
                    .collect();
                output::line(&json!({"ok": false, "errors": errors}).to_string());
            } else {
                for error in &errors {
                    output::problem(&format!("{name}: {error}"));
                }
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Each prefix with what is demanded under it, most specific first as they win.
fn in_force(configuration: &Configuration) -> Result<Vec<Value>> {
    let mut lines = Vec::new();
    for resource in configuration.in_force().all() {
        let rules = &resource.rules;
        let mut routes: Vec<_> = rules.routes().iter().collect();
        routes.sort_by_key(|route| (std::cmp::Reverse(route.prefix.len()), &route.prefix));
        let excluded = rules.exclude().iter();
        lines.extend(excluded.map(|prefix| json!({"prefix": prefix, "excluded": true})));
        for route in routes {
            let requires = serde_json::to_value(&route.requirements)?;
            lines.push(json!({"prefix": route.prefix, "requires": requires}));
            for (method, requirements) in &route.methods {
                let requires = serde_json::to_value(requirements)?;
                lines.push(json!({"prefix": route.prefix, "method": method, "requires": requires}));
            }
        }
        if !rules.routes().iter().any(|route| route.prefix == "/") {
            let requirements = serde_json::to_value(rules.default_requirements())?;
            lines.push(json!({"prefix": "/", "requires": requirements}));
        }
    }
    Ok(lines)
}

fn describe(configuration: &Configuration) -> Result<()> {
    let target = configuration.jwks_target();
    output::line(&format!("issuer    {}", configuration.issuer));
    output::line(&format!("zone      {}", configuration.zone_id));
    for resource in configuration.in_force().all() {
        output::line(&format!("audience  {}", resource.audience));
    }
    output::line(&format!(
        "key set   {}://{}{} through {}",
        target.scheme, target.authority, target.path, configuration.jwks.upstream
    ));
    output::line(&match &configuration.revocation {
        Revocation::Disabled(_) => {
            "revoked   NOT CHECKED: \"revocation\" is \"disabled\"".to_owned()
        }
        Revocation::Feed(feed) => format!(
            "revoked   as the companion behind {} says, at most {} s old, {}",
            feed.upstream,
            feed.max_staleness_s,
            if feed.token.is_some() {
                "with a token"
            } else {
                "without a token"
            }
        ),
    });
    for rule in in_force(configuration)? {
        let prefix = rule
            .get("prefix")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(requires) = rule.get("requires").and_then(Value::as_object) else {
            output::line(&format!("{prefix}: excluded, passes without a mandate"));
            continue;
        };
        let requires: Vec<String> = requires
            .iter()
            .filter(|(_, value)| **value != json!([]) && **value != json!(false))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        output::line(&format!("{prefix}: {}", requires.join(" ")));
    }
    Ok(())
}
