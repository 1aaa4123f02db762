//! Which rules are in shadow: what is refused there goes on all the same.

use super::Resources;
use crate::routing::routes::{RuleId, Rules};

/// How much of a configuration is in shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InShadow {
    /// Every refusal is carried out.
    Nothing,
    /// Some rules are in shadow. A request whose rule is not known is refused.
    Parts,
    /// No refusal is carried out.
    Everything,
}

impl Resources {
    /// How much is in shadow.
    pub fn in_shadow(&self) -> InShadow {
        let rules = || self.all().iter().map(|one| &one.rules);
        let of_routes = rules().flat_map(Rules::routes).map(|one| one.in_shadow);
        let defaults = rules().map(|one| one.is_in_shadow(RuleId::Default));
        let (mut any, mut all) = (false, true);
        for is_in_shadow in of_routes.chain(defaults) {
            any |= is_in_shadow;
            all &= is_in_shadow;
        }
        match (any, all) {
            (false, _) => InShadow::Nothing,
            (true, true) => InShadow::Everything,
            (true, false) => InShadow::Parts,
        }
    }

    /// The rules that are in shadow: the identifier of each one's resource, if resources
    /// have names, and its prefix; no prefix for every path outside the routes.
    pub fn rules_in_shadow(&self) -> Vec<(Option<&str>, Option<&str>)> {
        let mut found = Vec::new();
        for one in self.all() {
            let id = self.are_named().then_some(one.id.as_str());
            found.extend(one.rules.in_shadow().map(|prefix| (id, prefix)));
        }
        found
    }
}
