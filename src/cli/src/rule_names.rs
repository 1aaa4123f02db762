//! Describes the rule of a request.

use caracal_mandate::routing::routes::{MethodId, RuleId, Rules};

use crate::terminal::shown;

/// A rule by its prefix, and by the method if that has its own requirements.
pub(crate) fn rule_in_words(rules: &Rules, rule: RuleId, method: Option<MethodId>) -> String {
    match rule {
        RuleId::Default => "the rule outside routes".to_owned(),
        RuleId::Excluded(n) => {
            let prefix = rules.exclude().get(n).map_or("", String::as_str);
            format!("the excluded prefix {}", shown(prefix))
        }
        RuleId::Route(n) => {
            let Some(route) = rules.routes().get(n) else {
                return "no rule".to_owned();
            };
            let prefix = match route.prefix.as_str() {
                "" => "/",
                prefix => prefix,
            };
            let method = match method {
                Some(MethodId::Listed(m)) => route.methods.get(m),
                _ => None,
            };
            match method {
                Some((name, _)) => format!("{name} of the route {}", shown(prefix)),
                None => format!("the route {}", shown(prefix)),
            }
        }
    }
}
