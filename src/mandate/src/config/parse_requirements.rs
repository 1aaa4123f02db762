//! Reads requirements.

use super::bounds::MAX_HOP_COUNT;
use super::reader::{At, Object, quoted};
use super::rules::Overrides;
use super::values;
use crate::token::claims::TokenUse;

/// The requirements in an object.
pub(super) fn overrides(object: &Object<'_, '_, '_>) -> Overrides {
    let strings = |name| object.get(name).and_then(|at: At<'_, '_, '_>| at.strings());
    Overrides {
        required_scopes: object.get("required_scopes").and_then(|at| scopes(&at)),
        required_targets: strings("required_targets"),
        required_use: object.get("required_use").and_then(|at| {
            let text = at.text()?;
            let named = TokenUse::from_name(text).filter(|one| *one != TokenUse::Gateway);
            named.or_else(|| {
                at.fail(format!(
                    "expected \"resource\" or \"session\", found {}",
                    quoted(text)
                ))
            })
        }),
        require_session: object
            .get_either("require_session", "require_agent")
            .and_then(|at| at.boolean()),
        require_delegation: object.get("require_delegation").and_then(|at| at.boolean()),
        require_chain_contains: strings("require_chain_contains"),
        max_hop_count: object
            .get("max_hop_count")
            .and_then(|at| at.integer(&MAX_HOP_COUNT)),
    }
}

fn scopes(at: &At<'_, '_, '_>) -> Option<Vec<String>> {
    let scopes = at.strings()?;
    let mut fine = true;
    for (n, scope) in scopes.iter().enumerate() {
        if let Err(problem) = values::scope(scope) {
            at.errors.add(
                format!("{}[{n}]", at.path),
                format!("{} {problem}", quoted(scope)),
            );
            fine = false;
        }
    }
    fine.then_some(scopes)
}
