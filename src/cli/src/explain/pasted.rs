//! Explains a request head that somebody pasted into the companion's page. Nothing of the
//! token is in what comes back but its claims, and nothing is logged or kept.

use anyhow::Result;
use caracal_feed::state::State;
use caracal_mandate::config::Configuration;
use caracal_mandate::decision::verifier::Verifier;
use serde_json::Value;

use super::case::Case;
use super::dependencies::Revocations;
use super::report::Report;
use super::request::Request;
pub(crate) use super::request::headers;
use super::subject::Subject;
pub(crate) use super::unconfigured::Reading;
use super::{of_mode, public_reply, traced, unconfigured};
use crate::timestamps;

/// What is said of a request.
pub(crate) enum Explained {
    /// Judged as an edge with the configuration would.
    Judged {
        /// Whether the edge lets it through; none if that is not known.
        admits: Option<bool>,
        /// The verdict in a sentence.
        verdict: String,
        /// What `explain --json` prints.
        result: Value,
    },
    /// Only read, because there is no configuration.
    Read(Reading),
}

/// What is needed to judge.
pub(crate) struct With<'w> {
    pub(crate) configuration: &'w Configuration,
    /// A file, a URL, or an STS's address; without it, where the edge gets the key set from.
    pub(crate) key_set: Option<&'w str>,
}

/// Explains a head as it would be judged now, with what this companion knows of revocations.
///
/// # Errors It is no request head, or the key set's file cannot be read. The text quotes
/// nothing of the head.
pub(crate) async fn explain(
    head: &[u8],
    with: Option<&With<'_>>,
    state: &State,
) -> Result<Explained> {
    let request = Request::recorded(head)?;
    let at = timestamps::now()?;
    let Some(&With {
        configuration,
        key_set,
    }) = with
    else {
        return Ok(Explained::Read(unconfigured::read(&request, at, state)));
    };
    let case = Case {
        verifier: Verifier::from(configuration),
        at,
        request,
        claims: None,
    };
    if let Some(reply) = public_reply::of(&case) {
        return Ok(Explained::Judged {
            admits: Some(true),
            verdict: reply.verdict_line(),
            result: reply.json(),
        });
    }
    let payload = case.payload();
    let revocations = Revocations::of_state(state, payload.as_ref(), Some(configuration));
    let (mut trace, keys) = traced(configuration, &case, key_set, &revocations).await?;
    trace.verdict = of_mode(configuration, &case, trace.verdict);
    let subject = Subject::new(configuration, &case, &trace, keys.as_ref(), &revocations)?;
    let report = Report::new(&subject)?;
    Ok(Explained::Judged {
        admits: report.admits(),
        verdict: report.verdict_line(),
        result: report.json(),
    })
}
