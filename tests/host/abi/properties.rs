//! Properties: `get_property` and `set_property`, filter state, and those of Envoy's
//! attributes that a filter may need.

use super::{Args, Done, Entry, Host, Stop};
use crate::host::streams::StreamState;
use crate::host::{Level, Wrong, status};

pub(super) const FUNCTIONS: &[Entry] = &[
    ("proxy_get_property", "iiii", get_property),
    ("proxy_set_property", "iiii", set_property),
];

fn get_property(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let path = host.bytes(args.u(0), args.u(1))?;
    let value = find(host, &path).ok_or(status::NOT_FOUND)?;
    host.give(&value, args.u(2), args.u(3))
}

/// Filter state. A name with more than one segment is accepted, but then nobody finds the
/// value.
fn set_property(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let path = host.bytes(args.u(0), args.u(1))?;
    let value = host.bytes(args.u(2), args.u(3))?;
    let stream = host.data().stream().ok_or(status::NOT_FOUND)?;
    let calls = host.world().profile.calls;
    let variable = calls.variables && path.starts_with(b"ngx\0");
    let name = path.strip_prefix(b"ngx\0").unwrap_or(&path);
    let declared = host.world().variables.iter();
    let is_declared = declared.filter(|known| known.as_bytes() == name).count() > 0;
    let is_known = match calls.properties {
        Some(names) => is_declared || names.iter().any(|known| known.as_bytes() == path),
        None => is_declared || !variable,
    };
    if !is_known {
        let vm = host.data().vm;
        let text = format!("no variable {} to set", String::from_utf8_lossy(name));
        host.world().log(vm, Level::Error, text);
        return Err(Stop::Status(status::NOT_FOUND));
    }
    if path.is_empty() || (path.contains(&0) && !variable) {
        host.violate(Wrong::UnreadableProperty);
    }
    let state = &mut host.world().streams[stream].filter_state;
    state.insert(path, value);
    Ok(())
}

fn find(host: &mut Host<'_, '_>, path: &[u8]) -> Option<Vec<u8>> {
    let name = String::from_utf8_lossy(path).replace('\0', ".");
    let data = host.data();
    let stream = data.stream();
    let root = data.root();
    let world = data.world();
    match name.as_str() {
        "plugin_name" => return Some(b"caracal".to_vec()),
        "plugin_root_id" => return Some(format!("root_{root}").into_bytes()),
        "plugin_vm_id" => return Some(world.vm_id.clone().into_bytes()),
        _ => {}
    }
    let is_nginx = world.profile.maps.server_name.is_some() || !world.profile.calls.attributes;
    if name == "xds.node.user_agent_name" && !is_nginx {
        return Some(b"envoy".to_vec());
    }
    let now = world.clock.now;
    let s = &world.streams[stream?];
    if let Some((_, value)) = s.properties.iter().find(|(p, _)| *p == name) {
        return Some(value.clone());
    }
    if let Some(value) = s.filter_state.get(path)
        && !path.contains(&0)
    {
        return Some(value.clone());
    }
    if is_nginx && !world.hides_itself {
        let variable = match world.profile.calls.variables {
            true => name.strip_prefix("ngx."),
            false => Some(name.as_str()),
        };
        if let Some(value) = variable.and_then(|variable| of_nginx(s, variable)) {
            return Some(value);
        }
    }
    if !world.profile.calls.attributes {
        return None;
    }
    match name.split_once('.') {
        Some(("request", rest)) => of_request(s, rest, now),
        Some(("response", rest)) => of_response(s, rest),
        _ => None,
    }
}

/// nginx variables that show the request as it came.
fn of_nginx(s: &StreamState, name: &str) -> Option<Vec<u8>> {
    match name {
        "request_uri" => s.request.headers.get(":path").map(<[u8]>::to_vec),
        "scheme" => s.request.headers.get(":scheme").map(<[u8]>::to_vec),
        "host" => {
            let host = s.request.headers.text("host")?;
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            Some(name.to_ascii_lowercase().into_bytes())
        }
        // At the end of a request.
        "status" if s.logging => text(s.client.as_ref().map_or(499, |client| client.status)),
        "upstream_status" if s.logging => {
            text(s.client.as_ref().filter(|_| s.of_upstream())?.status)
        }
        "upstream_header_time" if s.logging && s.of_upstream() => text("0.001"),
        "request_time" if s.logging => {
            let took = s.ended_at - s.begun_at;
            text(format!("{}.{:03}", took.as_secs(), took.subsec_millis()))
        }
        "body_bytes_sent" if s.logging => text(s.client.as_ref().map_or(0, |c| c.body.len())),
        "request_completion" if s.logging && s.is_whole() => text("OK"),
        _ => None,
    }
}

fn text(value: impl ToString) -> Option<Vec<u8>> {
    Some(value.to_string().into_bytes())
}

fn number(value: u64) -> Option<Vec<u8>> {
    Some(value.to_le_bytes().to_vec())
}

fn of_request(s: &StreamState, name: &str, now: std::time::Duration) -> Option<Vec<u8>> {
    // After the request went on, only `on_log` sees its headers again.
    let headers = (s.request.headers_open || s.logging).then_some(&s.request.headers);
    let header = |name: &str| headers?.get(name).map(<[u8]>::to_vec);
    match name {
        "path" => header(":path"),
        "url_path" => {
            let path = header(":path")?;
            let end = path.iter().position(|b| *b == b'?').unwrap_or(path.len());
            Some(path[..end].to_vec())
        }
        "host" => header(":authority"),
        "method" => header(":method"),
        "scheme" => header(":scheme"),
        "id" => header("x-request-id"),
        "useragent" => header("user-agent"),
        "referer" => header("referer"),
        "protocol" => Some(b"HTTP/1.1".to_vec()),
        "duration" if s.logging => number((now - s.begun_at).as_nanos() as u64),
        "size" => number(s.upstream.as_ref().map_or(0, |u| u.body.len()) as u64),
        _ => header(name.strip_prefix("headers.")?),
    }
}

fn of_response(s: &StreamState, name: &str) -> Option<Vec<u8>> {
    let client = s.client.as_ref();
    match name {
        "code" => number(u64::from(client?.status)),
        // Envoy puts the cause of a cut in the place of the details.
        "code_details" if s.details.is_empty() && !s.is_whole() => {
            text("downstream_remote_disconnect")
        }
        "code_details" if s.details.is_empty() && s.of_upstream() => text("via_upstream"),
        "code_details" if s.details.is_empty() => None,
        "code_details" => Some(s.details.clone().into_bytes()),
        // The client has left (DC).
        "flags" => number(if s.is_whole() { 0 } else { 4 }),
        "grpc_status" => number(u64::from(s.grpc_status?)),
        "size" => number(client.map_or(0, |c| c.body.len()) as u64),
        _ if s.response.headers_open || s.logging => {
            let name = name.strip_prefix("headers.")?;
            s.response.headers.get(name).map(<[u8]>::to_vec)
        }
        _ => None,
    }
}
