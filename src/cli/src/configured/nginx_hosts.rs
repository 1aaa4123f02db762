//! Filters in Kong's and APISIX's files, and in nginx's own.

use caracal_mandate::config::ProxyKind;

use super::source::{Source, document};
use crate::guard::nginx::{Directive, every};
use crate::proxy_file::{Here, is_ours};
use crate::terminal::shown;

/// A Kong filter (`config`) or an APISIX plugin (`conf`) by the filter's name: a Kong
/// filter's is in it, an APISIX plugin's is its key.
pub(super) fn filter(here: &Here<'_, '_>) -> Option<Source> {
    let members = here.object();
    let name = here.level.name().unwrap_or(match here.level.number {
        None => here.level.key,
        Some(_) => "",
    });
    if !is_ours(name) {
        return None;
    }
    if let Some(conf) = members.get("conf") {
        return Some(Source::of(name, Ok(document(conf)), ProxyKind::Apisix));
    }
    let config = members.get("config")?;
    // An Envoy filter has a `config` of its own kind.
    if config.get("vm_config").is_some() || config.get("vmConfig").is_some() {
        return None;
    }
    // APISIX's resources in Kubernetes put a plugin's members into `config`.
    Some(match config.get("conf") {
        Some(conf) => Source::of(name, Ok(document(conf)), ProxyKind::Apisix),
        None => Source::of(name, Ok(document(config)), ProxyKind::Kong),
    })
}

/// The filters of nginx's own configuration, each with its line where there are several.
pub(super) fn in_nginx(tree: &[Directive]) -> Vec<Source> {
    let every = every(tree);
    let ours = every
        .iter()
        .filter(|(_, d)| d.name == "proxy_wasm" && is_ours(d.argument(0)));
    let ours: Vec<_> = ours.map(|(_, d)| d).collect();
    let name = |d: &Directive| match ours.len() {
        1 => d.argument(0).to_owned(),
        _ => format!("{} (line {})", d.argument(0), d.line),
    };
    let source = |d: &&&Directive| Source {
        place: format!("line {}, filter {}", d.line, shown(d.argument(0))),
        ..Source::of(
            &name(d),
            Ok(d.argument(1).as_bytes().to_vec()),
            ProxyKind::Kong,
        )
    };
    ours.iter().map(source).collect()
}
