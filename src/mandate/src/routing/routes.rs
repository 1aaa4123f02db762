//! What a route requires of a mandate, and which route a path and a method fall
//! under.

mod prefixes;
mod shadow;

use std::fmt;

use prefixes::Prefixes;
pub use prefixes::RuleId;

use crate::mcp::rule::{McpRule, Operation};
use crate::reply::{ErrorCode, Reason, Refusal};
use crate::routing::path::{InvalidPath, RequestPath, Work};
use crate::token::claims::TokenUse;

/// Default of `max_hop_count` (contract, row 10).
pub const DEFAULT_MAX_HOP_COUNT: u64 = 10;

/// What a mandate must have to pass (contract, rows 3 and 5 to 11).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Requirements {
    /// Scopes that a mandate must all have.
    pub required_scopes: Vec<String>,
    /// Targets that a mandate must all have.
    pub required_targets: Vec<String>,
    /// The one `use` that is accepted.
    pub required_use: TokenUse,
    /// Whether an agent session is required.
    pub require_session: bool,
    /// Whether a delegation edge is required.
    pub require_delegation: bool,
    /// Application ids that must all be hops of the delegation chain.
    pub require_chain_contains: Vec<String>,
    /// Most hops; 0 means that no delegation hop is allowed at all.
    pub max_hop_count: u64,
}

impl Default for Requirements {
    fn default() -> Self {
        Requirements {
            required_scopes: Vec::new(),
            required_targets: Vec::new(),
            required_use: TokenUse::Resource,
            require_session: false,
            require_delegation: false,
            require_chain_contains: Vec::new(),
            max_hop_count: DEFAULT_MAX_HOP_COUNT,
        }
    }
}

/// Which requirements of a rule apply to a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodId {
    /// The method is not listed: the requirements of the rule itself.
    Any,
    /// An index into [`Route::methods`].
    Listed(usize),
    /// An operation of MCP.
    Mcp(Operation),
}

/// The method differs from a listed one in upper and lower case only. Methods are
/// case-sensitive (RFC 9110 section 9.1), but some upstreams ignore case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidMethod;

impl fmt::Display for InvalidMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The method is not in upper case")
    }
}

impl From<InvalidMethod> for Refusal {
    fn from(why: InvalidMethod) -> Self {
        Refusal::new(ErrorCode::InvalidRequest, why.to_string())
            .because(Reason::Ambiguous)
            .with_hint("Send the method in upper case.")
    }
}

/// What applies under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Without a trailing `/`, so `/` is empty.
    pub prefix: String,
    /// What a method requires that is not listed.
    pub requirements: Requirements,
    /// What the listed methods require instead, by name.
    pub methods: Vec<(String, Requirements)>,
    /// Whether requests that are refused go on all the same.
    pub in_shadow: bool,
    /// What is said about MCP.
    pub mcp: Option<Box<RouteMcp>>,
}

/// What a route says about MCP, with all that each operation requires: what the route
/// requires for POST, and what is added for the operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMcp {
    /// Which operation a request is.
    pub rule: McpRule,
    /// By method, in the rule's order.
    pub methods: Vec<Requirements>,
    /// By tool, in the rule's order.
    pub tools: Vec<Requirements>,
    /// What is checked before a tool that is not listed is refused.
    pub unlisted: Requirements,
}

/// The rules of one resource, longest prefix first.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    default: Requirements,
    routes: Vec<Route>,
    exclude: Vec<String>,
    by_prefix: Prefixes,
    /// The prefixes of routes that no path may fall under in another case: those that say
    /// something about MCP, and those that are enforced where the paths around them are in
    /// shadow. In lower case.
    exact: Prefixes,
    /// Those of them that are enforced amid paths in shadow, as indices in order.
    islands: Vec<usize>,
    /// Whether requests outside the routes that are refused go on all the same.
    in_shadow: bool,
    /// Whether paths may be folded: no prefix contains anything that can be folded.
    folds: bool,
}

impl Rules {
    /// Builds the rules. The reader of the configuration must have checked the prefixes.
    /// A trailing `/` is cut here.
    pub fn new(default: Requirements, mut routes: Vec<Route>, exclude: &[String]) -> Self {
        let cut = |prefix: &str| prefix.trim_end_matches('/').to_owned();
        for route in &mut routes {
            route.prefix = cut(&route.prefix);
        }
        // The longest first. Inserted one by one, because sorting would add 2 KiB to the
        // filter for each type.
        let longest = |a: &str, b: &str| b.len().cmp(&a.len()).then_with(|| a.cmp(b));
        let mut sorted: Vec<Route> = Vec::with_capacity(routes.len());
        for route in routes {
            let before = |one: &Route| longest(&one.prefix, &route.prefix).is_le();
            sorted.insert(sorted.partition_point(before), route);
        }
        let routes = sorted;
        let mut sorted: Vec<String> = Vec::with_capacity(exclude.len());
        for prefix in exclude.iter().map(|prefix| cut(prefix)) {
            let before = |one: &String| longest(one, &prefix).is_le();
            sorted.insert(sorted.partition_point(before), prefix);
        }
        let exclude = sorted;
        // An exclusion wins over a route with the same prefix.
        let mut by_prefix = Prefixes::default();
        for (n, prefix) in exclude.iter().enumerate() {
            by_prefix.add(prefix, RuleId::Excluded(n));
        }
        for (n, route) in routes.iter().enumerate() {
            by_prefix.add(&route.prefix, RuleId::Route(n));
        }
        // Servers that ignore case serve `/MCP` as `/mcp`, with every tool.
        let mut exact = Prefixes::default();
        for (n, route) in routes.iter().enumerate() {
            if route.mcp.is_some() && !exclude.contains(&route.prefix) {
                exact.add(&route.prefix.to_ascii_lowercase(), RuleId::Route(n));
            }
        }
        let mut prefixes = routes.iter().map(|route| &route.prefix).chain(&exclude);
        let folds = prefixes.all(|prefix| prefix.bytes().all(|b| b.is_ascii_graphic()));
        Rules {
            default,
            routes,
            exclude,
            by_prefix,
            exact,
            islands: Vec::new(),
            in_shadow: false,
            folds,
        }
    }

    /// The rule of a path (rows 0 and 1).
    ///
    /// # Errors See [`InvalidPath`]. The answer is 400 `invalid_request`.
    pub fn find(&self, target: Option<&[u8]>) -> Result<RuleId, InvalidPath> {
        let path = RequestPath::parse(target, self.folds)?;
        // With a single rule, all readings agree.
        if let Some(only) = self.only() {
            return Ok(only);
        }
        let mut rule = None;
        self.readings_of(path, |_, found| match *rule.get_or_insert(found) == found {
            true => Ok(()),
            false => Err(InvalidPath::Ambiguous),
        })?;
        rule.ok_or(InvalidPath::NoPath)
    }

    /// The rule of all paths, if there is only one.
    fn only(&self) -> Option<RuleId> {
        match (self.routes.as_slice(), self.exclude.as_slice()) {
            ([], []) => Some(RuleId::Default),
            ([all], []) if all.prefix.is_empty() => Some(RuleId::Route(0)),
            _ => None,
        }
    }

    /// Shows every reading of a path with its rule to `look`, first the path as it came.
    pub(crate) fn readings_of(
        &self,
        path: RequestPath<'_>,
        mut look: impl FnMut(&[u8], RuleId) -> Result<(), InvalidPath>,
    ) -> Result<(), InvalidPath> {
        // A plain request looks up its path too, so this lookup is free. Prefixes that
        // end inside the path are not: there may be as many as there are prefixes.
        let mut free = Some(Work::unbounded());
        path.readings(|reading, work| {
            let mut free = free.take();
            let rule = self
                .by_prefix
                .find(reading, free.as_mut().unwrap_or(work))?;
            look(reading, rule)?;
            if !self.exact.0.is_empty() {
                let work = free.as_mut().unwrap_or(work);
                let is_exact = |rule| self.is_exact(rule);
                self.exact
                    .check_case(reading, work, is_exact, &self.by_prefix)?;
            }
            for length in self.by_prefix.within(reading) {
                if let Some(cut) = length.cut(reading, free.as_mut().unwrap_or(work))? {
                    look(cut, self.by_prefix.find(cut, work)?)?;
                }
            }
            Ok(())
        })
    }

    /// Which requirements of a rule apply to a method. The method is looked up after the
    /// rule, because the readings of a path must agree on the route.
    ///
    /// # Errors [`InvalidMethod`]. The answer is 400 `invalid_request`.
    pub fn method(&self, rule: RuleId, method: Option<&[u8]>) -> Result<MethodId, InvalidMethod> {
        let listed = match rule {
            RuleId::Route(n) => self.routes.get(n).map(|route| &route.methods),
            RuleId::Default | RuleId::Excluded(_) => None,
        };
        let (Some(listed), Some(method)) = (listed, method) else {
            return Ok(MethodId::Any);
        };
        let find = |is: fn(&[u8], &[u8]) -> bool| {
            let mut names = listed.iter().map(|(name, _)| name.as_bytes());
            names.position(|name| is(name, method))
        };
        match find(|name, method| name == method) {
            Some(n) => Ok(MethodId::Listed(n)),
            None if find(<[u8]>::eq_ignore_ascii_case).is_some() => Err(InvalidMethod),
            None => Ok(MethodId::Any),
        }
    }

    /// What a rule requires; `None` if nothing is verified.
    pub fn requirements(&self, rule: RuleId, method: MethodId) -> Option<&Requirements> {
        match (rule, method) {
            (RuleId::Default, MethodId::Any) => Some(&self.default),
            (RuleId::Route(n), MethodId::Any) => self.routes.get(n).map(|r| &r.requirements),
            (RuleId::Route(n), MethodId::Listed(m)) => {
                let methods = &self.routes.get(n)?.methods;
                methods.get(m).map(|(_, requirements)| requirements)
            }
            (RuleId::Route(n), MethodId::Mcp(operation)) => self.operation(n, operation),
            (RuleId::Default | RuleId::Excluded(_), _) => None,
        }
    }

    /// What an operation of MCP requires. None for a tool that is not listed: no mandate is
    /// enough for it.
    #[cold]
    #[inline(never)]
    fn operation(&self, route: usize, operation: Operation) -> Option<&Requirements> {
        let mcp = self.routes.get(route)?.mcp.as_ref()?;
        match operation {
            Operation::Method(n) => mcp.methods.get(n),
            Operation::Tool(n) => mcp.tools.get(n),
            Operation::UnlistedTool | Operation::Unread => None,
        }
    }

    /// What a rule says about MCP.
    pub fn mcp(&self, rule: RuleId) -> Option<&RouteMcp> {
        match rule {
            RuleId::Route(n) => self.routes.get(n)?.mcp.as_deref(),
            RuleId::Default | RuleId::Excluded(_) => None,
        }
    }

    /// What is checked before a tool that is not listed is refused; none for any other
    /// operation.
    #[cold]
    #[inline(never)]
    pub fn requirements_of_unlisted(
        &self,
        rule: RuleId,
        method: MethodId,
    ) -> Option<&Requirements> {
        match method {
            MethodId::Mcp(Operation::UnlistedTool) => Some(&self.mcp(rule)?.unlisted),
            _ => None,
        }
    }

    /// Whether a rule is one of [`Rules::exact`].
    fn is_exact(&self, rule: RuleId) -> bool {
        let RuleId::Route(n) = rule else { return false };
        self.mcp(rule).is_some() || self.islands.binary_search(&n).is_ok()
    }

    /// The requirements at the top level.
    pub fn default_requirements(&self) -> &Requirements {
        &self.default
    }

    /// Every route.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Excluded prefixes, without trailing `/`.
    pub fn exclude(&self) -> &[String] {
        &self.exclude
    }
}

#[cfg(test)]
mod tests;
