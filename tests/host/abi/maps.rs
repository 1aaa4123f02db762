//! Header maps: the host calls on header and trailer maps, and who may read or change
//! which map, and when.

use super::{Args, Done, Entry, Host, Stop};
use crate::host::profile::Failed;
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

/// The map of that type, if it can be read now.
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

/// The map of that type, if it can be changed now.
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

/// A map in the form that the filter sees.
fn shown(host: &mut Host<'_, '_>, kind: u32) -> Option<Headers> {
    let mut map = readable(host, kind)?.clone();
    if kind == 0
        && host.world().profile.maps.decodes
        && let Some(path) = map.get(":path").map(decoded)
    {
        map.set(":path", path);
    }
    Some(map)
}

/// A path as nginx reads it: decoded, slashes merged, dots resolved, with the query at
/// the end.
fn decoded(target: &[u8]) -> Vec<u8> {
    if !target.starts_with(b"/") {
        return target.to_vec();
    }
    let end = target
        .iter()
        .position(|b| *b == b'?')
        .unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let mut plain = Vec::new();
    let mut rest = path;
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.and_then(|two| u8::from_str_radix(two, 16).ok());
        (rest, plain) = match (first, byte) {
            (b'%', Some(byte)) => (&after[2..], [plain, vec![byte]].concat()),
            _ => (after, [plain, vec![*first]].concat()),
        };
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    let is_folder = plain.ends_with(b"/");
    for part in plain.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut read: Vec<u8> = parts
        .iter()
        .flat_map(|part| [b"/", *part].concat())
        .collect();
    if is_folder || read.is_empty() {
        read.push(b'/');
    }
    read.extend_from_slice(query);
    read
}

fn get_pairs(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let kind = args.u(0);
    needs_host(host, kind)?;
    // If there is no map, Envoy gives an empty one.
    let mut map = shown(host, kind).unwrap_or_default();
    let profile = host.world().profile;
    let plain = map.iter().filter(|(n, _)| !n.starts_with(b":")).count();
    let failed = kind == 6 && profile.callouts.failed == Failed::Nothing && map.is_empty();
    if failed || (kind == 2 && plain > profile.maps.most_response) {
        host.violate(Wrong::MapPanics);
        return Err(Stop::Status(status::INTERNAL_FAILURE));
    }
    if plain > profile.maps.most {
        if profile.maps.unreadable {
            return Err(Stop::Status(status::SERIALIZATION_FAILURE));
        }
        host.violate(Wrong::MapCut);
        let pseudo = map.len() - plain;
        map.truncate(profile.maps.most + pseudo);
    }
    host.give(&map.to_abi(), args.u(1), args.u(2))
}

/// If a request has no host, asking for it kills the worker.
fn needs_host(host: &mut Host<'_, '_>, kind: u32) -> Done {
    let needed = kind == 0 && host.world().profile.maps.needs_host;
    let Some(stream) = host.data().stream().filter(|_| needed) else {
        return Ok(());
    };
    let headers = &host.world().streams[stream].request.headers;
    if headers.has("host") {
        return Ok(());
    }
    Err(host.die(Wrong::MapKills))
}

/// What says where a body ends.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Notes it if that change of the request's headers takes the end of the body away.
fn framed(host: &mut Host<'_, '_>, kind: u32, change: impl FnOnce(&mut Headers)) -> Done {
    let frames = host.world().profile.maps.frames;
    let map = writable(host, kind)?;
    let had = FRAMING.map(|name| map.has(name));
    change(map);
    let has = FRAMING.map(|name| map.has(name));
    let lost = had.into_iter().zip(has).any(|(had, has)| had && !has);
    if kind == 0 && frames && lost {
        host.violate(Wrong::FramingRemoved);
    }
    Ok(())
}

/// A removed request header is sent anyway.
fn hide(host: &mut Host<'_, '_>, name: &[u8]) -> Done {
    let mut removed = Headers::new();
    framed(host, 0, |map| removed = map.take(name))?;
    let Some(stream) = host.data().stream().filter(|_| !removed.is_empty()) else {
        return Ok(());
    };
    host.world().streams[stream].request.hidden.extend(removed);
    host.violate(Wrong::RemovedStillSent);
    Ok(())
}

fn set_pairs(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let bytes = host.bytes(args.u(1), args.u(2))?;
    let map = Headers::from_abi(&bytes).ok_or(status::PARSE_FAILURE)?;
    for (name, value) in map.iter() {
        check(host, name, value);
    }
    let kind = args.u(0);
    if kind == 0 && host.world().profile.maps.hides {
        for name in writable(host, kind)?.names() {
            if !map.has(&name) {
                hide(host, name.as_bytes())?;
            }
        }
    }
    framed(host, kind, |all| *all = map)
}

fn get_value(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let name = host.bytes(args.u(1), args.u(2))?;
    if name == b":authority" {
        needs_host(host, args.u(0))?;
    }
    let map = shown(host, args.u(0)).ok_or(status::BAD_ARGUMENT)?;
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

/// Envoy writes what it is given, so a line end in a value makes a second header.
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
    let kind = args.u(0);
    let rules = host.world().profile.maps;
    if kind == 0 && rules.careless && name == b":authority" {
        writable(host, kind)?.set(":method", value);
        host.violate(Wrong::MethodOverwritten);
        return Ok(());
    }
    if kind == 0 && rules.careless && name == b":path" && value.contains(&b'?') {
        let kept = without_query(&value, writable(host, kind)?.get(":path"));
        writable(host, kind)?.set(name, kept);
        host.violate(Wrong::QueryKept);
        return Ok(());
    }
    if kind == 0 && rules.empty_removes && value.is_empty() {
        return framed(host, kind, |map| map.remove(name));
    }
    if kind == 0 && rules.sets_first {
        if !writable(host, kind)?.set_first(&name, &value) {
            host.violate(Wrong::DuplicateStillSent);
        }
        return Ok(());
    }
    writable(host, kind)?.set(name, value);
    Ok(())
}

/// A path in which `?` belongs to the path, before the old query.
fn without_query(path: &[u8], old: Option<&[u8]>) -> Vec<u8> {
    let mut kept = String::from_utf8_lossy(path)
        .replace('?', "%3F")
        .into_bytes();
    let old = old.unwrap_or_default();
    if let Some(at) = old.iter().position(|b| *b == b'?') {
        kept.extend_from_slice(&old[at..]);
    }
    kept
}

fn remove_value(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let name = host.bytes(args.u(1), args.u(2))?;
    if args.u(0) == 0 && host.world().profile.maps.hides {
        return hide(host, &name);
    }
    framed(host, args.u(0), |map| map.remove(name))
}
