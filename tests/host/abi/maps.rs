//! Header maps: who may read or change which, and when.
//!
//! What may live here: the host calls on header and trailer maps.

use super::{Args, Done, Entry, Host, Stop};
use crate::host::{Headers, Wrong, status};

pub(super) const FUNCTIONS: &[Entry] = &[
    ("proxy_get_header_map_pairs", "iii", get_pairs),
    ("proxy_set_header_map_pairs", "iii", set_pairs),
    ("proxy_get_header_map_value", "iiiii", get_value),
    ("proxy_get_header_map_size", "ii", get_size),
    ("proxy_add_header_map_value", "iiiii", add_value),
    ("proxy_replace_header_map_value", "iiiii", replace_value),
    ("proxy_remove_header_map_value", "iii", remove_value),
];

/// The map of that type, where it can be read now.
fn readable<'a>(host: &'a mut Host<'_, '_>, kind: u32) -> Option<&'a Headers> {
    if kind == 6 {
        let answer = host.data().answer.as_ref();
        return answer.map(|(headers, _)| headers);
    }
    let data = host.data();
    let stream = data.stream();
    let found = stream.is_some_and(|s| {
        let s = &data.world().streams[s];
        match kind {
            0 => s.request.headers_open || s.logging,
            1 => s.request.trailers_open,
            2 => s.response.headers_open || (s.logging && s.response.begun),
            3 => s.response.trailers_open,
            _ => false,
        }
    });
    if !found {
        if kind <= 3 {
            host.violate(Wrong::MapOutOfPhase);
        }
        return None;
    }
    let s = &host.world().streams[stream?];
    Some(match kind {
        0 => &s.request.headers,
        1 => &s.request.trailers,
        2 => &s.response.headers,
        _ => &s.response.trailers,
    })
}

/// The map of that type, where it can be changed now.
fn writable<'a>(host: &'a mut Host<'_, '_>, kind: u32) -> Result<&'a mut Headers, Stop> {
    let data = host.data();
    let stream = data.stream();
    let open = stream.map(|s| {
        let s = &data.world().streams[s];
        let open = match kind {
            0 => s.request.headers_open,
            1 => s.request.trailers_open,
            2 => s.response.headers_open,
            3 => s.response.trailers_open,
            _ => false,
        };
        (open, s.reply_queued)
    });
    match open {
        Some((true, true)) => host.violate(Wrong::ChangedAfterReply),
        Some((true, false)) => {}
        _ => {
            host.violate(Wrong::MapOutOfPhase);
            return Err(Stop::Status(status::BAD_ARGUMENT));
        }
    }
    let stream = stream.ok_or(status::BAD_ARGUMENT)?;
    let s = &mut host.world().streams[stream];
    Ok(match kind {
        0 => &mut s.request.headers,
        1 => &mut s.request.trailers,
        2 => &mut s.response.headers,
        _ => &mut s.response.trailers,
    })
}

fn get_pairs(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    // Where there is no map, Envoy gives an empty one.
    let map = readable(host, args.u(0)).map(Headers::to_abi);
    let map = map.unwrap_or_else(|| Headers::new().to_abi());
    host.give(&map, args.u(1), args.u(2))
}

fn set_pairs(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let bytes = host.bytes(args.u(1), args.u(2))?;
    let map = Headers::from_abi(&bytes).ok_or(status::PARSE_FAILURE)?;
    for (name, value) in map.iter() {
        check(host, name, value);
    }
    *writable(host, args.u(0))? = map;
    Ok(())
}

fn get_value(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let name = host.bytes(args.u(1), args.u(2))?;
    let map = readable(host, args.u(0)).ok_or(status::BAD_ARGUMENT)?;
    let value = map.get(&name).ok_or(status::NOT_FOUND)?.to_vec();
    host.give(&value, args.u(3), args.u(4))
}

fn get_size(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let map = readable(host, args.u(0)).ok_or(status::BAD_ARGUMENT)?;
    let size = map.byte_size() as u32;
    host.put_u32(args.u(1), size)
}

/// A name and a value, from their places in the arguments.
fn entry(host: &mut Host<'_, '_>, args: Args<'_>) -> Result<(Vec<u8>, Vec<u8>), Stop> {
    let name = host.bytes(args.u(1), args.u(2))?;
    let value = host.bytes(args.u(3), args.u(4))?;
    check(host, &name, &value);
    Ok((name, value))
}

/// Envoy writes what it is given: a line end in a value is a second header.
fn check(host: &mut Host<'_, '_>, name: &[u8], value: &[u8]) {
    let breaks = |b: &u8| matches!(b, b'\r' | b'\n' | 0);
    if name.is_empty() || name.iter().any(breaks) || value.iter().any(breaks) {
        host.violate(Wrong::BrokenHeader);
    }
}

fn add_value(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let (name, value) = entry(host, args)?;
    writable(host, args.u(0))?.add(name, value);
    Ok(())
}

fn replace_value(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let (name, value) = entry(host, args)?;
    writable(host, args.u(0))?.set(name, value);
    Ok(())
}

fn remove_value(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let name = host.bytes(args.u(1), args.u(2))?;
    writable(host, args.u(0))?.remove(name);
    Ok(())
}
