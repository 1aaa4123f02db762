//! The rules of a resource that are in shadow: what is refused there goes on all the same.

use super::{Route, RuleId, Rules};

impl Rules {
    /// The same rules, where requests outside the routes are in shadow, or are not. Servers
    /// that ignore case serve `/PAYOUTS` as `/payouts`: if that is enforced and what is
    /// around it is in shadow, another spelling of it must not go on unverified.
    #[must_use]
    pub fn with_shadow(mut self, default: bool) -> Self {
        self.in_shadow = default;
        for (n, route) in self.routes.iter().enumerate() {
            if self.is_island(route) && !self.exclude.contains(&route.prefix) {
                let lower = route.prefix.to_ascii_lowercase();
                self.exact.add(&lower, RuleId::Route(n));
                self.islands.push(n);
            }
        }
        self
    }

    /// Whether a route is enforced, and a path in another case could fall in shadow.
    fn is_island(&self, route: &Route) -> bool {
        let could_be_under = |other: &Route| {
            let start = route.prefix.get(..other.prefix.len());
            let rest = route.prefix.get(other.prefix.len()..).unwrap_or_default();
            start.is_some_and(|start| start.eq_ignore_ascii_case(&other.prefix))
                && (rest.is_empty() || rest.starts_with('/'))
        };
        let mut in_shadow = self.routes.iter().filter(|other| other.in_shadow);
        !route.in_shadow && (self.in_shadow || in_shadow.any(could_be_under))
    }

    /// Whether requests under a rule that are refused go on all the same.
    pub fn is_in_shadow(&self, rule: RuleId) -> bool {
        match rule {
            RuleId::Default => self.in_shadow,
            RuleId::Route(n) => self.routes.get(n).is_some_and(|route| route.in_shadow),
            RuleId::Excluded(_) => false,
        }
    }

    /// The prefixes of the rules that are in shadow; none for every path outside the routes.
    pub fn in_shadow(&self) -> Vec<Option<&str>> {
        let mut found = Vec::new();
        let has_root = self.routes.iter().any(|route| route.prefix.is_empty());
        if self.in_shadow && !has_root {
            found.push(None);
        }
        for route in self.routes.iter().filter(|route| route.in_shadow) {
            found.push(Some(match route.prefix.as_str() {
                "" => "/",
                prefix => prefix,
            }));
        }
        found
    }
}
