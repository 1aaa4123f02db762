//! What a newer configuration admits and an older one refused. It looks at every class of
//! requests that either configuration can tell apart, and finds the mandates for each
//! class ([`extra`]).
//!
//! A class is a choice of resource ([`choices`]), the paths under one prefix and under no
//! longer prefix of either configuration, and a method that either configuration lists,
//! or any other method. Paths with several readings are separate classes, because the
//! older configuration may have refused them for that reason alone.

mod extra;
mod gateway;
mod mcp;
pub(crate) mod render;
mod resource_selectors;
pub(crate) mod widening;
mod zones;

use caracal_mandate::config::Configuration;
use caracal_mandate::routing::resources::{InShadow, Resource, Resources};
use caracal_mandate::routing::routes::{Requirements, RuleId, Rules};
use serde::Serialize;

use extra::Extra;
use resource_selectors::Choice;

/// Everything that the newer configuration additionally lets through.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    /// For all requests, if both configurations need a mandate: with these mandates.
    pub(crate) everywhere: Vec<Extra>,
    /// For single classes of requests.
    pub(crate) findings: Vec<Finding>,
    /// What differs and could not be compared.
    pub(crate) not_compared: Vec<String>,
}

/// Requests, and the mandates with which they are additionally let through.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// How these requests name their resource; empty if there is only one resource.
    pub(crate) choices: Vec<Choice>,
    /// Their paths.
    pub(crate) paths: Paths,
    /// Their methods.
    pub(crate) methods: Vec<Method>,
    /// What is let through; each entry alone is enough.
    pub(crate) extra: Vec<Extra>,
}

impl Finding {
    /// Everything, whatever it carries.
    fn anything() -> Self {
        let all = Region {
            prefix: String::new(),
            except: Vec::new(),
        };
        Finding {
            choices: Vec::new(),
            paths: Paths::Under(vec![all]),
            methods: vec![Method::Other(Vec::new())],
            extra: vec![Extra::AnyRequest],
        }
    }
}

/// The paths of a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Paths {
    /// Under one of these.
    Under(Vec<Region>),
    /// Paths with readings under at least two of these groups. Each group is one rule of
    /// the older configuration, which answered 400.
    Between(Vec<Vec<Region>>),
}

/// Paths under a prefix, and under none of the longer ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Region {
    /// Without a trailing `/`; empty for every path.
    pub(crate) prefix: String,
    pub(crate) except: Vec<String>,
}

/// The methods of a class.
#[derive(Debug, Clone, PartialEq, PartialOrd, Ord, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    /// This one, in upper case.
    Is(String),
    /// This one, but not in upper case.
    InOtherLetters(String),
    /// Any method except these.
    Other(Vec<String>),
}

impl Comparison {
    pub(crate) fn of(old: &Configuration, new: &Configuration) -> Self {
        let (before, now) = (old.in_force(), new.in_force());
        let mut findings = Vec::new();
        let is_open = |of: &Resources| of.in_shadow() == InShadow::Everything;
        if is_open(&now) && !is_open(&before) {
            // Also what falls under no rule.
            return Comparison {
                everywhere: widening::of_configurations(old, new),
                findings: vec![Finding::anything()],
                not_compared: widening::not_compared(old, new),
            };
        }
        for (choice, choices) in resource_selectors::all(&before, &now) {
            let (was, is) = (get(&before, choice.before), get(&now, choice.now));
            let zones = zones::newly_accepted((old, was), (new, is));
            for (paths, methods, extra) in of_resource(was, is, &zones) {
                findings.push(Finding {
                    choices: choices.clone(),
                    paths,
                    methods,
                    extra,
                });
            }
        }
        Comparison {
            everywhere: widening::of_configurations(old, new),
            findings,
            not_compared: widening::not_compared(old, new),
        }
    }

    /// Whether nothing is additionally let through.
    pub(crate) fn is_empty(&self) -> bool {
        self.everywhere.is_empty() && self.findings.is_empty()
    }
}

fn get(resources: &Resources, nth: Option<usize>) -> Option<&Resource> {
    resources.all().get(nth?)
}

type Class = (Paths, Vec<Method>, Vec<Extra>);

/// How a configuration answers a class of requests.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer<'a> {
    /// 400, whatever the mandate.
    Never,
    /// Excluded, or in shadow.
    Unverified,
    Verified(&'a str, &'a Requirements),
}

impl<'a> Answer<'a> {
    fn of(resource: Option<&'a Resource>, rule: Option<RuleId>, method: &str) -> Self {
        let (Some(resource), Some(rule)) = (resource, rule) else {
            return Answer::Never;
        };
        let rules = &resource.rules;
        if matches!(rule, RuleId::Excluded(_)) || rules.is_in_shadow(rule) {
            return Answer::Unverified;
        }
        // Such a request is refused where messages are read.
        if method != "POST" && method.eq_ignore_ascii_case("POST") && rules.mcp(rule).is_some() {
            return Answer::Never;
        }
        let method = rules.method(rule, Some(method.as_bytes())).ok();
        match method.and_then(|method| rules.requirements(rule, method)) {
            Some(required) => Answer::Verified(&resource.audience, required),
            None => Answer::Never,
        }
    }

    /// What is admitted now and was not before, without the conditions for all mandates.
    /// `zones` are those of both configurations that only the new one accepts here.
    fn beyond(self, before: Self, zones: &[String]) -> Vec<Extra> {
        match (before, self) {
            (_, Answer::Never) | (Answer::Unverified, _) => Vec::new(),
            (_, Answer::Unverified) => vec![Extra::AnyRequest],
            (Answer::Never, Answer::Verified(..)) => vec![Extra::AnyMandate],
            (Answer::Verified(old_audience, old), Answer::Verified(audience, new)) => {
                let mut all = widening::of_requirements((old_audience, old), (audience, new));
                let zones = zones.iter().cloned();
                all.extend(zones.map(|zone| Extra::Zone { zone }));
                all
            }
        }
    }
}

/// The classes of requests for one resource that are additionally let through.
fn of_resource(old: Option<&Resource>, new: Option<&Resource>, zones: &[String]) -> Vec<Class> {
    let Some(new) = new else {
        return Vec::new();
    };
    let rules = |of: Option<&'_ Resource>| of.map(|one| one.rules.clone()).unwrap_or_default();
    let (old_rules, new_rules) = (rules(old), rules(Some(new)));
    let regions = regions(&old_rules, &new_rules);
    let methods = methods(&old_rules, &new_rules);
    let find = |rules: &Rules, region: &Region| {
        let path = match region.prefix.as_str() {
            "" => "/",
            prefix => prefix,
        };
        rules.find(Some(path.as_bytes())).ok()
    };

    let mut under: Vec<Class> = Vec::new();
    // Each region under a rule of the new configuration, with its rule in the old one.
    let mut between: Vec<(RuleId, Vec<(&Region, RuleId)>)> = Vec::new();
    for region in &regions {
        let before = old.and_then(|_| find(&old_rules, region));
        let now = find(&new_rules, region);
        let posts = [(old, before), (Some(new), now)].map(|(resource, rule)| {
            let resource =
                resource.filter(|one| !one.rules.is_in_shadow(rule.unwrap_or(RuleId::Default)))?;
            mcp::Post::of(&resource.audience, &resource.rules, rule?)
        });
        let answers = |method: &str| {
            let (was, is) = (
                Answer::of(old, before, method),
                Answer::of(Some(new), now, method),
            );
            let mut extra = is.beyond(was, zones);
            if let [Some(was), Some(is)] = &posts
                && (was.has_mcp() || is.has_mcp())
            {
                match method {
                    "POST" => {
                        extra.retain(Extra::is_of_zone);
                        extra.extend(mcp::beyond(was, is));
                    }
                    _ => extra.extend(mcp::origins(was, is)),
                }
            }
            extra
        };
        for (methods, extra) in by_extra(&methods, answers) {
            // Regions with the same result are one class with several prefixes.
            let same = under
                .iter_mut()
                .find(|(_, of, what)| *of == methods && *what == extra);
            match same {
                Some((Paths::Under(all), ..)) => all.push(region.clone()),
                _ => under.push((Paths::Under(vec![region.clone()]), methods, extra)),
            }
        }
        if let (Some(before), Some(now)) = (before, now) {
            match between.iter_mut().find(|(rule, _)| *rule == now) {
                Some((_, regions)) => regions.push((region, before)),
                None => between.push((now, vec![(region, before)])),
            }
        }
    }
    for (now, regions) in between {
        let mut groups: Vec<(RuleId, Vec<Region>)> = Vec::new();
        for (region, before) in regions {
            match groups.iter_mut().find(|(rule, _)| *rule == before) {
                Some((_, group)) => group.push(region.clone()),
                None => groups.push((before, vec![region.clone()])),
            }
        }
        if groups.len() < 2 {
            continue;
        }
        let all: Vec<Vec<Region>> = groups.into_iter().map(|(_, of)| joined(of)).collect();
        let answers =
            |method: &str| Answer::of(Some(new), Some(now), method).beyond(Answer::Never, &[]);
        for (methods, extra) in by_extra(&methods, answers) {
            under.push((Paths::Between(all.clone()), methods, extra));
        }
    }
    for (paths, ..) in &mut under {
        if let Paths::Under(regions) = paths {
            *regions = joined(std::mem::take(regions));
        }
    }
    under
}

/// The same paths in fewer regions: a region that another one leaves out is put back into
/// it.
fn joined(mut regions: Vec<Region>) -> Vec<Region> {
    // The longest first, so that a region is complete when it is put back.
    regions.sort_by(|a, b| b.prefix.cmp(&a.prefix));
    let mut kept: Vec<Region> = Vec::new();
    for mut region in regions {
        let (inner, apart): (Vec<Region>, Vec<Region>) = kept
            .into_iter()
            .partition(|one| region.except.contains(&one.prefix));
        region
            .except
            .retain(|prefix| !inner.iter().any(|one| one.prefix == *prefix));
        region
            .except
            .extend(inner.into_iter().flat_map(|one| one.except));
        kept = apart;
        kept.push(region);
    }
    kept.reverse();
    kept
}

/// The methods, grouped by what is let through for them.
fn by_extra(
    methods: &[(Method, String)],
    extra: impl Fn(&str) -> Vec<Extra>,
) -> Vec<(Vec<Method>, Vec<Extra>)> {
    let mut groups: Vec<(Vec<Method>, Vec<Extra>)> = Vec::new();
    for (method, sent) in methods {
        let extra = extra(sent);
        if extra.is_empty() {
            continue;
        }
        match groups.iter_mut().find(|(_, known)| *known == extra) {
            Some((group, _)) => group.push(method.clone()),
            None => groups.push((vec![method.clone()], extra)),
        }
    }
    groups
}

/// Every prefix of either configuration, each with the paths that are under no longer
/// prefix.
fn regions(old: &Rules, new: &Rules) -> Vec<Region> {
    let mut prefixes: Vec<&str> = [old, new]
        .into_iter()
        .flat_map(|rules| {
            let routes = rules.routes().iter().map(|route| route.prefix.as_str());
            routes.chain(rules.exclude().iter().map(String::as_str))
        })
        .chain([""])
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let is_under = |path: &str, prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let region = |prefix: &&str| {
        let mut below: Vec<&str> = Vec::new();
        // The prefixes are sorted, so those under another one come after it.
        for other in prefixes.iter().filter(|other| is_under(other, prefix)) {
            if !below.iter().any(|known| is_under(other, known)) {
                below.push(other);
            }
        }
        Region {
            prefix: (*prefix).to_owned(),
            except: below.into_iter().map(str::to_owned).collect(),
        }
    };
    prefixes.iter().map(region).collect()
}

/// Every method that either configuration lists, the same in lower case, and one that
/// neither lists; each with its text in a request.
fn methods(old: &Rules, new: &Rules) -> Vec<(Method, String)> {
    let routes = old.routes().iter().chain(new.routes());
    let mut names: Vec<String> = routes
        .flat_map(|route| {
            let post = route.mcp.is_some().then(|| "POST".to_owned());
            let listed = route.methods.iter().map(|(name, _)| name.clone());
            listed.chain(post)
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut other = "ANOTHER".to_owned();
    while names.contains(&other) {
        other.push('X');
    }
    let mut all = Vec::new();
    for name in &names {
        all.push((Method::Is(name.clone()), name.clone()));
        let lower = name.to_ascii_lowercase();
        // A name without letters has no lower case.
        if lower != *name {
            all.push((Method::InOtherLetters(name.clone()), lower));
        }
    }
    all.push((Method::Other(names), other));
    all
}
