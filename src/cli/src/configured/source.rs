//! A configuration as it was found.

use std::collections::BTreeMap;

use caracal_mandate::config::{self, Configuration, ProxyKind};
use serde_json::Value;

use crate::config_errors::{self, ConfigError, Lines};
use crate::warning::Warning;

/// A configuration as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    /// The filter's name in the proxy's file; none for a bare configuration.
    pub(crate) name: Option<String>,
    /// Where it is in the file, in words; empty for a bare configuration.
    pub(crate) place: String,
    /// What tells filters of one name apart: the listener's name, say.
    pub(super) scope: Option<String>,
    /// The bytes that the proxy hands to the filter, or why it hands over none.
    pub(super) document: Result<Vec<u8>, String>,
    /// What the filter would find in its environment; none where that is the proxy's,
    /// for which this program's own stands.
    pub(super) environment: Option<BTreeMap<String, String>>,
    /// The proxy that the file is for; none for a bare configuration.
    pub(super) proxy: Option<ProxyKind>,
    /// What is told of how the filter stands there.
    pub(crate) warnings: Vec<Warning>,
    /// The domains that its listener has virtual hosts for, where the file says it.
    pub(crate) domains: Option<Vec<String>>,
    /// Whether Envoy shows the filter a request's body before the request goes on, where
    /// the file says it.
    pub(crate) shows_body: Option<bool>,
}

impl Source {
    /// One that is not in a proxy's file.
    pub(super) fn bare(document: Vec<u8>) -> Self {
        Source {
            name: None,
            place: String::new(),
            scope: None,
            document: Ok(document),
            environment: None,
            proxy: None,
            warnings: Vec::new(),
            domains: None,
            shows_body: None,
        }
    }

    /// One in a file for a proxy.
    pub(super) fn of(name: &str, document: Result<Vec<u8>, String>, proxy: ProxyKind) -> Self {
        Source {
            name: Some(name.to_owned()),
            document,
            proxy: Some(proxy),
            ..Source::bare(Vec::new())
        }
    }

    /// Reads it as the filter would. A configuration for another proxy than the file's is an
    /// error: the filter would take it, and not work.
    pub(crate) fn configuration(&self) -> Result<Configuration, Vec<ConfigError>> {
        let in_text = |document: &[u8], errors| {
            config_errors::in_text(document, self.lines(document), errors)
        };
        let document = self.document.as_ref().map_err(|problem| {
            let error = config::ConfigError {
                path: String::new(),
                problem: problem.clone(),
            };
            in_text(&[], vec![error])
        })?;
        let read = Configuration::from_json(document, &|name| match &self.environment {
            Some(known) => known.get(name).cloned(),
            None => std::env::var(name).ok(),
        });
        let Some(error) = self.wrong_proxy(document) else {
            return read.map_err(|errors| in_text(document, errors));
        };
        let mut all = vec![error];
        all.extend(read.err().into_iter().flatten());
        Err(in_text(document, all))
    }

    /// The digest by which the filter names it in its log and in `caracal_build_info`.
    pub(crate) fn digest(&self) -> String {
        let document = self.document.as_deref().unwrap_or_default();
        config::digest(document)
    }

    /// Whose lines an error names. A proxy's object becomes a text of one line.
    fn lines(&self, document: &[u8]) -> Lines {
        match &self.name {
            None => Lines::OfFile,
            Some(_) if document.trim_ascii().contains(&b'\n') => Lines::OfText,
            Some(_) => Lines::Lost,
        }
    }

    /// `host` names a proxy, and not the one that the file is for.
    fn wrong_proxy(&self, document: &[u8]) -> Option<config::ConfigError> {
        let proxy = self.proxy?;
        let tree: Value = serde_json::from_slice(document).ok()?;
        let written = tree.as_object()?.get("host").map(Value::as_str);
        let named = written.unwrap_or(Some("envoy"))?;
        let (_, host) = ProxyKind::ALL.iter().find(|(name, _)| *name == named)?;
        let (own, _) = ProxyKind::ALL.iter().find(|(_, host)| *host == proxy)?;
        let said = match written {
            Some(_) => format!("\"{named}\""),
            None => format!("no host, which means \"{named}\""),
        };
        (*host != proxy).then(|| config::ConfigError {
            path: "host".to_owned(),
            problem: format!("the file is for \"{own}\", found {said}"),
        })
    }
}

/// The configuration's bytes: a text is JSON already, an object becomes it.
pub(super) fn document(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}
