//! Describes a comparison in words.

use super::resource_selectors::{At, Choice, Named};
use super::{Comparison, Finding, Method, Paths, Region};
use crate::terminal::shown;

/// Most entries of a list that are shown.
const MOST: usize = 5;

/// The lines about a comparison with the configuration of this name.
pub(crate) fn text(comparison: &Comparison, old: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if comparison.is_empty() {
        lines.push(format!("lets nothing through that {old} refused"));
    } else {
        lines.push(format!("lets through what {old} refused:"));
    }
    for extra in &comparison.everywhere {
        lines.push(format!(
            "  for every request that needs a mandate in both: {extra}"
        ));
    }
    for finding in &comparison.findings {
        for extra in &finding.extra {
            lines.push(format!("  {}: {extra}", requests(finding)));
        }
    }
    for note in &comparison.not_compared {
        lines.push(format!("  not compared: {note}"));
    }
    lines
}

fn requests(finding: &Finding) -> String {
    let mut words = String::new();
    if let Some(methods) = methods(&finding.methods) {
        words.push_str(&methods);
        words.push(' ');
    }
    words.push_str(&match &finding.paths {
        Paths::Under(regions) => some(regions.iter().map(region)),
        Paths::Between(groups) => {
            let group = |regions: &Vec<Region>| some(regions.iter().map(region));
            let groups: Vec<String> = groups.iter().map(group).collect();
            format!(
                "paths that can be read under more than one of [{}] (they got 400)",
                groups.join("; ")
            )
        }
    });
    if !finding.choices.is_empty() {
        words.push_str(" with ");
        words.push_str(&some(finding.choices.iter().map(choice)));
    }
    words
}

fn some(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(MOST);
    let mut shown: Vec<String> = all.take(MOST).collect();
    if more > 0 {
        shown.push(format!("{more} more (see --json)"));
    }
    shown.join(", ")
}

fn region(region: &Region) -> String {
    let except = region.except.iter().map(|below| format!("{below}/*"));
    match region.except.len() {
        0 => format!("{}/*", region.prefix),
        _ => format!("{}/* (but not {})", region.prefix, some(except)),
    }
}

/// None for all methods.
fn methods(methods: &[Method]) -> Option<String> {
    let each = methods.iter().map(|method| match method {
        Method::Is(name) => name.clone(),
        Method::InOtherLetters(name) => format!("{name}, but not in upper case"),
        Method::Other(names) if names.is_empty() => "any method".to_owned(),
        Method::Other(names) => format!("any method except {}", names.join(", ")),
    });
    let listed = methods.iter().find_map(|method| match method {
        Method::Other(names) => Some(names.len()),
        Method::Is(_) | Method::InOtherLetters(_) => None,
    });
    let plain = methods
        .iter()
        .filter(|m| matches!(m, Method::Is(_)))
        .count();
    let changed = methods
        .iter()
        .filter(|m| matches!(m, Method::InOtherLetters(_)))
        .count();
    match listed {
        Some(0) => None,
        Some(all) if plain == all && changed == all => None,
        _ => Some(some(each)),
    }
}

fn choice(choice: &Choice) -> String {
    let header = match &choice.header {
        Named::Absent => "no X-Caracal-Resource".to_owned(),
        Named::Is(id) => format!("X-Caracal-Resource {}", shown(id)),
        Named::Unknown => "an unknown X-Caracal-Resource".to_owned(),
        Named::Several => "more than one X-Caracal-Resource".to_owned(),
    };
    match &choice.host {
        At::Any => header,
        At::Is(host) => format!("{header} at host {}", shown(host)),
        At::Near(host) => format!(
            "{header} at host {} with another port or spelling",
            shown(host)
        ),
        At::Other => format!("{header} at any other host"),
        At::Unreadable => format!("{header} at no readable host"),
    }
}
