use super::*;
use crate::routing::routes::{Requirements, Route, RuleId, Rules};

/// The rule of every reading, as `find` finds it.
fn rule<R: PartialEq>(path: &str, find: impl Fn(&[u8]) -> R) -> Result<R, InvalidPath> {
    let mut rule = None;
    RequestPath::parse(Some(path.as_bytes()), true)?.readings(|reading, _| {
        let found = find(reading);
        match rule.get_or_insert_with(|| find(reading)) == &found {
            true => Ok(()),
            false => Err(InvalidPath::Ambiguous),
        }
    })?;
    Ok(rule.unwrap())
}

fn readings(path: &str) -> Vec<String> {
    let mut seen = Vec::new();
    // Without a limit, because the work has its own test.
    let work = Work(usize::MAX);
    RequestPath::parse_within(Some(path.as_bytes()), false, work)
        .unwrap()
        .readings(|reading, _| {
            seen.push(String::from_utf8(reading.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
    seen.sort();
    seen.dedup();
    seen
}

/// For some chain of readers each of these is /admin: dots resolved by RFC 3986 with an
/// encoded slash kept, parameters cut before decoding, dots resolved twice.
#[test]
fn steps_in_any_order_are_readings() {
    for path in [
        "/pub/a%2fb/%2e%2e/%2e%2e/admin",
        "/pub/%2e%2e;%2fpub/admin",
        "/pub/a%2fb/../%2e%2e/admin",
        "/pub/\\..;\\pub/admin",
        "/pub//%2e%2e//a//../pub/./.",
        "/pub/%252e%252e/admin",
        "/pub%255c..%25admin/../admin",
        "/pub%252f..%252fadmin",
        "/pub/..%3f/pub/x",
        "/pub/..%23",
        "/pub/..%2500/pub",
        "/pub/.%09./admin",
        "/pub/%2e%0d%0a%2e/admin",
        "/pub/..%20/admin",
        "/pub./x",
        "/pub/..%09./../admin",
        "/x/..%20./pub",
        "/pub/．．/admin",
        "/pub/%ef%bc%8e%ef%bc%8e%ef%bc%8fadmin",
        "/pub／x",
        "/pub/︰/admin",
        "/pub/..⁇/x",
        "/pub/..%e2%81%88",
        "/pub/℀/%ef%b8%b0/℅/︰/admin/../︰/x",
    ] {
        let is_public = |path: &[u8]| path == b"/pub" || path.starts_with(b"/pub/");
        // A path that cannot be read to its end is refused too.
        let found = rule(path, is_public);
        let refused = [
            Err(InvalidPath::Ambiguous),
            Err(InvalidPath::Work),
            // `%25ad` is not a character when it is decoded twice.
            Err(InvalidPath::NotUtf8),
        ];
        assert!(refused.contains(&found), "{path}: {found:?}");
    }
}

#[test]
fn too_much_to_read_is_refused() {
    for path in [
        "/a;b/%2e\\//".repeat(30),
        format!("/{}", "%2541".repeat(350)),
        format!("{}//%61;b", "/a%20".repeat(50)),
        format!("/{}", "/.".repeat(500)),
        format!("/{}", "\\;/%2e%253b%0a.%5c ".repeat(3)),
    ] {
        assert_eq!(rule(&path, |_| 0), Err(InvalidPath::Work), "{path}");
    }
    // Paths that people write pass, also long ones.
    for path in [
        format!("/wiki/{}", "%E6%B0%B4".repeat(30)),
        format!("/dav/{}", "a%20b".repeat(16)),
        format!("/a//{}", "/b".repeat(100)),
        "/a-b_c@d".repeat(255),
        "/dav/My%20Documents/R%C3%A9sum%C3%A9%20(2).pdf".to_owned(),
        "/a/b;v=1/../c".to_owned(),
        "/a%2Fb/c".to_owned(),
    ] {
        assert_eq!(rule(&path, |_| 0), Ok(0), "{path}");
    }
}

#[test]
fn an_ordinary_path_has_one_reading() {
    for path in ["/", "/payouts/1", "/a.b/c..d/...", "/a/", "/é"] {
        assert_eq!(readings(path), [path]);
    }
    assert_eq!(readings("/a?b=/../c;#%zz"), ["/a"]);
}

#[test]
fn readings_combine() {
    assert_eq!(readings("/a/%2e%2e/b"), ["/a/%2e%2e/b", "/a/../b", "/b"]);
    assert_eq!(readings("/a//../b"), ["/a/../b", "/a//../b", "/a/b", "/b"]);
    assert!(readings("/a\\..;x\\b").contains(&"/b".to_owned()));
    assert!(readings("/a%5c..%3bx%5cb").contains(&"/b".to_owned()));
    // Two readers decode once each.
    assert!(readings("/a/%252e%252e/b").contains(&"/b".to_owned()));
    // A `%` that is not an encoding stays.
    assert_eq!(readings("/100%25"), ["/100%", "/100%25"]);
}

#[test]
fn unreadable_paths() {
    let long = format!("/{}", "a".repeat(MAX_PATH_BYTES));
    let cases: &[(Option<&[u8]>, InvalidPath)] = &[
        (None, InvalidPath::NoPath),
        (Some(b""), InvalidPath::NoPath),
        (Some(b"*"), InvalidPath::NoPath),
        (Some(b"payouts"), InvalidPath::NoPath),
        (Some(b"http://x/payouts"), InvalidPath::NoPath),
        (Some(b"/a#b"), InvalidPath::Fragment),
        (Some(b"/%"), InvalidPath::Encoding),
        (
            Some(b"/pub/%25c0%25ae%25c0%25ae/admin"),
            InvalidPath::NotUtf8,
        ),
        (Some(b"/%4"), InvalidPath::Encoding),
        (Some(b"/%zz"), InvalidPath::Encoding),
        (Some(b"/%+1"), InvalidPath::Encoding),
        (Some(b"/%c0%af"), InvalidPath::NotUtf8),
        (Some(b"/\xff"), InvalidPath::NotUtf8),
        (Some(b"/%00"), InvalidPath::Nul),
        (Some(b"/\0"), InvalidPath::Nul),
        (Some(b"/%25252e"), InvalidPath::Depth),
        (Some(b"/%2541%252541"), InvalidPath::Depth),
        (Some(b"/%2e%%41"), InvalidPath::Encoding),
        (Some(long.as_bytes()), InvalidPath::TooLong),
    ];
    for (path, why, folds) in cases
        .iter()
        .flat_map(|(p, w)| [(p, w, true), (p, w, false)])
    {
        assert_eq!(RequestPath::parse(*path, folds).err(), Some(*why));
    }
}

#[test]
fn disagreeing_readings_find_no_rule() {
    let find = |reading: &[u8]| reading.starts_with(b"/open");
    let rule = |path: &str| rule(path, find);
    assert_eq!(rule("/open/x"), Ok(true));
    assert_eq!(rule("/open/%78"), Ok(true));
    assert_eq!(rule("/x;y"), Ok(false));
    for path in [
        "/open/../x",
        "/open%2f..%2fx",
        "/%6fpen",
        "//open",
        "/x/..\\open",
    ] {
        assert_eq!(rule(path), Err(InvalidPath::Ambiguous), "{path}");
    }
}

/// The rule of a path, without a limit for the work.
fn rule_of(rules: &Rules, path: &[u8], folds: bool) -> Result<RuleId, InvalidPath> {
    let path = RequestPath::parse_within(Some(path), folds, Work(usize::MAX))?;
    let mut rule = None;
    rules.readings_of(path, |_, found| match *rule.get_or_insert(found) == found {
        true => Ok(()),
        false => Err(InvalidPath::Ambiguous),
    })?;
    Ok(rule.unwrap())
}

/// Folded or not, the same paths are refused, and all others fall under the same rules.
#[test]
fn a_folded_path_falls_under_the_same_rules() {
    let route = |prefix: &str| Route {
        prefix: prefix.to_owned(),
        requirements: Requirements::default(),
        methods: Vec::new(),
        in_shadow: false,
        mcp: None,
    };
    let prefixes = ["/", "/a", "/a/b", "/a!b", "/b", "/a~", "/b.", "/pay"];
    let exclude = ["/a/open".to_owned(), "/pay/b".to_owned()];
    let routes = prefixes.map(route).to_vec();
    let rules = Rules::new(Requirements::default(), routes, &exclude);
    let parts = [
        "a",
        "b",
        "/",
        "/",
        "/a",
        "/b",
        "/pay",
        "/a/open",
        "!",
        "~",
        "-",
        ".",
        "..",
        "/..",
        "/../",
        ";",
        ";x",
        "\\",
        "//",
        " ",
        "%20",
        "%20",
        "%20b",
        " a",
        "\t",
        "%09",
        "%0a",
        "%E6%B0%B4",
        "水",
        "%c3%a9",
        "é",
        "%e2%80%a4",
        "\u{2024}",
        "／",
        "．",
        "％",
        "%ef%bc%8f",
        "…",
        "%25",
        "%2520",
        "%25e6%25b0%25b4",
        "%2e",
        "%2f",
        "%41",
        "%61",
        "%7f",
        "\x7f",
        "%c3",
        "%a9",
        "%e2",
        "%ef%bc",
        "%80",
        "%",
        "%00",
        "2",
        "0",
        "e6",
        "\u{37e}",
        "%cd%be",
        "%3b",
        "?",
    ];
    // Any generator will do.
    let mut random = 11_u32;
    let mut next = |end: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(random >> 8).unwrap() % end
    };
    let mut agreed = [0, 0];
    for _ in 0..60_000 {
        let mut path = "/".to_owned();
        (0..next(9)).for_each(|_| path.push_str(parts[next(parts.len())]));
        let whole = rule_of(&rules, path.as_bytes(), false);
        let folded = rule_of(&rules, path.as_bytes(), true);
        // A path with too many readings may have fewer when it is folded.
        if whole == Err(InvalidPath::Work) {
            continue;
        }
        assert_eq!(folded.ok(), whole.ok(), "{}", path.escape_debug());
        agreed[usize::from(whole.is_ok())] += 1;
    }
    assert!(agreed.iter().all(|n| *n > 5_000), "{agreed:?}");
}

#[test]
fn a_path_that_others_decide_by_has_one_reading() {
    let read = |path: &str| only_reading(Some(path.as_bytes()));
    for plain in [
        "/",
        "/a/b",
        "/a/",
        "/a%20b",
        "/caf%C3%A9/1",
        "/a.json?x=%2f..",
        "/a%2Ejson",
        "/~a/b:c",
    ] {
        assert_eq!(read(plain), Ok(()), "{plain}");
    }
    for other in [
        "/a/..%2fb",
        "/a/../b",
        "/a/./b",
        "/a//b",
        "/a%2fb",
        "/a%5cb",
        "/a\\b",
        "/a;x/b",
        "/a%3bx",
        "/a%3fb",
        "/a%2523",
        "/a%252fb",
        "/a/%2e%2e/b",
        "/a%23b",
        "/a%00b",
        "/a%01b",
        "/a%7f",
        "/a%",
        "",
        "a",
    ] {
        assert!(read(other).is_err(), "{other}");
    }
}
