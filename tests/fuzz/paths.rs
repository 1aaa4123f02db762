//! Input: which rules, then a request target. What is let through falls under
//! the same rule for every reader here and every chain of three of them. The
//! readers are written after real ones, with other libraries than the product's.

use caracal_mandate::routing::routes::{Requirements, Route, RuleId, Rules};
use percent_encoding::percent_decode;

use crate::byte;

/// Routes, and excluded prefixes.
type Prefixes = (&'static [&'static str], &'static [&'static str]);

const RULES: [Prefixes; 4] = [
    (&["/pay", "/pay/admin", "/pub"], &["/open", "/pay/live"]),
    (&["/a", "/a/b", "/a/b/c"], &["/a/b/d", "/e"]),
    (&["/", "/x"], &["/x/y"]),
    (&["/v1.0", "/...", "/a.b"], &["/v1.0/open"]),
];

/// Longest chain of readers that is tried.
const CHAIN: usize = 3;

pub fn check(data: &[u8]) {
    let mut data = data;
    let (routes, exclude) = RULES[usize::from(byte(&mut data)) % RULES.len()];
    let route = |prefix: &&str| Route {
        prefix: (*prefix).to_owned(),
        requirements: Requirements::default(),
        methods: Vec::new(),
        in_shadow: false,
        mcp: None,
    };
    let excluded: Vec<String> = exclude.iter().map(|prefix| (*prefix).to_owned()).collect();
    let all = routes.iter().map(route).collect();
    let rules = Rules::new(Requirements::default(), all, &excluded);
    let Ok(found) = rules.find(Some(data)) else {
        return;
    };
    let name = match found {
        RuleId::Default => "none",
        RuleId::Route(n) => rules.routes()[n].prefix.as_str(),
        RuleId::Excluded(n) => rules.exclude()[n].as_str(),
    };
    for reading in readings(data) {
        for rule in rules_of(&reading, routes, exclude) {
            assert_eq!(
                name,
                rule,
                "{:?} can be read as {:?}",
                data.escape_ascii().to_string(),
                reading.escape_ascii().to_string()
            );
        }
    }
}

/// What a request target can be read as by a chain of readers.
pub fn readings(target: &[u8]) -> Vec<Vec<u8>> {
    let path = target.split(|b| *b == b'?').next().unwrap().to_vec();
    let mut readings = vec![path];
    let mut from = 0;
    for _ in 0..CHAIN {
        let until = readings.len();
        for at in from..until {
            for reader in READERS {
                if let Some(next) = reader(&readings[at])
                    && !readings.contains(&next)
                {
                    readings.push(next);
                }
            }
        }
        from = until;
    }
    readings
}

/// The rule of a path, by its segments: the longest prefix, cut of its trailing
/// slash, excluded ones before routes; `none` when there is none.
pub fn rule<'a>(path: &[u8], routes: &[&'a str], exclude: &[&'a str]) -> &'a str {
    let under = |prefix: &str| {
        let prefix = prefix.trim_end_matches('/').as_bytes();
        path.starts_with(prefix) && matches!(path.get(prefix.len()), None | Some(b'/'))
    };
    let longest = |of: &[&'a str]| {
        let matching = of.iter().copied().filter(|prefix| under(prefix));
        matching.max_by_key(|prefix| prefix.len())
    };
    longest(exclude)
        .or_else(|| longest(routes))
        .map_or("none", |prefix| prefix.trim_end_matches('/'))
}

/// The rules that frameworks may take a path to: its own, and that of each prefix after
/// which something begins that is no name.
pub fn rules_of<'a>(path: &[u8], routes: &[&'a str], exclude: &[&'a str]) -> Vec<&'a str> {
    let is_cut = |prefix: &&&str| {
        let rest = path.strip_prefix(prefix.trim_end_matches('/').as_bytes());
        let next = rest.and_then(|rest| rest.first()).map(|b| char::from(*b));
        next.is_some_and(|next| !next.is_ascii_alphanumeric() && !"/-_".contains(next))
    };
    let cut = routes.iter().chain(exclude).filter(is_cut);
    let cut = cut.map(|prefix| rule(prefix.trim_end_matches('/').as_bytes(), routes, exclude));
    std::iter::once(rule(path, routes, exclude))
        .chain(cut)
        .collect()
}

const READERS: [fn(&[u8]) -> Option<Vec<u8>>; 10] = [
    nginx, whatwg, java, go, decoded, windows, posix, strict, merged, folded,
];

/// One that folds characters to ASCII, as code pages and compatibility forms do.
fn folded(path: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(path).ok()?;
    let mut out = String::new();
    for c in text.chars() {
        match u32::from(c) {
            wide @ 0xff01..=0xff5e => out.extend(char::from_u32(wide - 0xfee0)),
            0x2024 | 0x3002 | 0xfe52 | 0xff61 => out.push('.'),
            0x2025 => out.push_str(".."),
            0x2044 | 0x2215 | 0x29f8 => out.push('/'),
            0x2216 | 0x29f5 | 0xfe68 => out.push('\\'),
            _ => out.push(c),
        }
    }
    Some(out.into_bytes())
}

/// nginx: decoded, slashes merged, dots resolved; above the root is an error.
fn nginx(path: &[u8]) -> Option<Vec<u8>> {
    let decoded: Vec<u8> = percent_decode(path).collect();
    if decoded.contains(&0) {
        return None;
    }
    dots(&merged(&decoded)?, true)
}

/// A browser's or Node's `new URL()`.
fn whatwg(path: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(path).ok()?;
    let url = url::Url::parse(&format!("http://edge.test{text}")).ok()?;
    (url.host_str() == Some("edge.test") && url.port().is_none() && url.username().is_empty())
        .then(|| url.path().as_bytes().to_vec())
}

/// Servlet containers: path parameters cut, decoded, dots resolved.
fn java(path: &[u8]) -> Option<Vec<u8>> {
    let segments = path.split(|b| *b == b'/');
    let cut: Vec<&[u8]> = segments
        .map(|segment| segment.split(|b| *b == b';').next().unwrap())
        .collect();
    let decoded: Vec<u8> = percent_decode(&cut.join(&b'/')).collect();
    dots(&merged(&decoded)?, false)
}

/// Go's `path.Clean` on the decoded path, the trailing slash kept as `ServeMux` does.
fn go(path: &[u8]) -> Option<Vec<u8>> {
    let decoded: Vec<u8> = percent_decode(path).collect();
    dots(&merged(&decoded)?, false)
}

/// Express, WSGI: decoded, and nothing else.
fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    Some(percent_decode(path).collect())
}

/// IIS: backslashes are slashes, dots and spaces at the ends of names are nothing.
fn windows(path: &[u8]) -> Option<Vec<u8>> {
    let slashes: Vec<u8> = percent_decode(path)
        .map(|b| if b == b'\\' { b'/' } else { b })
        .collect();
    let names = slashes.split(|b| *b == b'/').map(|name| {
        let text = String::from_utf8_lossy(name).into_owned();
        let spaceless = text.trim_end_matches(' ');
        match spaceless.trim_end_matches(['.', ' ']) {
            "" => spaceless.as_bytes().to_vec(),
            kept => kept.as_bytes().to_vec(),
        }
    });
    // What is no UTF-8 would have been replaced above.
    std::str::from_utf8(&slashes).ok()?;
    dots(&names.collect::<Vec<_>>().join(&b'/'), false)
}

/// Dots resolved, and nothing else (RFC 3986).
fn posix(path: &[u8]) -> Option<Vec<u8>> {
    dots(path, false)
}

/// A gateway that takes the path up to a decoded delimiter.
fn strict(path: &[u8]) -> Option<Vec<u8>> {
    let decoded: Vec<u8> = percent_decode(path).collect();
    let end = decoded.iter().position(|b| matches!(b, b'?' | b'#' | 0));
    Some(decoded[..end.unwrap_or(decoded.len())].to_vec())
}

fn merged(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = path.to_vec();
    out.dedup_by(|a, b| *a == b'/' && *b == b'/');
    Some(out)
}

/// Dots resolved segment by segment.
fn dots(path: &[u8], root_is_the_end: bool) -> Option<Vec<u8>> {
    let mut out: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = path.strip_prefix(b"/")?.split(|b| *b == b'/').collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            b"." if last => out.push(b""),
            b"." => {}
            b".." => {
                if out.pop().is_none() && root_is_the_end {
                    return None;
                }
                if last {
                    out.push(b"");
                }
            }
            name => out.push(name),
        }
    }
    let mut joined = vec![b'/'];
    joined.extend(out.join(&b'/'));
    Some(joined)
}
