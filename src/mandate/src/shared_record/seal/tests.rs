use super::*;

fn of(secret: &str, purpose: &str, namespace: &str) -> Seal {
    Seal::new(secret, purpose, namespace).unwrap()
}

#[test]
fn only_the_same_secret_purpose_namespace_and_name_open_it() {
    let seal = of("secret", "key set", "n");
    let sealed = seal.seal("a/b", b"value");
    assert_eq!(seal.open("a/b", &sealed), Some(5));
    assert_eq!(of("secret", "key set", "n").open("a/b", &sealed), Some(5));
    for other in [
        of("Secret", "key set", "n"),
        of("secret", "log", "n"),
        of("secret", "key set", "m"),
        // The parts of the derivation do not run into each other.
        of("secret", "key setn", ""),
        of("secret", "key se", "tn"),
    ] {
        assert_eq!(other.open("a/b", &sealed), None);
    }
    for name in ["a/c", "a/", "a/bv", ""] {
        assert_eq!(seal.open(name, &sealed), None, "{name}");
    }
}

#[test]
fn no_byte_may_change_and_none_may_be_lost() {
    let seal = of("s", "p", "n");
    let sealed = seal.seal("k", b"0123456789");
    for n in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[n] ^= 1;
        assert_eq!(seal.open("k", &changed), None);
        assert_eq!(seal.open("k", &sealed[..n]), None);
    }
    assert_eq!(seal.open("k", &[&sealed[..], b"0"].concat()), None);
    assert_eq!(seal.open("k", &seal.seal("k", b"")), Some(0));
    // A byte moved from the value into the name.
    assert_eq!(seal.open("k0", &sealed[1..]), None);
}

/// The tag and the key are what another implementation makes.
#[test]
fn it_is_the_hmac_under_a_key_from_the_secret() {
    use ring::hmac::{HMAC_SHA256, Key, sign};
    let mut label = FORM.to_vec();
    for part in ["log", "zone"] {
        label.extend((part.len() as u64).to_le_bytes());
        label.extend(part.as_bytes());
    }
    let key = sign(&Key::new(HMAC_SHA256, b"secret"), &label);
    let mut message = 4_u64.to_le_bytes().to_vec();
    message.extend(b"namevalue");
    let tag = sign(&Key::new(HMAC_SHA256, key.as_ref()), &message);
    let sealed = of("secret", "log", "zone").seal("name", b"value");
    assert_eq!(&sealed[5..], tag.as_ref());
}

#[test]
fn names_and_logs_do_not_show_the_secret() {
    let part = name_part("a secret").unwrap();
    assert_eq!(part.len(), 32);
    assert_ne!(name_part("another"), Some(part));
    assert_eq!(format!("{:?}", of("a secret", "p", "n")), "(hidden)");
}
