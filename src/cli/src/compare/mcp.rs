//! What one configuration lets through on a route of MCP that another refused. Each
//! operation that either knows is compared by itself.

use caracal_mandate::mcp::rule::McpRule;
use caracal_mandate::routing::routes::{MethodId, Requirements, RouteMcp, RuleId, Rules};

use super::extra::Extra;
use super::widening;
use crate::terminal::shown;

/// How a configuration treats POST under one rule.
pub(super) struct Post<'a> {
    audience: &'a str,
    base: &'a Requirements,
    mcp: Option<&'a RouteMcp>,
}

/// An operation by its name.
enum Named<'a> {
    Tool(&'a str),
    OtherTool,
    Method(&'a str),
    OtherMethod,
}

impl<'a> Post<'a> {
    /// None if no POST is verified there.
    pub(super) fn of(audience: &'a str, rules: &'a Rules, rule: RuleId) -> Option<Self> {
        let method = rules.method(rule, Some(b"POST")).unwrap_or(MethodId::Any);
        Some(Post {
            audience,
            base: rules.requirements(rule, method)?,
            mcp: rules.mcp(rule),
        })
    }

    pub(super) fn has_mcp(&self) -> bool {
        self.mcp.is_some()
    }

    fn rule(&self) -> Option<&'a McpRule> {
        self.mcp.map(|mcp| &mcp.rule)
    }

    /// What an operation requires; none if it is refused.
    fn requires(&self, one: &Named<'_>) -> Option<&'a Requirements> {
        let Some(mcp) = self.mcp else {
            return Some(self.base);
        };
        let at = |names: &[String], name: &str| names.iter().position(|own| own == name);
        match (one, mcp.rule.tools()) {
            (Named::Tool(name), Some(tools)) => mcp.tools.get(at(tools, name)?),
            (Named::OtherTool, Some(_)) => None,
            (Named::Tool(_) | Named::OtherTool, None) => Some(&mcp.unlisted),
            (Named::Method(name), _) => match at(mcp.rule.methods(), name) {
                Some(n) => mcp.methods.get(n),
                None => Some(self.base),
            },
            (Named::OtherMethod, _) => Some(self.base),
        }
    }

    /// What a request must show for its operation to be known.
    fn reads(&self) -> Reads {
        match self.rule() {
            Some(rule) if rule.max_body().is_some() => Reads::Message,
            Some(rule) if rule.tools().is_some() || !rule.methods().is_empty() => Reads::Headers,
            _ => Reads::Nothing,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Reads {
    Nothing,
    Headers,
    Message,
}

/// What is admitted now of POST and was not before.
pub(super) fn beyond(before: &Post<'_>, now: &Post<'_>) -> Vec<Extra> {
    let rules = || [before, now].into_iter().filter_map(Post::rule);
    let mut names: Vec<Named<'_>> = vec![Named::OtherTool, Named::OtherMethod];
    let tools = rules().flat_map(|rule| rule.tools().into_iter().flatten());
    names.extend(tools.map(|name| Named::Tool(name)));
    let methods = rules().flat_map(|rule| rule.methods());
    names.extend(methods.map(|name| Named::Method(name)));
    let mut all: Vec<Extra> = Vec::new();
    for one in &names {
        let extra = match (before.requires(one), now.requires(one)) {
            (_, None) => Vec::new(),
            (None, Some(_)) => vec![Extra::AnyMandate],
            (Some(old), Some(new)) => {
                widening::of_requirements((before.audience, old), (now.audience, new))
            }
        };
        let operation = match one {
            Named::Tool(name) => format!("the tool {}", shown(name)),
            Named::OtherTool => "any other tool".to_owned(),
            Named::Method(name) => format!("the MCP method {}", shown(name)),
            Named::OtherMethod => "any other method of MCP".to_owned(),
        };
        for extra in extra {
            let extra = Extra::Operation {
                operation: operation.clone(),
                extra: Box::new(extra),
            };
            if !all.contains(&extra) {
                all.push(extra);
            }
        }
    }
    if before.reads() != now.reads() && before.reads() != Reads::Nothing {
        all.push(Extra::OtherMessages);
    }
    all.extend(origins(before, now));
    all
}

/// Origins that are allowed now and were not before. They are looked at for every method.
pub(super) fn origins(before: &Post<'_>, now: &Post<'_>) -> Option<Extra> {
    let old = before.rule().and_then(McpRule::origins)?;
    match now.rule().and_then(McpRule::origins) {
        None => Some(Extra::AnyOrigin),
        Some(new) => {
            let added = new.iter().filter(|one| !old.contains(one));
            let origins: Vec<String> = added.cloned().collect();
            (!origins.is_empty()).then_some(Extra::Origins { origins })
        }
    }
}
