//! Ways in which a proxy's file leaves a route unguarded although a filter stands in it:
//! the filter is switched off, another route leads to the same place without it, or the
//! service gets another path than the one that is judged. What a file alone can show, and
//! no more: other files may guard what this one does not.

mod apisix;
mod apisix_copies;
mod apisix_own;
mod apisix_places;
pub(crate) mod envoy;
mod gate;
mod kong;
mod lua;
pub(crate) mod nginx;
mod tree;

use serde_json::Value;

use crate::warning::Warning;

/// What leaves something unguarded in a file of nginx's.
pub(crate) fn of_nginx(tree: &[nginx::Directive]) -> Vec<String> {
    gate::unguarded(tree)
}

/// What leaves something unguarded in a file of Kong's or APISIX's.
pub(crate) fn of_tree(tree: &Value) -> Vec<String> {
    let mut all = kong::unguarded(tree);
    all.extend(apisix_own::unguarded(tree));
    all.extend(apisix::unguarded(tree));
    all.dedup();
    all
}

/// What such a file does that it should not, although everything is guarded.
pub(crate) fn warnings_of_tree(tree: &Value) -> Vec<Warning> {
    let mut all = apisix_own::warnings(tree);
    all.extend(apisix_copies::warnings(tree));
    all
}

/// Whether it is APISIX's own configuration, which says where the filter's file is and
/// has no configuration of the filter in it.
pub(crate) fn is_apisix_itself(tree: &Value) -> bool {
    apisix_own::own(tree).is_some()
}
