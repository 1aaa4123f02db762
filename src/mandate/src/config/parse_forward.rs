//! Reads what a configuration forwards of a mandate: names, each with the claim it
//! carries.

use std::collections::BTreeMap;

use super::bounds::MAX_FORWARDED;
use super::forward::{Baggage, PrincipalClaim, Unsendable};
use super::gateway::Mode;
use super::reader::{At, Object, one_of, quoted};
use super::values;

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

/// What an upstream is told besides single claims.
pub(super) struct Context {
    pub(super) baggage: Baggage,
    pub(super) claims: Option<String>,
    pub(super) unsendable: Unsendable,
}

/// Reads what becomes of `baggage`, the header with all claims, and what happens to what
/// cannot be sent. `headers` are those with single claims.
pub(super) fn context(
    object: &Object<'_, '_, '_>,
    mode: Mode,
    headers: &BTreeMap<String, PrincipalClaim>,
) -> Context {
    let baggage = choice(object, "baggage", &Baggage::ALL).unwrap_or(Baggage::Remove);
    if baggage == Baggage::Keep && mode == Mode::Gateway {
        let what = "in Gateway mode the caller's caracal.* members do not go on where a mandate is judged; \"remove\" or \"verified\"";
        object.fail::<()>("baggage", what);
    }
    let claims = object.get("claims");
    let claims = claims.and_then(|at| claims_header(&at, headers));
    let unsendable = choice(object, "unsendable", &Unsendable::ALL);
    Context {
        baggage,
        claims,
        unsendable: unsendable.unwrap_or(Unsendable::Refuse),
    }
}

fn claims_header(
    at: &At<'_, '_, '_>,
    headers: &BTreeMap<String, PrincipalClaim>,
) -> Option<String> {
    let name = at.text()?;
    if let Err(problem) = values::forward_header(name) {
        return at.fail(format!("{} {problem}", quoted(name)));
    }
    // Names that differ in punctuation alone are the same to some upstreams.
    let folded = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    if headers.keys().any(|own| folded(own) == folded(name)) {
        return at.fail("is a header of forward.headers too; choose another");
    }
    Some(name.to_owned())
}

/// Reads one of several words.
fn choice<T: Copy, const N: usize>(
    object: &Object<'_, '_, '_>,
    name: &'static str,
    all: &[(&'static str, T); N],
) -> Option<T> {
    let at = object.get(name)?;
    let text = at.text()?;
    let known = all.iter().find(|(known, _)| *known == text);
    let known = known.map(|(_, choice)| *choice);
    known.or_else(|| {
        at.fail(format!(
            "expected {}, found {}",
            one_of(all.map(|(name, _)| name)),
            quoted(text)
        ))
    })
}
