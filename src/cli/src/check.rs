//! Whether a filter would take a configuration, what a proxy's file leaves unguarded, what
//! would be in force, for one request if one is named, and what it lets through that an
//! older one refused.

mod description;
mod standing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use caracal_mandate::config::Configuration;
use caracal_mandate::mcp::headers::McpHeaders;
use caracal_mandate::request::RequestView;
use clap::Args;
use serde_json::{Value, json};

use crate::compare::{Comparison, render};
use crate::config_errors::{ConfigError, SCHEMA};
use crate::configured::{self, Found, Source};
use crate::exit_status;
use crate::mcp_options::McpArguments;
use crate::request_rule;
use crate::terminal::{self, shown};
use crate::warning::{self, Warning};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The filter's configuration: a JSON object, or a file that it stands in: Envoy's,
    /// also its /config_dump, Istio's, Envoy Gateway's, Kong's, nginx's or APISIX's; `-`
    /// reads standard input. What such a file leaves unguarded is an error.
    #[arg(required_unless_present_any = ["schema", "list_warnings"])]
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
    /// The request's method. Default: GET, or POST for a message of MCP.
    #[arg(long, requires = "path")]
    method: Option<String>,
    #[command(flatten)]
    mcp: McpArguments,
    /// The request's host.
    #[arg(long, requires = "path")]
    host: Option<String>,
    /// The request's X-Caracal-Resource.
    #[arg(long, requires = "path")]
    resource: Option<String>,
    /// Exits with 1 where there is a warning too.
    #[arg(long, conflicts_with = "against")]
    strict: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
    /// Prints the configuration's JSON Schema instead.
    #[arg(long)]
    schema: bool,
    /// Prints every kind of warning instead, as JSON.
    #[arg(long)]
    list_warnings: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list_warnings {
        terminal::line(&serde_json::to_string(warning::ALL)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Some(file) = arguments.file.as_ref().filter(|_| !arguments.schema) else {
        terminal::line(SCHEMA.trim_end());
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(old) = &arguments.against {
        return compare(arguments, file, old);
    }
    let found = configured::read_all(file, arguments.filter.as_deref())?;
    let mut verdict = Verdict {
        is_good: found.unguarded.is_empty(),
        several: found.sources.len() != 1,
        warnings: found.warnings.clone(),
        filters: Vec::new(),
    };
    for source in &found.sources {
        verdict.judge(source, &found, file, arguments)?;
    }
    if arguments.strict {
        verdict.is_good &= verdict.warnings.is_empty();
    }
    if arguments.json {
        terminal::line(&verdict.json(&found.unguarded).to_string());
    } else {
        for what in &found.unguarded {
            terminal::problem(&format!("{}: not guarded: {what}", file.display()));
        }
        if found.sources.is_empty() && verdict.is_good {
            terminal::line(
                "no configuration of the filter stands in it, and nothing that leaves a route unguarded",
            );
        }
        for one in &verdict.warnings {
            terminal::line(&format!("WARNING   {one}"));
        }
    }
    Ok(exit_status::answer(verdict.is_good))
}

/// What is said of a file.
struct Verdict {
    is_good: bool,
    /// Whether filters are told apart by their names.
    several: bool,
    warnings: Vec<Warning>,
    /// What is said of each filter, as JSON.
    filters: Vec<Value>,
}

impl Verdict {
    /// Judges one filter, and prints what is said of it where that is not JSON.
    fn judge(
        &mut self,
        source: &Source,
        found: &Found,
        file: &Path,
        arguments: &Arguments,
    ) -> Result<()> {
        let name = named(file, source);
        self.warnings.extend(source.warnings.iter().cloned());
        let configuration = match source.configuration() {
            Ok(configuration) => configuration,
            Err(errors) => {
                self.is_good = false;
                if arguments.json {
                    self.filters.push(json!({
                        "ok": false, "filter": source.name, "errors": json_of(&errors),
                    }));
                } else {
                    complain(&name, &errors);
                }
                return Ok(());
            }
        };
        let clusters = found.clusters.as_ref();
        self.warnings
            .extend(standing::warnings(&configuration, source, clusters));
        self.warnings
            .extend(warning::of_configuration(&configuration, &source.place));
        if arguments.json {
            self.filters
                .push(result(&configuration, source, arguments)?);
            return Ok(());
        }
        if self.several {
            terminal::line(&format!("== {name}"));
        }
        let lines = match &arguments.path {
            Some(_) => request_rule::in_words(&rule_of(&configuration, arguments)),
            None => {
                let digest = format!("digest    {}", source.digest());
                let lines = description::describe(&configuration)?.into_iter();
                std::iter::once(digest).chain(lines).collect()
            }
        };
        for line in lines {
            terminal::line(&line);
        }
        Ok(())
    }

    /// The filter's own result where there is one, else a list of them.
    fn json(&mut self, unguarded: &[String]) -> Value {
        let mut said = match self.filters.pop() {
            Some(only) if !self.several => only,
            last => {
                self.filters.extend(last);
                json!({"filters": self.filters})
            }
        };
        if let Some(said) = said.as_object_mut() {
            said.insert("ok".to_owned(), json!(self.is_good));
            said.insert("warnings".to_owned(), json!(self.warnings));
            if !unguarded.is_empty() {
                said.insert("unguarded".to_owned(), json!(unguarded));
            }
        }
        said
    }
}

fn named(file: &Path, source: &Source) -> String {
    match &source.name {
        Some(name) => format!("{} filter {}", file.display(), shown(name)),
        None => file.display().to_string(),
    }
}

fn complain(name: &str, errors: &[ConfigError]) {
    for error in errors {
        terminal::problem(&format!("{name}: {error}"));
    }
}

fn json_of(errors: &[ConfigError]) -> Vec<Value> {
    let one = |error: &ConfigError| {
        let (line, column) = error.position.map(|at| (at.line, at.column)).unzip();
        json!({"path": error.path, "problem": error.problem, "line": line, "column": column})
    };
    errors.iter().map(one).collect()
}

fn result(configuration: &Configuration, source: &Source, arguments: &Arguments) -> Result<Value> {
    let mut said = json!({
        "ok": true, "filter": source.name, "digest": source.digest(), "in_force": description::in_force(configuration)?,
        "configuration": configuration,
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
    let message = arguments.mcp.message();
    let headers = message.iter().flat_map(|message| &message.headers);
    let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_slice()));
    let mut mcp = McpHeaders::of(headers, None);
    if let Some(message) = &message {
        mcp = mcp.with_body(&message.body);
    }
    let default = if message.is_some() { "POST" } else { "GET" };
    let method = arguments.method.as_deref().unwrap_or(default);
    let request = RequestView {
        method: Some(method.as_bytes()),
        target: arguments.path.as_deref().map(str::as_bytes),
        authority: arguments.host.as_deref().map(str::as_bytes),
        resource: &names,
        authorization: &[],
        names_client: false,
        lists_end_to_end: false,
        mcp: Some(&mcp),
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
        terminal::line(&said.to_string());
    } else {
        let mut lines = render::text(&comparison, &old_name).into_iter();
        let first = lines.next().unwrap_or_default();
        terminal::line(&format!("{name} {first}"));
        for line in lines {
            terminal::line(&line);
        }
    }
    Ok(exit_status::answer(comparison.is_empty()))
}
