//! The options of the page.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use caracal_feed::Companion;
use caracal_feed::redis::health::Limited;
use clap::Args;
use tokio::sync::Semaphore;

use super::shared::{Explainer, Page};
use crate::explain::configuration_in;

/// Most requests that are explained at once.
const AT_ONCE: usize = 2;

/// The page.
#[derive(Args)]
pub(crate) struct PageArguments {
    /// Explains requests on the page as an edge with this configuration decides them: a JSON
    /// object, or a proxy's file that it stands in. It is read at the start.
    #[arg(long, value_name = "FILE")]
    explain_config: Option<PathBuf>,
    /// Which filter, where that file has several.
    #[arg(long, requires = "explain_config", value_name = "NAME")]
    explain_filter: Option<String>,
    /// The zone's key set for that: a file, a URL, or an STS's address. Without it: where the
    /// edge gets it from.
    #[arg(long, requires = "explain_config", value_name = "FILE|URL", value_parser = no_input)]
    explain_key_set: Option<String>,
    /// A name by which browsers reach the page, besides localhost and IP addresses; may be
    /// given often. Requests for other names are refused.
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    page_host: Vec<String>,
}

impl PageArguments {
    /// The page of a companion, without what is known only later.
    ///
    /// # Errors The configuration cannot be read.
    pub(crate) fn page(&self, companion: &Companion) -> Result<Page> {
        let explainer = self.explain_config.as_deref().map(|file| {
            let configuration = configuration_in(file, self.explain_filter.as_deref());
            anyhow::Ok(Explainer {
                file: file.display().to_string(),
                configuration: configuration.context("--explain-config")?,
                key_set: self.explain_key_set.clone(),
            })
        });
        Ok(Page {
            companion: companion.clone(),
            explainer: explainer.transpose()?,
            hosts: self.page_host.clone(),
            explaining: Semaphore::new(AT_ONCE),
            unauthorized: Limited::new(),
            audit: None,
            token: None,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
        })
    }
}

/// It is read for each request, and standard input could be read only once.
fn no_input(text: &str) -> Result<String, String> {
    match text {
        "-" | "" => Err("expected a file, a URL or an STS's address".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn host_name(text: &str) -> Result<String, String> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    match !text.is_empty() && text.bytes().all(is_part) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("expected a host's name without a port".to_owned()),
    }
}
