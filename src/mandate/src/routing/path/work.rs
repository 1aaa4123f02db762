//! Tests how much work each path takes: the least work with which it is read to its end,
//! as it came and folded, and how many readings it has. `work.txt` has the correct
//! numbers. If a path took less than it costs, it could be used to stop a worker. If it
//! took more, it would be refused without a reason. `UPDATE_WORK=1` writes the file
//! again.

use super::*;

const PATHS: &[&str] = &[
    "/",
    "/payouts/1?page=2",
    "/payouts/%41",
    "/payouts/a%20b/c%20d",
    "/payouts/%e4%b8%ad%e6%96%87/x",
    "/payouts/é/ü/x",
    "/payouts/%2541/%2542",
    "/payouts/%252541",
    "/payouts/a%2fb%2Fc",
    "/payouts//a///b",
    "/payouts/./a/../b/...",
    "/payouts/%2e%2e/%2E./x",
    "/payouts/a;v=1/b;c=2;d/e",
    "/payouts\\a\\..\\b",
    "/payouts/a\tb/\u{b}c\r\n",
    "/payouts/a%09b%0d%0ac",
    "/payouts/x%20/y./z%20.",
    "/payouts/．．/／x",
    "/payouts/%ef%bc%8e%ef%bc%8fx",
    "/payouts/︰/℀/⁇",
    "/payouts/%ef%b8%b0/%e2%84%80",
    "/payouts/a%3fb/c%23d",
    "/payouts/%c0%ae%c0%ae/x",
    "/payouts/%25e4%25b8%25ad",
    "/payouts/%zz/1",
    "/payouts/%2",
    "/payouts/%",
    "/payouts/%252f%255c%252e%252e",
    "/a;b/%2e\\//a;b/%2e\\//a;b/%2e\\//x",
    "/payouts/%5c%5c..%5c%2f.%2e;x/%c2%a0/y",
    "/payouts/%E2%80%AE/%f0%9f%92%b8/\u{a0}x\u{2003}",
    "/%50ayouts/%70ublic/1",
    "/payouts/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%41",
    "/payouts/%41aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

fn is_read(path: &str, folds: bool, work: usize) -> bool {
    RequestPath::parse_within(Some(path.as_bytes()), folds, Work(work))
        .and_then(|path| path.readings(|_, _| Ok(())))
        .is_ok()
}

/// The least work with which it is read; none if it is refused in any case.
fn least(path: &str, folds: bool) -> Option<usize> {
    let (mut least, mut enough) = (0, 1_000_000);
    if !is_read(path, folds, enough) {
        return None;
    }
    while least < enough {
        let middle = usize::midpoint(least, enough);
        match is_read(path, folds, middle) {
            true => enough = middle,
            false => least = middle.saturating_add(1),
        }
    }
    Some(enough)
}

fn readings(path: &str, folds: bool) -> usize {
    let mut readings = 0_usize;
    let parsed = RequestPath::parse_within(Some(path.as_bytes()), folds, Work(1_000_000));
    let all = parsed.and_then(|path| {
        path.readings(|_, _| {
            readings = readings.saturating_add(1);
            Ok(())
        })
    });
    all.map_or(0, |()| readings)
}

#[test]
fn each_path_takes_what_it_costs() {
    let lines = PATHS.iter().map(|path| {
        let [came, folded] = [false, true].map(|folds| match least(path, folds) {
            Some(work) => format!("{work} for {}", readings(path, folds)),
            None => "refused".to_owned(),
        });
        format!("{path:?}: {came}; folded {folded}\n")
    });
    let found: String = lines.collect();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/routing/path/work.txt");
    if std::env::var_os("UPDATE_WORK").is_some() {
        std::fs::write(file, &found).unwrap();
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

/// Among many paths, the path with the most readings has exactly the limit, and each path
/// with more is refused.
#[test]
fn readings_are_counted_to_the_last() {
    let pieces = [
        "%2e", "/../", ";a", "\\", "%5c", "//", "/./", "%2f", "%09", ".", " ",
    ];
    let (mut most, mut random) = (0, 1_u64);
    for _ in 0..4_000 {
        let mut path = "/a".to_owned();
        for letter in ["b", "c", "d", "e", "f", "g"] {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            path.push_str(pieces[(random >> 33) as usize % pieces.len()]);
            path.push_str(letter);
        }
        most = most.max(readings(&path, false));
    }
    assert_eq!(most, MAX_READINGS);
}

#[test]
fn the_longest_path_is_read_and_a_longer_one_is_not() {
    for folds in [false, true] {
        for unit in ["a", "é", "%41"] {
            let mut longest = "/".to_owned();
            while longest.len() + unit.len() <= MAX_PATH_BYTES {
                longest.push_str(unit);
            }
            while longest.len() < MAX_PATH_BYTES {
                longest.push('a');
            }
            let refused = |path: String| {
                RequestPath::parse_within(Some(path.as_bytes()), folds, Work(usize::MAX)).err()
            };
            assert_eq!(refused(longest.clone()), None, "{unit} {folds}");
            assert_eq!(
                refused(format!("{longest}?{longest}")),
                None,
                "{unit} {folds}"
            );
            let longer = refused(format!("{longest}a"));
            assert_eq!(longer, Some(InvalidPath::TooLong), "{unit} {folds}");
        }
    }
}
