use super::*;

fn taken(step: usize, path: &[u8]) -> Vec<u8> {
    STEPS[step].take(path, &mut Work(usize::MAX)).unwrap()
}

fn dot_segments(path: &[u8]) -> Vec<u8> {
    taken(3, path)
}

fn narrow(path: &[u8]) -> Vec<u8> {
    taken(8, path)
}

fn decode(path: &[u8], all: bool) -> Decoded {
    super::decode(path, all, &mut Work(usize::MAX)).unwrap()
}

#[test]
fn each_step_does_one_thing() {
    for (step, path, read) in [
        (0, "/a\\b\\", "/a/b/"),
        (1, "/a;b=1;c/d;/e;f", "/a/d/e"),
        (2, "//a///b/c//", "/a/b/c/"),
        (4, "/a?b#c", "/a"),
        (4, "/a\0b", "/a"),
        (5, "/a\tb\r\n/c\n", "/ab/c"),
        (6, "/a \t/ b/c d\0", "/a/ b/c d"),
        (6, "/ /a", "//a"),
        (7, "/a../b./.../..c/d.", "/a/b/.../..c/d"),
        (7, "/../.", "/../."),
        (7, "/a/b...", "/a/b"),
    ] {
        let found = taken(step, path.as_bytes());
        assert_eq!(found.escape_ascii().to_string(), read, "{path:?}");
    }
}

#[test]
fn a_host_is_dropped_once() {
    for (path, read) in [
        ("//x/pay", "/pay"),
        ("///x/pay", "/pay"),
        ("//x//y/pay", "//y/pay"),
        ("//x///y", "//y"),
        ("//x", "/"),
        ("//", "/"),
    ] {
        let step = WITHOUT_AUTHORITY.take(path.as_bytes(), &mut Work(usize::MAX));
        assert_eq!(step.unwrap().escape_ascii().to_string(), read, "{path}");
    }
}

#[test]
fn dot_segments_are_resolved_as_rfc_3986_does() {
    for (path, resolved) in [
        ("/a/b/c/./../../g", "/a/g"),
        ("/..", "/"),
        ("/../x", "/x"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/.", "/"),
        ("/", "/"),
        ("//a/..", "//"),
        ("//..//b", "//b"),
        ("/a/./..//", "//"),
    ] {
        assert_eq!(dot_segments(path.as_bytes()), resolved.as_bytes(), "{path}");
    }
}

#[test]
fn forms_of_ascii_are_read_as_ascii() {
    for (path, read) in [
        ("/ａＺ０～！", "/aZ0~!"),
        ("/．．／x", "/../x"),
        ("/․﹒‥", "/...."),
        ("/a⁄b∕c⧸d／e", "/a/b/c/d/e"),
        ("/a∖b⧵c﹨d＼e", "/a\\b\\c\\d\\e"),
        ("/;﹔；", "/;;;"),
        ("/％2e﹪2e", "/%2e%2e"),
        ("/﹖？﹟＃", "/??##"),
        ("/\u{37e}", "/;"),
        ("/\u{37e}a\u{37e}b", "/;a;b"),
        ("/a/︰/b︔c︖d", "/a/../b;c?d"),
        ("/⁇⁈x⁉", "/??x!?"),
        ("/℀℁℅℆", "/a/ca/sc/oc/u"),
        ("/日本/é/…", "/日本/é/…"),
    ] {
        assert_eq!(narrow(path.as_bytes()), read.as_bytes(), "{path}");
    }
    // Characters that are cut in the middle, and bytes that are not a character.
    for bytes in [&b"/\xef\xbc"[..], b"/\xef", b"/\xe2\x80", b"/\xff\xbc\x8f"] {
        assert_eq!(narrow(bytes), bytes);
    }
}

#[test]
fn what_is_no_encoding_stays() {
    for (path, all, decoded) in [
        ("/%2E%2f", true, "/./"),
        ("/%2E%2f", false, "/.%2f"),
        ("/%", true, "/%"),
        ("/%4", true, "/%4"),
        ("/%zz%41", true, "/%zzA"),
        ("/%%41", true, "/%A"),
        ("/%2541", true, "/%41"),
    ] {
        assert_eq!(decode(path.as_bytes(), all).path, decoded.as_bytes());
    }
    assert!(decode(b"/%41%2f", true).is_mixed());
    assert!(!decode(b"/%41%42", true).is_mixed());
    assert!(!decode(b"/%zz%", true).is_other());
}
