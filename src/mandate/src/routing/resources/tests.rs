use proptest::prelude::*;

use super::*;

/// Resources and their hosts.
fn resources(all: &[(&str, &[&str])]) -> Resources {
    let resource = |(id, hosts): &(&str, &[&str])| Resource {
        upstream_url: None,
        challenge: None,
        zones: ZoneSet::ALL,
        id: (*id).to_owned(),
        audience: format!("audience of {id}"),
        rules: Rules::default(),
        hosts: hosts.iter().map(|h| HostName::parse(h).unwrap()).collect(),
    };
    Resources::named(all.iter().map(resource).collect())
}

fn chosen<'r>(
    of: &'r Resources,
    authority: &str,
    names: &[&str],
) -> Result<&'r str, InvalidChoice> {
    let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    let id = of.choose(Some(authority.as_bytes()), &names)?;
    Ok(&of.get(id).unwrap().id)
}

#[test]
fn the_header_chooses_exactly_and_once() {
    let several = resources(&[("b", &[]), ("resource://a", &[])]);
    for (names, found) in [
        (&["b"][..], Ok("b")),
        (&["resource://a"], Ok("resource://a")),
        (&[], Err(InvalidChoice::Missing)),
        (&[""], Err(InvalidChoice::Unknown)),
        (&["B"], Err(InvalidChoice::Unknown)),
        (&["b "], Err(InvalidChoice::Unknown)),
        (&["b/"], Err(InvalidChoice::Unknown)),
        (&["audience of b"], Err(InvalidChoice::Unknown)),
        (&["b", "b"], Err(InvalidChoice::Repeated)),
        (&["b", ""], Err(InvalidChoice::Repeated)),
        (&["b,b"], Err(InvalidChoice::Repeated)),
        (&["b, resource://a"], Err(InvalidChoice::Repeated)),
        (&[","], Err(InvalidChoice::Repeated)),
    ] {
        // If no resource has hosts, the host is ignored.
        for authority in ["any.test", "", "not a host"] {
            assert_eq!(chosen(&several, authority, names), found, "{names:?}");
        }
        let not_sent: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        assert_eq!(several.choose(None, &not_sent).err(), found.err());
    }
}

#[test]
fn one_resource_needs_no_choice_and_takes_no_other() {
    let one = resources(&[("a", &[])]);
    assert_eq!(chosen(&one, "any.test", &[]), Ok("a"));
    assert_eq!(chosen(&one, "any.test", &["a"]), Ok("a"));
    assert_eq!(
        chosen(&one, "any.test", &["b"]),
        Err(InvalidChoice::Unknown)
    );
    let at_home = resources(&[("a", &["a.test"])]);
    assert_eq!(chosen(&at_home, "a.test", &[]), Ok("a"));
    assert_eq!(
        chosen(&at_home, "b.test", &[]),
        Err(InvalidChoice::Elsewhere)
    );
    assert_eq!(
        chosen(&at_home, "b.test", &["a"]),
        Err(InvalidChoice::Elsewhere)
    );
}

#[test]
fn without_names_what_a_request_says_counts_for_nothing() {
    let one = Resources::unnamed("a", Rules::default(), None);
    for names in [&[][..], &["b"], &["a", "b"], &[""]] {
        assert_eq!(chosen(&one, "not a host", names), Ok("a"));
    }
    assert_eq!(one.forwarded_id(ResourceId(0)), None);
    assert!(!one.are_named() && resources(&[("a", &[])]).are_named());
}

#[test]
fn a_host_is_its_resource_s_alone() {
    let both = resources(&[
        ("a", &["a.test", "A.example", "[::1]"]),
        ("b", &["b.test", "a.test:8443"]),
        ("anywhere", &[]),
    ]);
    for (authority, names, found) in [
        ("a.test", &[][..], Ok("a")),
        ("A.TEST", &[], Ok("a")),
        ("a.test:8443", &[], Ok("b")),
        ("[::1]", &[], Ok("a")),
        ("A.TEST:443", &[], Err(InvalidChoice::Spelled)),
        ("a.test:443", &["anywhere"], Err(InvalidChoice::Spelled)),
        ("a.test.", &["a"], Err(InvalidChoice::Spelled)),
        ("a.test.:8443", &[], Err(InvalidChoice::Spelled)),
        ("a.test:", &[], Err(InvalidChoice::Spelled)),
        ("a.example.", &[], Err(InvalidChoice::Spelled)),
        ("[0::0:1]", &[], Err(InvalidChoice::Spelled)),
        ("[::1]:80", &[], Err(InvalidChoice::Spelled)),
        ("b.test:8443", &["b"], Err(InvalidChoice::Spelled)),
        ("a.test", &["a"], Ok("a")),
        ("b.test", &[], Ok("b")),
        ("b.test", &["a"], Err(InvalidChoice::Contradictory)),
        ("a.test", &["anywhere"], Err(InvalidChoice::Contradictory)),
        ("a.test", &["c"], Err(InvalidChoice::Unknown)),
        ("a.test", &["a", "a"], Err(InvalidChoice::Repeated)),
        ("c.test", &["anywhere"], Ok("anywhere")),
        ("c.test", &["a"], Err(InvalidChoice::Elsewhere)),
        ("c.test", &[], Err(InvalidChoice::Missing)),
        ("sub.a.test", &[], Err(InvalidChoice::Missing)),
        ("xa.test", &["a"], Err(InvalidChoice::Elsewhere)),
        ("a.test@c.test", &["anywhere"], Err(InvalidChoice::Host)),
        ("a.test,c.test", &["anywhere"], Err(InvalidChoice::Host)),
        ("", &["anywhere"], Err(InvalidChoice::Host)),
    ] {
        assert_eq!(
            chosen(&both, authority, names),
            found,
            "{authority} {names:?}"
        );
    }
    assert_eq!(both.choose(None, &[b"anywhere"]), Err(InvalidChoice::Host));
}

#[test]
fn the_upstream_is_told_where_there_are_several() {
    let forwarded_id = |of: &Resources| {
        let id = of.choose(None, &[b"a"]).unwrap();
        of.forwarded_id(id).map(str::to_owned)
    };
    assert_eq!(forwarded_id(&resources(&[("a", &[])])), None);
    assert_eq!(
        forwarded_id(&resources(&[("a", &[]), ("b", &[])])).as_deref(),
        Some("a")
    );
}

/// Some of these are hosts of resources; the others are almost such a host.
fn authority() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[ab]\\.(test|TEST)\\.?",
        "[a-c.@:\\[\\]-]{0,6}",
        Just("[::1]".to_owned()),
        Just("[0::1]".to_owned()),
    ];
    (host, "(:[0-9x]{0,6})?").prop_map(|(host, port)| host + &port)
}

proptest! {
    /// The choice follows the header and the owner of the host. The test works it out a
    /// second time from the strings.
    #[test]
    fn a_choice_is_what_header_and_host_say(
        names in prop::collection::vec("[abc,]{0,2}", 0..3),
        authority in authority(),
        with_hosts in any::<bool>(),
    ) {
        let hosts: &[(&str, &[&str])] = if with_hosts {
            &[("a", &["a.test", "[::1]"]), ("b", &["b.test"]), ("c", &[])]
        } else {
            &[("a", &[]), ("b", &[]), ("c", &[])]
        };
        let all = resources(hosts);
        let named: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = chosen(&all, &authority, &named);
        let (host, port) = match authority.rfind(':') {
            Some(at) if !authority.ends_with(']') => authority.split_at(at),
            _ => (authority.as_str(), ""),
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_lowercase();
        let owner = match host.as_str() {
            "[::1]" | "[0::1]" => Some("a"),
            "a.test" => Some("a"),
            "b.test" => Some("b"),
            _ => None,
        };
        let owner = owner.filter(|_| with_hosts && port.len() <= 6 && !port.contains('x'));
        let is_exact = ["a.test", "[::1]", "b.test"]
            .iter()
            .any(|host| host.eq_ignore_ascii_case(&authority));
        match found {
            Ok(id) => {
                prop_assert!(named.is_empty() || named == [id]);
                prop_assert!(owner.is_none_or(|owner| owner == id && is_exact));
                prop_assert!(!with_hosts || id == "c" || owner == Some(id));
            }
            Err(_) => {
                let known = |name: &&str| ["a", "b", "c"].contains(name);
                let named_one = named.len() == 1 && known(&named[0]);
                prop_assert!(!(named_one && is_exact && owner == Some(named[0])));
                prop_assert!(!(named.is_empty() && is_exact && owner.is_some()));
                prop_assert!(!named_one || with_hosts);
            }
        }
    }

    /// No bytes make a host panic, and a port or upper case does not make it another
    /// host.
    #[test]
    fn an_authority_is_read_alike_in_any_case(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        let lower = bytes.to_ascii_lowercase();
        let fold = |authority: &[u8]| match RequestHost::of_authority(authority) {
            Some(RequestHost::Name(name)) => Some(name.to_ascii_lowercase()),
            Some(RequestHost::Address(address)) => Some(address.octets().to_vec()),
            None => None,
        };
        prop_assert_eq!(fold(&bytes), fold(&lower));
        if let Some(RequestHost::Name(name)) = RequestHost::of_authority(&bytes) {
            prop_assert!(name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b)));
            let with_port = [name, b":443"].concat();
            prop_assert_eq!(RequestHost::of_authority(&with_port), Some(RequestHost::Name(name)));
        }
    }
}
