//! Reads what a configuration says of the audit of decisions.

use super::audit::{Audit, AuditDecisions};
use super::model::{ProxyKind, Revocation};
use super::reader::{Object, quoted};
use super::{parse_gateway, parse_host};

/// The audit that is configured, if there is one.
pub(super) fn audit(
    object: &Object<'_, '_, '_>,
    host: ProxyKind,
    revocation: Option<&Revocation>,
) -> Option<Audit> {
    let at = object.get("audit")?;
    if host == ProxyKind::Apisix {
        return at.fail(
            "apisix tells a filter neither what became of a request nor the time between requests, and lets it make one call for each; remove the key",
        );
    }
    let audit = at.object()?;
    let upstream = audit
        .require("upstream", "the proxy's name for the companion")
        .and_then(|at| parse_host::upstream(&at, host));
    let tls = parse_host::tls(&audit, host, upstream.as_deref());
    let token = parse_gateway::companion_token(&audit, revocation);
    let decisions = match audit.get("decisions") {
        None => Some(AuditDecisions::All),
        Some(at) => {
            let text = at.text()?;
            let found = AuditDecisions::ALL.iter().find(|(name, _)| *name == text);
            found.map(|(_, one)| *one).or_else(|| {
                at.fail(format!(
                    "expected \"all\" or \"denied\", found {}",
                    quoted(text)
                ))
            })
        }
    };
    audit.finish();
    Some(Audit {
        upstream: upstream?,
        tls,
        token: token?,
        decisions: decisions?,
    })
}
