//! Describes the rule of a request.

use caracal_mandate::mcp::rule::{McpRule, Operation};
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
            let what = match method {
                Some(MethodId::Listed(m)) => route.methods.get(m).map(|(name, _)| name.clone()),
                Some(MethodId::Mcp(operation)) => {
                    let mcp = route.mcp.as_ref();
                    mcp.map(|mcp| operation_in_words(&mcp.rule, operation))
                }
                Some(MethodId::Any) | None => None,
            };
            match what {
                Some(what) => format!("{what} of the route {}", shown(prefix)),
                None => format!("the route {}", shown(prefix)),
            }
        }
    }
}

/// The rules that are in shadow.
pub(crate) fn in_shadow(rules: &Rules) -> Vec<String> {
    let outside = || "every path outside routes".to_owned();
    let all = rules.in_shadow().into_iter();
    all.map(|prefix| prefix.map_or_else(outside, shown))
        .collect()
}

/// An operation of MCP by its name.
pub(crate) fn operation_in_words(rule: &McpRule, operation: Operation) -> String {
    let named = |names: Option<&[String]>, n: usize| {
        let name = names.and_then(|names| names.get(n));
        shown(name.map_or("", String::as_str))
    };
    match operation {
        Operation::Tool(n) => format!("the tool {}", named(rule.tools(), n)),
        Operation::Method(n) => format!("the MCP method {}", named(Some(rule.methods()), n)),
        Operation::UnlistedTool => "a tool that is not listed".to_owned(),
        Operation::Unread => "a message that was not read".to_owned(),
    }
}
