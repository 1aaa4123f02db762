use super::*;

fn number(text: &str) -> Number {
    let json = format!("{{\"n\":{text}}}");
    match member(&parse_object(json.as_bytes()).unwrap(), "n") {
        Some(Value::Number(n)) => *n,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn tells_integers_from_other_numbers() {
    assert_eq!(number("0"), Number::Integer(0));
    assert_eq!(
        number("9223372036854775807"),
        Number::Integer(i64::MAX as u64)
    );
    for out in [
        "9223372036854775808",
        "18446744073709551616",
        "-1",
        "-0",
        "-99999999999999999999",
    ] {
        assert_eq!(number(out), Number::OutOfRange, "{out}");
    }
    for no in ["1.0", "1e3", "-0.0", "1E0", "0.5", "1e999", "-1e-400"] {
        assert_eq!(number(no), Number::NotInteger, "{no}");
    }
    assert_eq!(
        number(&format!("0.{}", "1".repeat(5000))),
        Number::NotInteger
    );
}

#[test]
fn integers_have_at_most_4300_digits() {
    assert_eq!(number(&"9".repeat(4300)), Number::OutOfRange);
    assert_eq!(
        number(&format!("-{}", "9".repeat(4300))),
        Number::OutOfRange
    );
    for at in ["{\"a\":N}", "{\"a\":[{\"b\":N}]}", "{\"a\":-N}"] {
        let json = at.replace('N', &"9".repeat(4301));
        assert_eq!(
            parse_object(json.as_bytes()),
            Err(InvalidJson::IntegerTooLong),
            "{at}"
        );
    }
}

/// A number that serde_json would not read is still a number, and a text that is not a
/// number is not hidden by that.
#[test]
fn numbers_that_no_float_holds_are_read_as_they_are_written() {
    let text =
        r#"{"a":1e999,"b":["x\"1e9",{"\u0063":-1e999,"d":"\\"}],"e":123456789012345678901,"f":7}"#;
    let members = parse_object(text.as_bytes()).unwrap();
    let number = |name: &str| match member(&members, name) {
        Some(Value::Number(number)) => *number,
        other => panic!("{other:?}"),
    };
    assert_eq!(number("a"), Number::NotInteger);
    assert_eq!(number("e"), Number::OutOfRange);
    assert_eq!(number("f"), Number::Integer(7));
    let inner = vec![
        ("c".into(), Value::Number(Number::NotInteger)),
        ("d".into(), Value::String("\\".into())),
    ];
    let list = vec![Value::String("x\"1e9".into()), Value::Object(inner)];
    assert_eq!(member(&members, "b"), Some(&Value::Array(list)));
    for odd in [
        "1e",
        "01e5",
        "1.e5",
        "--1e5",
        "1e5.",
        "1e5e5",
        "-e5",
        "1e+",
        "00000000000000000000001",
        "1-2e5",
    ] {
        let text = format!("{{\"a\":{odd}}}");
        let read = parse_object(text.as_bytes());
        assert_eq!(read, Err(InvalidJson::Syntax), "{odd}");
    }
}

#[test]
fn refuses_what_two_parsers_could_read_differently() {
    let cases: &[(&[u8], InvalidJson)] = &[
        (br#"{"a":1,"a":1}"#, InvalidJson::DuplicateName),
        (br#"{"a":1,"\u0061":1}"#, InvalidJson::DuplicateName),
        (br#"{"x":[{"a":1,"a":1}]}"#, InvalidJson::DuplicateName),
        (br#"{"x":{"a":{"b":1,"b":2}}}"#, InvalidJson::DuplicateName),
        (br#"[]"#, InvalidJson::NotAnObject),
        (br#""a""#, InvalidJson::NotAnObject),
        (br#" "#, InvalidJson::Syntax),
        (b"", InvalidJson::Syntax),
        (br#"{"a":NaN}"#, InvalidJson::Syntax),
        (br#"{"a":Infinity}"#, InvalidJson::Syntax),
        (br#"{"a":01}"#, InvalidJson::Syntax),
        (br#"{"a":"\ud800"}"#, InvalidJson::Syntax),
        (br#"{"a":["\udc00x"]}"#, InvalidJson::Syntax),
        (br#"{"\ud800":1}"#, InvalidJson::Syntax),
        (br#"{"a":1}x"#, InvalidJson::Syntax),
        (br#"{"a":1,}"#, InvalidJson::Syntax),
        (b"\xef\xbb\xbf{\"a\":1}", InvalidJson::Syntax),
        (b"{\"a\":\"\xff\"}", InvalidJson::NotUtf8),
        (b"{\"a\":\"\x01\"}", InvalidJson::Syntax),
        (b"\xff\xfe{\0}\0", InvalidJson::NotUtf8),
        (b"{\0\"\0}\0", InvalidJson::Syntax),
    ];
    for (bytes, why) in cases {
        let got = parse_object(bytes);
        assert_eq!(
            got.as_ref().err(),
            Some(why),
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn nesting_is_bounded_at_32() {
    let nested = |depth: usize| {
        let inner = depth - 1;
        format!("{{\"a\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
    };
    assert!(parse_object(nested(32).as_bytes()).is_ok());
    assert_eq!(
        parse_object(nested(33).as_bytes()),
        Err(InvalidJson::TooDeep)
    );
    let hostile = format!("{{\"a\":{}", "[".repeat(100_000));
    assert!(parse_object(hostile.as_bytes()).is_err());
}

#[test]
fn white_space_and_escapes_are_read() {
    let members =
        parse_object(b" {\n \"a\\n\" : \"\\u00e9\\ud83d\\ude00\" ,\t\"b\":[null,true]}\r\n")
            .unwrap();
    assert_eq!(member(&members, "a\n"), Some(&Value::String("é😀".into())));
    assert_eq!(
        member(&members, "b"),
        Some(&Value::Array(vec![Value::Null, Value::Bool(true)]))
    );
}
