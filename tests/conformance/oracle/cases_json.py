"""Row 3: header and payload are JSON objects in UTF-8, strictly."""

from mint import CLAIMS, Raw, claims_json, dump, header_json, jws, nested, token, with_members
from model import INVALID, OK, Suite

# Whole texts in place of the object.
NOT_OBJECTS = {
    "empty": "", "space": " ", "null": "null", "true": "true", "number": "1", "string": '"x"', "array": "[]",
    "array-of-object": "[{}]", "word": "hello", "brace": "{", "empty-object": "{}", "nul": "\0", "comment": "{}//x",
}

# Changes of a good object's text that make it no JSON. `{}` stands for the object without its braces.
BROKEN = {
    "trailing-comma": "{{{},}}", "leading-comma": "{{,{}}}", "missing-brace": "{{{}", "second-object": "{{{}}}{{}}",
    "trailing-word": "{{{}}}x", "trailing-nul": "{{{}}}\0", "single-quotes": "{{{},'a':1}}", "bare-name": "{{{},a:1}}",
    "no-colon": '{{{},"a" 1}}', "no-value": '{{{},"a":}}', "comment": "{{{}/**/}}", "line-comment": "{{{}//x\n}}",
    "leading-zero": '{{{},"a":01}}', "plus": '{{{},"a":+1}}', "leading-point": '{{{},"a":.5}}',
    "trailing-point": '{{{},"a":1.}}', "empty-exponent": '{{{},"a":1e}}', "hex": '{{{},"a":0x10}}',
    "minus-alone": '{{{},"a":-}}', "underscore": '{{{},"a":1_000}}', "undefined": '{{{},"a":undefined}}',
    "upper-true": '{{{},"a":True}}', "nan-lower": '{{{},"a":nan}}', "control-character": '{{{},"a":"\x01"}}',
    "newline-in-string": '{{{},"a":"\n"}}', "tab-in-string": '{{{},"a":"\t"}}', "bad-escape": '{{{},"a":"\\x41"}}',
    "short-escape": '{{{},"a":"\\u41"}}', "open-string": '{{{},"a":"}}', "number-name": "{{{},1:1}}",
    "nbsp-outside": "{{{}\u00a0}}", "vt-outside": "{{{}\v}}", "mismatch": '{{{},"a":[1}}]',
}

# Changes that the connector takes and RFC 8259 in UTF-8 does not.
LENIENT = {
    "nan": '"a":NaN', "infinity": '"a":Infinity', "minus-infinity": '"a":-Infinity', "nan-nested": '"a":[{"b":NaN}]',
    "high-surrogate": '"a":"\\ud800"', "low-surrogate": '"a":"\\udc00"', "surrogates-swapped": '"a":"\\udc00\\ud800"',
    "surrogate-then-text": '"a":"\\ud83dx"', "surrogate-in-name": '"\\ud800":1', "surrogate-nested": '"a":[{"b":"\\udfff"}]',
    "surrogate-then-escape": '"a":"\\ud800\\u0041"', "two-high-surrogates": '"a":"\\ud800\\ud800\\udc00"',
}

# Changes that are JSON, however strange, and mean nothing to a verifier.
FINE = {
    "pair": '"a":"\\ud83d\\ude00"', "nul-escape": '"a":"\\u0000"', "escapes": '"a":"\\"\\\\\\/\\b\\f\\n\\r\\t"',
    "empty-name": '"":1', "utf8": '"a":"\u00fc\u20ac\U0001f600"', "noncharacter": '"a":"\uffff"',
    "bom-in-string": '"a":"\ufeff"', "upper-hex": '"a":"\\u00FC"', "white-space": ' \t\n\r"a"\t:\n1\r',
    "unknown-negative": '"a":-1', "unknown-fraction": '"a":-1.5', "unknown-minus-zero": '"a":-0',
    "unknown-exponent": '"a":1E+2', "unknown-2-64": '"a":18446744073709551616', "unknown-nested-number": '"a":{"b":[-0,1e3]}',
    "unknown-huge": '"a":1e400', "unknown-minus-huge": '"a":-1e400', "unknown-tiny": '"a":1e-400', "unknown-long-fraction": '"a":0.' + "1" * 4500,
    "unknown-4300-digits": '"a":' + "9" * 4300, "unknown-null": '"a":null', "unknown-empties": '"a":[{},[],""]',
    "unknown-name-of-prototype": '"__proto__":{"exp":1}',
}


def texts(s: Suite) -> None:
    head, body = header_json(), claims_json()
    for name, text in NOT_OBJECTS.items():
        s.add(f"payload-{name}", 3, f"The payload is no mandate: {name}", INVALID, jws(head, text))
        s.add(f"header-{name}", 3, f"The header is no usable object: {name}", INVALID, jws(text, body))

    for name, pattern in BROKEN.items():
        s.add(f"payload-broken-{name}", 3, f"The payload is no JSON: {name}", INVALID, jws(head, pattern.format(body[1:-1])))
        if name in ("trailing-comma", "second-object", "single-quotes", "comment", "control-character", "nan-lower",
                    "leading-zero", "trailing-word"):
            s.add(f"header-broken-{name}", 3, f"The header is no JSON: {name}", INVALID, jws(pattern.format(head[1:-1]), body))
    for name, member in LENIENT.items():
        s.add(f"payload-lenient-{name}", 3, f"The payload holds what JSON has not: {name}", INVALID,
              jws(head, with_members(body, member)), stricter="strict-json")
    for name in ("nan", "high-surrogate", "surrogate-in-name", "minus-infinity"):
        s.add(f"header-lenient-{name}", 3, f"The header holds what JSON has not: {name}", INVALID,
              jws(with_members(head, LENIENT[name]), body), stricter="strict-json")
    for name, member in FINE.items():
        s.add(f"payload-fine-{name}", 3, f"An unknown member that is JSON: {name}", OK, jws(head, with_members(body, member)))
    for name in ("pair", "utf8", "unknown-negative", "unknown-2-64", "unknown-huge", "white-space", "empty-name"):
        s.add(f"header-fine-{name}", 3, f"An unknown header member that is JSON: {name}", OK,
              jws(with_members(head, FINE[name]), body))
    s.add("payload-4301-digits", 3, "An unknown integer of 4301 digits: the connector's JSON reader gives up", INVALID,
          jws(head, with_members(body, '"a":' + "9" * 4301)))
    s.add("payload-minus-4301-digits", 3, "A negative integer of 4301 digits, nested", INVALID,
          jws(head, with_members(body, '"a":[-' + "9" * 4301 + "]")))
    s.add("payload-minus-4300-digits", 3, "A negative integer of 4300 digits, nested", OK,
          jws(head, with_members(body, '"a":[-' + "9" * 4300 + "]")))
    s.add("header-4301-digits", 3, "An integer of 4301 digits in the header", INVALID,
          jws(with_members(head, '"a":' + "9" * 4301), body))
    s.add("payload-around", 3, "White space around the payload's object", OK, jws(head, " \r\n\t" + body + "\n"))
    s.add("header-around", 3, "White space around the header's object", OK, jws("\n" + head + " \r\n\t", body))
    s.add("payload-nbsp-around", 3, "NBSP is no JSON white space", INVALID, jws(head, "\u00a0" + body))


def encodings(s: Suite) -> None:
    head, body = header_json(), claims_json()
    for name, codec in (("bom", "utf-8-sig"), ("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be"),
                        ("utf-32", "utf-32"), ("utf-32-le", "utf-32-le")):
        s.add(f"payload-{name}", 3, f"The payload in {codec}", INVALID, jws(head, body.encode(codec)), stricter="strict-json")
        s.add(f"header-{name}", 3, f"The header in {codec}", INVALID, jws(head.encode(codec), body), stricter="strict-json")
    for name, data in (("latin1", b"\xfc"), ("lone-continuation", b"\x80"), ("cut-short", b"\xe2\x82"), ("overlong", b"\xc0\xaf"),
                       ("over-10ffff", b"\xf4\x90\x80\x80"), ("ff", b"\xff")):
        text = with_members(body, '"a":"@"').encode().replace(b'"@"', b'"' + data + b'"')
        s.add(f"payload-utf8-{name}", 3, f"The payload is not UTF-8: {name}", INVALID, jws(head, text))
    for name, data in (("surrogate", b"\xed\xa0\x80"), ("surrogate-pair", b"\xed\xa0\xbd\xed\xb8\x80")):
        text = with_members(body, '"a":"@"').encode().replace(b'"@"', b'"' + data + b'"')
        s.add(f"payload-utf8-{name}", 3, f"A {name} in the bytes of the payload, which UTF-8 does not allow", INVALID,
              jws(head, text), stricter="strict-json")
    text = with_members(head, '"a":"@"').encode().replace(b'"@"', b'"\xff"')
    s.add("header-utf8-ff", 3, "The header is not UTF-8", INVALID, jws(text, body))


def duplicates(s: Suite) -> None:
    head, body = header_json(), claims_json()

    def double(id, about, header=head, payload=body, stricter="duplicate-member", **rest):
        s.add(f"duplicate-{id}", 3, about, INVALID, jws(header, payload), stricter=stricter, **rest)

    for name in ("iss", "exp", "sub", "zone_id", "scope", "use"):
        double(name, f"{name} twice, the same value", payload=with_members(body, dump({name: CLAIMS[name]})[1:-1]))
    double("exp-second-good", "exp twice, the first past", payload=dump({"exp": 1})[:-1] + "," + body[1:])
    double("exp-second-bad", "exp twice, the second past", payload=with_members(body, '"exp":1'), stricter=None)
    double("zone-second-bad", "zone_id twice, the second another zone: row 3 comes before row 4",
           payload=with_members(body, '"zone_id":"zone-2"'))
    double("escaped", "sub and s\\u0075b", payload=with_members(body, '"s\\u0075b":"user-1"'))
    double("escaped-upper", "sub and \\u0053 is S: another name", payload=with_members(body, '"\\u0053ub":1,"Sub":2'))
    double("unknown", "An unknown member twice", payload=with_members(body, '"a":1,"a":1'))
    double("unknown-empty-name", "The empty name twice", payload=with_members(body, '"":1,"":2'))
    double("nested", "A name twice in an inner object", payload=with_members(body, '"a":{"b":1,"b":1}'))
    double("deep", "A name twice in an object in arrays", payload=with_members(body, '"a":[[{"b":[{"c":1,"c":2}]}]]'))
    double("nested-escaped", "A name twice in an inner object, once with an escape",
           payload=with_members(body, '"a":{"b":1,"\\u0062":1}'))
    double("astral-escaped", "A name twice, once as a pair of escapes",
           payload=with_members(body, '"\U0001f600":1,"\\ud83d\\ude00":1'))
    double("chain", "application_id twice in a hop",
           payload=with_members(body, '"delegation_chain":[{"application_id":"a","application_id":"b"}]'))
    double("header-alg", "alg twice, the same value", header=with_members(head, '"alg":"ES256"'))
    double("header-alg-none", "alg twice, the second none", header=with_members(head, '"alg":"none"'), stricter=None)
    double("header-alg-none-first", "alg twice, the first none", header='{"alg":"none",' + head[1:])
    double("header-kid", "kid twice, the second good", header='{"kid":"k2",' + head[1:])
    double("header-alg-escaped", "alg and \\u0061lg", header=with_members(head, '"\\u0061lg":"ES256"'))
    double("header-nested", "A name twice in an inner object of the header", header=with_members(head, '"a":{"b":1,"b":2}'))
    double("header-before-key-set", "alg twice, and no key set", header=with_members(head, '"alg":"ES256"'),
           key_set="status-500", stricter="dependency-last")
    s.add("same-name-two-objects", 3, "The same name in two objects is no duplicate", OK,
          jws(head, with_members(body, '"a":{"b":1},"c":{"b":1,"a":{"b":1}}')))
    s.add("same-name-both-parts", 3, "The same name in header and payload is no duplicate", OK,
          jws(head, with_members(body, '"alg":"none","kid":"x"')))
    s.add("same-name-other-case", 3, "Names in another case are other names", OK, jws(head, with_members(body, '"EXP":1,"Exp":2')))


def depths(s: Suite) -> None:
    head, body = header_json(), claims_json()
    for depth in (31, 32, 33, 64, 1000):
        ok = depth <= 32
        rest = {} if ok else {"stricter": "nesting"}
        inner = depth - 1
        s.add(f"payload-depth-{depth}", 3, f"A payload nested {depth} deep", OK if ok else INVALID,
              token(a=nested(inner)), **rest)
        if depth < 100:
            objects = '{"a":' * inner + "1" + "}" * inner
            s.add(f"payload-objects-{depth}", 3, f"A payload of objects nested {depth} deep", OK if ok else INVALID,
                  token(a=Raw(objects)), **rest)
            s.add(f"header-depth-{depth}", 3, f"A header nested {depth} deep", OK if ok else INVALID,
                  token({"a": nested(inner)}), **rest)
    s.add("payload-wide", 3, "Many arrays side by side are not deep", OK, token(a=Raw("[" + ",".join(["[[]]"] * 400) + "]")))
    s.add("payload-brackets-in-string", 3, "Brackets in a string are not depth", OK, token(a="[" * 200 + '\\"{' + "{" * 200))
    s.add("payload-depth-in-chain", 3, "An unknown member of a hop nested 33 deep in all", INVALID,
          token(delegation_chain=[{"application_id": "a", "x": nested(30)}]), stricter="nesting")
    s.add("payload-depth-in-chain-ok", 3, "An unknown member of a hop nested 32 deep in all", OK,
          token(delegation_chain=[{"application_id": "a", "x": nested(29)}]))
    s.add("header-depth-before-key-set", 3, "A header too deep, and no key set", INVALID, token({"a": nested(40)}),
          key_set="status-500", stricter="dependency-last")


def suite() -> Suite:
    s = Suite("json")
    texts(s)
    encodings(s)
    duplicates(s)
    depths(s)
    return s
