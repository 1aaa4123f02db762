//! What one configuration admits and another refused, as one condition on the mandate, and
//! in words.

use std::fmt;

use caracal_mandate::config::Mode;
use caracal_mandate::jwks::algorithm::Algorithm;
use caracal_mandate::token::claims::TokenUse;
use serde::Serialize;

use crate::terminal::shown;

/// Mandates, or requests, that the new configuration admits and the old one refused. If
/// there are several, each one alone is let through.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Extra {
    /// Any request that the old configuration refused, also without a mandate.
    AnyRequest,
    /// Any mandate that the new configuration admits: the old one refused all.
    AnyMandate,
    /// The same, for one operation of MCP.
    Operation {
        operation: String,
        extra: Box<Extra>,
    },
    /// Requests to an MCP server whose headers, or whose message, were refused.
    OtherMessages,
    /// Requests with one of these as `Origin`.
    Origins { origins: Vec<String> },
    /// Requests with any `Origin`.
    AnyOrigin,
    /// A mandate that lacks at least one of these scopes.
    WithoutScopes { scopes: Vec<String> },
    /// A mandate that lacks at least one of these targets.
    WithoutTargets { targets: Vec<String> },
    /// A mandate whose chain lacks at least one of these.
    WithoutInChain { applications: Vec<String> },
    /// A mandate with this `use`.
    Use { token_use: TokenUse },
    /// A mandate without an agent session.
    WithoutSession,
    /// A mandate without a delegation edge.
    WithoutDelegation,
    /// A mandate with this many hops.
    Hops { from: u64, to: u64 },
    /// A mandate for one audience and not for the other.
    Audience { audience: String, without: String },
    /// A mandate from this issuer, of one zone among several.
    Issuer {
        issuer: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// A mandate from this zone.
    Zone { zone: String },
    /// A mandate of which one of these cannot be sent to the upstream: a claim, the whole
    /// `payload`, or `baggage`.
    Unsendable { claims: Vec<String> },
    /// Every mandate of the other mode.
    Mode { mode: Mode },
    /// Gateway mode: a mandate that is valid for so many seconds more.
    Remaining { from_s: u64, to_s: u64 },
    /// Gateway mode: what is admitted goes to this upstream.
    Upstream { resource: String, url: String },
    /// A mandate that is signed with one of these algorithms.
    Algorithms { algorithms: Vec<Algorithm> },
    /// A mandate whose `iat` or `nbf` is this many seconds ahead.
    Ahead { from_s: u64, to_s: u64 },
    /// A mandate whose `exp` is this many seconds after its `iat`; without an upper end,
    /// any number.
    Lifetime { from_s: u64, to_s: Option<u64> },
    /// A token with this many bytes.
    TokenBytes { from: u64, to: u64 },
    /// A mandate that was revoked, or whose delegation is stale, or any while the
    /// revocation state is missing.
    Revoked,
    /// Any mandate, with a revocation state of this age.
    StateAge { from_s: u64, to_s: u64 },
    /// Any mandate, while this many anchors are revoked.
    Anchors { from: u64, to: u64 },
    /// A mandate whose key the zone withdrew this long ago.
    WithdrawnKey {
        from_s: u64,
        to_s: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// Any mandate, with a key set that could not be refreshed for this long.
    KeySetAge {
        from_s: u64,
        to_s: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
}

impl Extra {
    /// Whether it is about zones alone, whatever is asked for.
    pub(super) fn is_of_zone(&self) -> bool {
        matches!(self, Extra::Zone { .. })
    }
}

/// The numbers that the new bound additionally admits.
pub(super) fn raised(old: u64, new: u64) -> Option<(u64, u64)> {
    (new > old).then(|| (old.saturating_add(1), new))
}

/// Which zone's mandates, where there are several zones.
fn of_zone(zone: &Option<String>) -> String {
    match zone {
        Some(zone) => format!(" of zone {}", shown(zone)),
        None => String::new(),
    }
}

fn list<'t>(texts: impl IntoIterator<Item = &'t String>) -> String {
    let all: Vec<String> = texts.into_iter().map(|one| shown(one)).collect();
    all.join(", ")
}

impl fmt::Display for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_of = |texts: &[String]| match texts {
            [one] => shown(one),
            many => format!("one of {}", list(many)),
        };
        match self {
            Extra::AnyRequest => f.write_str("also requests without a mandate"),
            Extra::AnyMandate => {
                f.write_str("also every mandate that is accepted there now: all were refused")
            }
            Extra::Operation { operation, extra } => write!(f, "{operation}: {extra}"),
            Extra::OtherMessages => f.write_str(
                "also requests that do not say in the older way which operation of MCP they are",
            ),
            Extra::Origins { origins } => write!(f, "also requests from {}", list(origins)),
            Extra::AnyOrigin => f.write_str("also requests from every other origin"),
            Extra::WithoutScopes { scopes } => {
                write!(f, "also mandates without scope {}", one_of(scopes))
            }
            Extra::WithoutTargets { targets } => {
                write!(f, "also mandates without target {}", one_of(targets))
            }
            Extra::WithoutInChain { applications } => write!(
                f,
                "also mandates whose delegation chain lacks {}",
                one_of(applications)
            ),
            Extra::Use { token_use } => {
                write!(f, "also mandates with use={}", token_use.as_str())
            }
            Extra::WithoutSession => f.write_str("also mandates without an agent session"),
            Extra::WithoutDelegation => f.write_str("also mandates that are not delegated"),
            Extra::Hops { from, to } => write!(f, "also mandates of {from} to {to} hops"),
            Extra::Audience { audience, without } => write!(
                f,
                "also mandates for audience {} that are not for {}",
                shown(audience),
                shown(without)
            ),
            Extra::Issuer { issuer, zone } => {
                write!(f, "also mandates of issuer {}{}", shown(issuer), of_zone(zone))
            }
            Extra::Unsendable { claims } => write!(
                f,
                "also mandates of which {} cannot be sent in a header",
                one_of(claims)
            ),
            Extra::Zone { zone } => write!(f, "also mandates of zone {}", shown(zone)),
            Extra::Mode { mode: Mode::Gateway } => {
                f.write_str("mandates for the Gateway, which are exchanged, in place of resource mandates")
            }
            Extra::Mode { mode: Mode::Connector } => {
                f.write_str("resource mandates, in place of those that the Gateway exchanges")
            }
            Extra::Remaining { from_s, to_s } => {
                write!(f, "also mandates that are valid for {from_s} to {to_s} s more")
            }
            Extra::Upstream { resource, url } => write!(
                f,
                "requests for resource {} go to another upstream: {}",
                shown(resource),
                shown(url)
            ),
            Extra::Algorithms { algorithms } => {
                let names: Vec<&str> = algorithms.iter().map(|one| one.as_jose()).collect();
                write!(f, "also mandates signed with {}", names.join(" or "))
            }
            Extra::Ahead { from_s, to_s } => write!(
                f,
                "also mandates whose iat or nbf is {from_s} to {to_s} s ahead"
            ),
            Extra::TokenBytes { from, to } => write!(f, "also tokens of {from} to {to} bytes"),
            Extra::Revoked => f.write_str(
                "also mandates that are revoked or whose delegation is stale, and all while the revocation state is missing",
            ),
            Extra::StateAge { from_s, to_s } => write!(
                f,
                "also mandates while the revocation state is over {} and up to {to_s} s old",
                from_s.saturating_sub(1)
            ),
            Extra::Lifetime { from_s, to_s } => {
                let over = from_s.saturating_sub(1);
                write!(f, "also mandates that are valid for over {over} s")?;
                match to_s {
                    Some(to_s) => write!(f, " and up to {to_s} s"),
                    None => Ok(()),
                }
            }
            Extra::Anchors { from, to } => {
                write!(f, "also mandates while {from} to {to} anchors are revoked")
            }
            Extra::WithdrawnKey { from_s, to_s, zone } => write!(
                f,
                "also mandates{} whose key was withdrawn over {} and up to {to_s} s before",
                of_zone(zone),
                from_s.saturating_sub(1)
            ),
            Extra::KeySetAge { from_s, to_s, zone } => write!(
                f,
                "also mandates{} while the key set could not be refreshed for over {} and up to {to_s} s",
                of_zone(zone),
                from_s.saturating_sub(1)
            ),
        }
    }
}
