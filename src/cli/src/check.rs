//! Whether a filter would take a configuration, what a proxy's file leaves unguarded, what
//! would be in force, for one request if one is named, and what it lets through that an
//! older one refused.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use caracal_mandate::config::{ConfigError, Configuration, Revocation};
use caracal_mandate::request::RequestView;
use caracal_mandate::routing::resources::Resource;
use clap::Args;
use serde_json::{Value, json};

use crate::compare::{self, Comparison};
use crate::configured::{self, Source};
use crate::output::{self, shown};
use crate::request_rule;
use crate::shadowed::Shadowed;

/// The committed schema, which a test compares with the types.
const SCHEMA: &str = include_str!("../../mandate/config.schema.json");

/// Two configurations that could not be compared.
const NOT_COMPARED: u8 = 2;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The filter's configuration: a JSON object, or an Envoy, Kong, nginx or APISIX file
    /// that it stands in; `-` reads standard input. What such a file leaves unguarded is
    /// an error.
    #[arg(required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Which filter, where the file has several. Default: all of them.
    #[arg(long)]
    filter: Option<String>,
    /// An older configuration: prints what the new one lets through that this one
    /// refused, and exits with 1 if there is any.
    #[arg(long, value_name = "OLD", conflicts_with = "path")]
    against: Option<PathBuf>,
    /// Which filter of the older file. Default: as --filter.
    #[arg(long, requires = "against")]
    against_filter: Option<String>,
    /// A request's path: prints the rule in force for it.
    #[arg(long)]
    path: Option<String>,
    /// The request's method.
    #[arg(long, requires = "path", default_value = "GET")]
    method: String,
    /// The request's host.
    #[arg(long, requires = "path")]
    host: Option<String>,
    /// The request's X-Caracal-Resource.
    #[arg(long, requires = "path")]
    resource: Option<String>,
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
    if let Some(old) = &arguments.against {
        return match compare(arguments, file, old) {
            Ok(code) => Ok(code),
            Err(error) => {
                output::problem(&format!("{error:#}"));
                Ok(ExitCode::from(NOT_COMPARED))
            }
        };
    }
    let found = configured::read_all(file, arguments.filter.as_deref())?;
    let (sources, unguarded) = (found.sources, found.unguarded);
    let several = sources.len() != 1;
    let mut all = Vec::new();
    let mut is_good = unguarded.is_empty();
    for source in &sources {
        let name = named(file, source);
        match source.configuration() {
            Ok(configuration) if arguments.json => {
                all.push(result(&configuration, source, arguments)?);
            }
            Ok(configuration) => {
                if several {
                    output::line(&format!("== {name}"));
                }
                let lines = match &arguments.path {
                    Some(_) => request_rule::in_words(&rule_of(&configuration, arguments)),
                    None => describe(&configuration)?,
                };
                for line in lines {
                    output::line(&line);
                }
            }
            Err(errors) => {
                is_good = false;
                if arguments.json {
                    all.push(json!({
                        "ok": false, "filter": source.name, "errors": json_of(&errors),
                    }));
                } else {
                    complain(&name, &errors);
                }
            }
        }
    }
    if arguments.json {
        let mut said = match all.pop() {
            Some(only) if !several => only,
            last => {
                all.extend(last);
                json!({"ok": is_good, "filters": all})
            }
        };
        if let Some(said) = said.as_object_mut().filter(|_| !unguarded.is_empty()) {
            said.insert("ok".to_owned(), json!(false));
            said.insert("unguarded".to_owned(), json!(unguarded));
        }
        output::line(&said.to_string());
    } else {
        for what in &unguarded {
            output::problem(&format!("{}: not guarded: {what}", file.display()));
        }
        if sources.is_empty() && is_good {
            output::line(
                "no configuration of the filter stands in it, and nothing that leaves a route unguarded",
            );
        }
    }
    Ok(match is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn named(file: &Path, source: &Source) -> String {
    match &source.name {
        Some(name) => format!("{} filter {}", file.display(), shown(name)),
        None => file.display().to_string(),
    }
}

fn complain(name: &str, errors: &[ConfigError]) {
    for error in errors {
        output::problem(&format!("{name}: {error}"));
    }
}

fn json_of(errors: &[ConfigError]) -> Vec<Value> {
    let one = |error: &ConfigError| json!({"path": error.path, "problem": error.problem});
    errors.iter().map(one).collect()
}

fn result(configuration: &Configuration, source: &Source, arguments: &Arguments) -> Result<Value> {
    let mut said = json!({
        "ok": true, "filter": source.name, "in_force": in_force(configuration)?,
        "warnings": Shadowed::all(configuration), "configuration": configuration,
    });
    if arguments.path.is_some()
        && let Some(said) = said.as_object_mut()
    {
        said.insert("request".to_owned(), rule_of(configuration, arguments));
    }
    Ok(said)
}

/// The rule in force for the request that is named.
fn rule_of(configuration: &Configuration, arguments: &Arguments) -> Value {
    let names: Vec<&[u8]> = arguments.resource.iter().map(String::as_bytes).collect();
    let request = RequestView {
        method: Some(arguments.method.as_bytes()),
        target: arguments.path.as_deref().map(str::as_bytes),
        authority: arguments.host.as_deref().map(str::as_bytes),
        resource: &names,
        authorization: &[],
        names_client: false,
    };
    request_rule::in_force(configuration, &request)
}

fn compare(arguments: &Arguments, file: &Path, old: &Path) -> Result<ExitCode> {
    let read = |file: &Path, filter: Option<&str>| {
        let source = configured::read_one(file, filter)?;
        let name = named(file, &source);
        match source.configuration() {
            Ok(configuration) => Ok((configuration, name)),
            Err(errors) => {
                complain(&name, &errors);
                bail!("{name}: a filter does not start with it")
            }
        }
    };
    let filter = arguments.filter.as_deref();
    let (new, name) = read(file, filter)?;
    let (before, old_name) = read(old, arguments.against_filter.as_deref().or(filter))?;
    let comparison = Comparison::of(&before, &new);
    if arguments.json {
        let mut said = serde_json::to_value(&comparison)?;
        if let Some(said) = said.as_object_mut() {
            said.insert(
                "lets_more_through".to_owned(),
                json!(!comparison.is_empty()),
            );
        }
        output::line(&said.to_string());
    } else {
        let mut lines = compare::text(&comparison, &old_name).into_iter();
        let first = lines.next().unwrap_or_default();
        output::line(&format!("{name} {first}"));
        for line in lines {
            output::line(&line);
        }
    }
    Ok(match comparison.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A prefix as it is written: without it, everything.
fn prefix(cut: &str) -> &str {
    if cut.is_empty() { "/" } else { cut }
}

/// Each prefix with what is demanded under it, most specific first as they win.
fn in_force(configuration: &Configuration) -> Result<Vec<Value>> {
    let resources = configuration.in_force();
    let mut all = Vec::new();
    for resource in resources.all() {
        let mut lines = in_force_of(resource)?;
        if resources.are_named() {
            for line in lines.iter_mut().filter_map(Value::as_object_mut) {
                line.insert("resource".to_owned(), json!(resource.id));
            }
        }
        all.append(&mut lines);
    }
    Ok(all)
}

fn in_force_of(resource: &Resource) -> Result<Vec<Value>> {
    let rules = &resource.rules;
    let mut routes: Vec<_> = rules.routes().iter().collect();
    routes.sort_by_key(|route| (std::cmp::Reverse(route.prefix.len()), &route.prefix));
    let excluded = rules.exclude().iter();
    let mut lines: Vec<Value> = excluded
        .map(|prefix| json!({"prefix": prefix, "excluded": true}))
        .collect();
    for route in &routes {
        let prefix = prefix(&route.prefix);
        let requires = serde_json::to_value(&route.requirements)?;
        lines.push(json!({"prefix": prefix, "requires": requires}));
        for (method, requirements) in &route.methods {
            let requires = serde_json::to_value(requirements)?;
            lines.push(json!({"prefix": prefix, "method": method, "requires": requires}));
        }
    }
    if !routes.iter().any(|route| route.prefix.is_empty()) {
        let requires = serde_json::to_value(rules.default_requirements())?;
        lines.push(json!({"prefix": "/", "requires": requires}));
    }
    Ok(lines)
}

fn describe(configuration: &Configuration) -> Result<Vec<String>> {
    let target = configuration.jwks_target();
    let resources = configuration.in_force();
    let mut lines = vec![
        format!("issuer    {}", configuration.issuer),
        format!("zone      {}", configuration.zone_id),
    ];
    if !resources.are_named() {
        let all = resources.all().iter();
        lines.extend(all.map(|one| format!("audience  {}", one.audience)));
    }
    lines.push(format!(
        "key set   {}://{}{} through {}",
        target.scheme, target.authority, target.path, configuration.jwks.upstream
    ));
    lines.push(match &configuration.revocation {
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
    for resource in resources.all() {
        if resources.are_named() {
            let hosts = match configuration.resources.get(&resource.id) {
                Some(own) => own.hosts.clone().unwrap_or_default(),
                None => Vec::new(),
            };
            let at = match hosts.as_slice() {
                [] => "any host".to_owned(),
                hosts => hosts.join(", "),
            };
            lines.push(format!(
                "resource  {}, for audience {}, at {at}",
                resource.id, resource.audience
            ));
        }
        lines.extend(in_force_of(resource)?.iter().map(rule_text));
    }
    let warnings = Shadowed::all(configuration);
    lines.extend(warnings.iter().map(|one| format!("WARNING   {one}")));
    Ok(lines)
}

fn rule_text(rule: &Value) -> String {
    let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
    let prefix = text("prefix");
    let Some(requires) = rule.get("requires").and_then(Value::as_object) else {
        return format!("{prefix}: excluded, passes without a mandate");
    };
    let requires = request_rule::requires_text(requires);
    match text("method") {
        "" => format!("{prefix}: {requires}"),
        method => format!("{method} {prefix}: {requires}"),
    }
}
