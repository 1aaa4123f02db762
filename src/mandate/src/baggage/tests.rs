use proptest::prelude::*;

use super::*;

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn removed(lines: &[&str]) -> Option<String> {
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    without_ours(&lines).map(text)
}

fn foreign(lines: &[&str]) -> Option<String> {
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    foreign_members(&lines).map(text)
}

fn claims(changes: &str) -> Claims {
    let all = format!(
        r#"{{"iss":"i","aud":"a","exp":2,"iat":1,"jti":"j","sub":"s","sid":"record 1","root_sid":"r","client_id":"c","zone_id":"z","use":"resource","sub_type":"user"{changes}}}"#
    );
    Claims::parse(all.as_bytes()).unwrap()
}

#[test]
fn members_of_others_are_kept_as_they_are() {
    for untouched in [
        "a=1,b=2;p",
        "xcaracal.a=1",
        "caracal=1",
        "a=%2C;p=%20,b=",
        "a=1",
    ] {
        assert_eq!(removed(&[untouched]), None, "{untouched}");
        assert_eq!(foreign(&[untouched]), None, "{untouched}");
    }
    for (line, left) in [
        ("caracal.zone=z", ""),
        ("a=1, Caracal.zone=z;p=1 ,b=2", "a=1,b=2"),
        ("a=x%20y;p=1;q,caracal.hop=1,b=", "a=x%20y;p=1;q,b="),
        // The namespace in a value is no name.
        ("a=caracal.x,caracal.hop=1", "a=caracal.x"),
        (
            "a=https%3A%2F%2Fcaracal.test,caracal.hop=1",
            "a=https%3A%2F%2Fcaracal.test",
        ),
    ] {
        assert_eq!(removed(&[line]).as_deref(), Some(left), "{line}");
        assert_eq!(foreign(&[line]).as_deref(), Some(left), "{line}");
    }
}

/// Each is read as `caracal.session` by some reader.
#[test]
fn no_other_spelling_of_the_namespace_gets_through() {
    for spelled in [
        "caracal.session=x",
        "CARACAL.session=x",
        "\tcaracal.session =x",
        "+caracal.session=x",
        "a=1;caracal.session=x",
    ] {
        for lines in [&[spelled][..], &["b=2", spelled], &["b=2,", "", spelled]] {
            let left = if lines.len() == 1 { "" } else { "b=2" };
            assert_eq!(removed(lines).as_deref(), Some(left), "{lines:?}");
            assert_eq!(foreign(lines).as_deref(), Some(left), "{lines:?}");
        }
    }
    for hidden in [
        "%63aracal.session=x",
        "caracal%2Esession=x",
        "%2563aracal.session=x",
        "%25252563aracal.session=x",
        "%20caracal.session=x",
        "%C2%A0caracal.session=x",
        "a=1%2Ccaracal.session=x",
        "a=1%3bcaracal.session=x",
        "caracal.hop=1,%63aracal.session=x",
    ] {
        for lines in [&[hidden][..], &["b=2", hidden]] {
            assert_eq!(removed(lines).as_deref(), Some(""), "{lines:?}");
            assert_eq!(foreign(lines).as_deref(), Some(""), "{lines:?}");
        }
    }
    // Not written as the specification says: nobody knows what a reader finds there.
    for broken in [
        "b=2,\"a=1,caracal.session=x\"",
        "b=2,a=1 caracal.session=x",
        "b=2,caracal.session",
        "b=2,=caracal.session",
        "b=2;=x,caracal.session=x",
        "b=2,\u{a0}caracal.session=x",
        "b=2,a=\\,caracal.session=x",
    ] {
        assert_eq!(removed(&[broken]).as_deref(), Some(""), "{broken}");
        assert_eq!(foreign(&[broken]).as_deref(), Some(""), "{broken}");
    }
}

#[test]
fn what_cannot_name_the_namespace_passes_however_it_is_written() {
    let long = format!("a={}", "x".repeat(10_000));
    let many = ["a=1"; 100].join(",");
    for strange in ["a=\"1, 2\"", "a", "=,;", "a=\u{a0}", &long, &many] {
        assert_eq!(removed(&[strange]), None);
        // Not where more is written to it.
        assert_eq!(foreign(&[strange]).as_deref(), Some(""));
    }
    // Over the bound nothing is decoded.
    assert_eq!(removed(&[&format!("{long}%20")]).as_deref(), Some(""));
    let most = vec!["a=1"; MAX_MEMBERS].join(",");
    assert_eq!(foreign(&[&most]), None);
    assert_eq!(foreign(&[&format!("{most},b=1")]).as_deref(), Some(""));
}

#[test]
fn the_verified_members_say_what_the_mandate_does() {
    assert_eq!(
        verified_members(&claims("")).unwrap(),
        "caracal.session=record%201"
    );
    let delegated =
        r#","agent_session_id":"as-1","delegation_edge_id":"edge-é,caracal.hop=0","hop_count":2"#;
    assert_eq!(
        verified_members(&claims(delegated)).unwrap(),
        "caracal.agent_session=as-1,caracal.delegation_edge=edge-%C3%A9%2Ccaracal.hop%3D0,caracal.hop=2,caracal.session=record%201"
    );
    let wide = format!(r#","agent_session_id":"{}""#, "é".repeat(1_400));
    assert_eq!(verified_members(&claims(&wide)), None);
}

#[test]
fn the_callers_members_give_way_to_the_verified_ones() {
    let all = |foreign: &str| text(with_verified(foreign.as_bytes(), "caracal.session=s"));
    assert_eq!(all(""), "caracal.session=s");
    assert_eq!(all("a=1,b=2"), "a=1,b=2,caracal.session=s");
    let members = |n: usize| vec!["a=1"; n].join(",");
    assert!(all(&members(MAX_MEMBERS - 1)).starts_with("a=1,"));
    assert_eq!(all(&members(MAX_MEMBERS)), "caracal.session=s");
    let bytes = |n: usize| format!("a={}", "x".repeat(n));
    let most = MAX_BYTES - ",caracal.session=s".len() - "a=".len();
    assert_eq!(all(&bytes(most)).len(), MAX_BYTES);
    assert_eq!(all(&bytes(most + 1)), "caracal.session=s");
}

/// How Caracal's SDK reads the header, and how more careless readers do: names are decoded
/// as in forms, and all that is not visible is trimmed.
fn read(header: &str) -> Vec<(String, String)> {
    fn decoded(mut text: String) -> String {
        for _ in 0..20 {
            let form = text.replace('+', " ");
            let once = percent_decode(form.as_bytes())
                .decode_utf8_lossy()
                .into_owned();
            if once == text {
                break;
            }
            text = once;
        }
        text
    }
    let mut found = Vec::new();
    for header in [header.to_owned(), decoded(header.to_owned())] {
        for part in header.split([',', ';']) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            for name in [name.to_owned(), decoded(name.to_owned())] {
                let name = name.trim_matches(|c: char| c.is_whitespace() || !c.is_ascii_graphic());
                found.push((name.to_ascii_lowercase(), value.to_owned()));
            }
        }
    }
    found
}

fn names_caracal(header: &str) -> bool {
    let all = read(header);
    all.iter().any(|(name, _)| name.starts_with("caracal."))
}

/// Pieces that make up headers in which the namespace hides.
fn header() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("caracal."),
        Just("Caracal.hop"),
        Just("caracal"),
        Just("."),
        Just("%63"),
        Just("%2563"),
        Just("%2E"),
        Just("%2C"),
        Just("%3D"),
        Just("%"),
        Just("aracal.x"),
        Just("+"),
        Just(" "),
        Just("\t"),
        Just("\u{a0}"),
        Just("\""),
        Just(","),
        Just(","),
        Just(";"),
        Just("="),
        Just("="),
        Just("a"),
        Just("b=1"),
        Just(",c=2,"),
    ];
    let any = "[ -~]{0,12}";
    prop_oneof![
        proptest::collection::vec(piece, 0..14).prop_map(|all| all.concat()),
        any,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever a header says, no reader finds Caracal's namespace in what is left.
    #[test]
    fn nothing_of_the_namespace_is_left(lines in proptest::collection::vec(header(), 1..4)) {
        let borrowed: Vec<&str> = lines.iter().map(String::as_str).collect();
        let whole = lines.join(",");
        let left = removed(&borrowed).unwrap_or_else(|| whole.clone());
        prop_assert!(!names_caracal(&left), "{whole:?} leaves {left:?}");
        let one_line = foreign(&borrowed);
        let left = one_line.unwrap_or_else(|| whole.clone());
        prop_assert!(!names_caracal(&left), "{whole:?} leaves {left:?}");
        // And what is written behind it is what every reader finds.
        let all = text(with_verified(left.as_bytes(), "caracal.hop=3"));
        let ours: Vec<_> = read(&all)
            .into_iter()
            .filter(|(name, _)| name.starts_with("caracal."))
            .collect();
        prop_assert!(!ours.is_empty());
        prop_assert!(ours.iter().all(|one| *one == ("caracal.hop".to_owned(), "3".to_owned())), "{all:?}");
    }

    /// A header of well-formed members of others and of ours keeps exactly those of others.
    #[test]
    fn what_is_well_formed_keeps_every_member_of_others(
        members in proptest::collection::vec(
            ("[a-z][a-z0-9_-]{0,8}", "[!#-+./0-9:<=>?@A-Z^_a-z~-]{0,8}", any::<bool>()),
            1..20,
        )
    ) {
        let written = |(name, value, is_ours): &(String, String, bool)| {
            format!("{}{name}={value}", if *is_ours { "caracal." } else { "" })
        };
        let all: Vec<String> = members.iter().map(written).collect();
        let others: Vec<String> = members.iter().filter(|one| !one.2).map(written).collect();
        let whole = all.join(", ");
        let left = foreign(&[&whole]).unwrap_or_else(|| whole.clone());
        prop_assert_eq!(left, others.join(","));
    }

    /// Any value that a claim may have comes out of its encoding as it went in.
    #[test]
    fn a_claim_is_read_back_as_it_was(value in "\\PC{1,40}") {
        let claims = claims(&format!(r#","agent_session_id":{}"#, serde_json::json!(value)));
        let members = verified_members(&claims).unwrap();
        prop_assert!(is_member(members.split(',').next().unwrap().as_bytes()));
        let (_, written) = members.split(',').next().unwrap().split_once('=').unwrap();
        let back = percent_decode(written.as_bytes()).decode_utf8().unwrap();
        prop_assert_eq!(back.as_ref(), value.as_str());
    }
}
