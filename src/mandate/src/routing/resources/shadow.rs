//! Which rules are in shadow: what is refused there goes on all the same.

use super::{InShadow, Resources};
use crate::routing::routes::RuleId;

impl Resources {
    /// How much is in shadow.
    pub fn in_shadow(&self) -> InShadow {
        let (mut any, mut all) = (false, true);
        let mut note = |is_in_shadow: bool| {
            any |= is_in_shadow;
            all &= is_in_shadow;
        };
        for one in self.all() {
            note(one.rules.is_in_shadow(RuleId::Default));
            for route in one.rules.routes() {
                note(route.in_shadow);
            }
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
            for prefix in one.rules.in_shadow() {
                found.push((id, prefix));
            }
        }
        found
    }
}
