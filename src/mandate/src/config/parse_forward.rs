//! Reads what a configuration forwards of a mandate: names, each with the claim it
//! carries.

use std::collections::BTreeMap;

use super::bounds::MAX_FORWARDED;
use super::forward::PrincipalClaim;
use super::reader::{At, quoted};

/// Reads names with their claims. `rule` checks each name.
pub(super) fn forwarded(
    at: &At<'_, '_, '_>,
    check: fn(&str) -> Result<(), String>,
) -> Option<BTreeMap<String, PrincipalClaim>> {
    let mut headers = BTreeMap::new();
    for (name, claim) in at.entries(MAX_FORWARDED)? {
        if let Err(problem) = check(name) {
            claim.fail::<()>(format!("{} {problem}", quoted(name)));
        }
        let Some(text) = claim.text() else { continue };
        match PrincipalClaim::ALL.iter().find(|(known, _)| *known == text) {
            Some((_, known)) => drop(headers.insert(name.to_owned(), *known)),
            None => {
                let all: Vec<&str> = PrincipalClaim::ALL.iter().map(|(name, _)| *name).collect();
                claim.fail::<()>(format!(
                    "expected a claim ({}), found {}",
                    all.join(", "),
                    quoted(text)
                ));
            }
        }
    }
    Some(headers)
}
