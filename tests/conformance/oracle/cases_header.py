"""Row 3: the shape of the JWS, its size, and its header."""

import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives import hashes

from key_sets import P384
from keys import ABSENT, ED, MAIN, OTHER, Es256, b64url
from mint import NOW, Raw, claims_json, header_json, jws, segments, sign_segments, sized, token
from model import INVALID, OK, Suite


def padded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def standard(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def with_length(base: str, remainder: int, **member) -> bytes:
    """JSON whose length leaves `remainder` by 3, made so with spaces at the end."""
    data = base.encode()
    while len(data) % 3 != remainder:
        data += b" "
    return data


def hs256(secret: bytes, **header) -> str:
    signed = b64url(header_json(alg="HS256", **header).encode()) + "." + b64url(claims_json().encode())
    return signed + "." + b64url(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


def shapes(s: Suite) -> None:
    good = token()
    h, p, g = segments(good)

    def shape(id, about, text, want=INVALID, **rest):
        s.add(f"shape-{id}", 3, about, want, text, **rest)

    shape("good", "Header, payload, signature", good, OK)
    shape("one-segment", "Only a header", h)
    shape("two-segments", "No signature segment", f"{h}.{p}")
    shape("two-segments-dot", "An empty signature segment", f"{h}.{p}.")
    shape("four-segments", "A segment too many", f"{good}.{g}")
    shape("four-segments-empty", "A dot after the signature", f"{good}.")
    shape("five-segments", "The shape of a JWE", f"{h}.{p}.{g}.{p}.{g}")
    shape("leading-dot", "A dot before the header", f".{good}")
    shape("empty-header", "An empty header segment", f".{p}.{g}")
    shape("empty-payload", "An empty payload segment", sign_segments(h, ""))
    shape("dots-only", "Two dots", "..")
    shape("one-dot", "One dot", ".")
    shape("payload-first", "Header and payload swapped", f"{p}.{h}.{g}")
    shape("header-twice", "The header in place of the payload", sign_segments(h, h))
    shape("json-form", "JWS JSON serialization", json.dumps({"protected": h, "payload": p, "signature": g}))

    # The alphabet and the padding.
    for remainder, count in ((1, 2), (2, 1)):
        payload = with_length(claims_json(), remainder)
        header = with_length(header_json(), remainder)
        shape(f"payload-padding-{count}", f"The payload with its {count} padding characters",
              sign_segments(h, padded(payload)), stricter="base64")
        shape(f"header-padding-{count}", f"The header with its {count} padding characters",
              sign_segments(padded(header), p), stricter="base64")
        shape(f"payload-no-padding-{count}", f"The same payload without its {count} padding characters",
              sign_segments(h, b64url(payload)), OK)
        last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        for name, data, place in (("payload", payload, 1), ("header", header, 0)):
            text = b64url(data)
            text = text[:-1] + last[last.index(text[-1]) + 1]
            parts = [h, p]
            parts[place] = text
            shape(f"{name}-trailing-bits-{remainder}", f"The {name} with non-zero bits after its last byte",
                  sign_segments(*parts))
    signature = b64url(MAIN.sign(f"{h}.{p}".encode()))
    shape("signature-padding", "The signature with its padding", f"{h}.{p}.{signature}==", stricter="base64")
    shape("signature-padding-half", "The signature with half its padding", f"{h}.{p}.{signature}=")
    shape("signature-trailing-bits", "The signature with non-zero bits after its last byte",
          f"{h}.{p}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}")
    shape("wrong-padding", "Padding where none belongs", sign_segments(h, b64url(with_length(claims_json(), 0)) + "="))
    shape("four-paddings", "Four padding characters", sign_segments(h, b64url(with_length(claims_json(), 0)) + "===="))
    shape("length-1-mod-4", "A payload segment that no bytes encode to", sign_segments(h, b64url(with_length(claims_json(), 0)) + "A"))
    payload = claims_json(sub="??>>~~\u00ff??>>~~\u00ff???>>>").encode().replace(b"\\u00ff", "\u00ff".encode())
    assert "+" in standard(payload) and "/" in standard(payload)
    shape("alphabet-url", "A payload whose base64url has - and _", jws(header_json(), payload), OK)
    shape("alphabet-standard", "The same payload in the standard alphabet, with + and /",
          sign_segments(h, standard(payload)))
    for name, junk in (("bang", "!"), ("star", "*"), ("tilde", "~"), ("colon", ":"), ("at", "@"), ("plus", "+"),
                       ("slash", "/"), ("equals", "="), ("backslash", "\\"), ("percent", "%2E")):
        shape(f"junk-{name}", f"{junk} inside the payload segment", sign_segments(h, p[:8] + junk + p[8:]))
    shape("junk-header", "! inside the header segment", sign_segments(h[:8] + "!" + h[8:], p))
    shape("junk-signature", "! inside the signature", f"{h}.{p}.{g[:8]}!{g[8:]}")

    for length, want, rest in ((8191, OK, {}), (8192, OK, {}), (8193, INVALID, {"stricter": "token-size"}),
                               (12000, INVALID, {"stricter": "token-size"})):
        s.add(f"size-{length}", 3, f"A mandate of {length} bytes", want, sized(length), **rest)
    s.add("size-8193-junk", 3, "8193 bytes that are no token", INVALID, "a" * 8193)
    s.add("size-before-key-set", 3, "Too large, and no key set: the size is checked first", INVALID, sized(8193),
          key_set="status-500", stricter="dependency-last")


def algorithms(s: Suite) -> None:
    good_payload = claims_json()

    def alg(id, about, text, want=INVALID, **rest):
        s.add(f"alg-{id}", 3, about, want, text, **rest)

    alg("es256", "The one allowed algorithm", token(), OK)
    for name, value in (("lower", "es256"), ("space", "ES256 "), ("empty", ""), ("null", None), ("number", 256),
                        ("bool", True), ("array", ["ES256"]), ("object", {"ES256": 1}), ("es256k", "ES256K"),
                        ("es512", "ES512"), ("ps256", "PS256"), ("rs256", "RS256"), ("unknown", "X"),
                        ("dir", "dir"), ("ed25519", "Ed25519")):
        alg(name, f"alg is {json.dumps(value)}, the signature is good for ES256", token({"alg": value}))
    alg("absent", "No alg", token({"alg": ABSENT}))
    for spelling in ("none", "None", "NONE", "nOnE"):
        alg(f"none-{spelling}", f"alg {spelling} without a signature",
            ".".join(segments(token({"alg": spelling}))[:2]) + ".")
    alg("none-signed", "alg none with a good ES256 signature", token({"alg": "none"}))
    for name, secret in (("pem", MAIN.pem()), ("x", MAIN.point()[0]), ("point", b"\4" + b"".join(MAIN.point())),
                         ("jwk", json.dumps(MAIN.jwk("k1")).encode()), ("empty", b"")):
        alg(f"hs256-{name}", f"HS256 with a secret made of the public key ({name})", hs256(secret))
    alg("es384-key", "ES384, signed by a P-384 key of the set", jws(header_json(alg="ES384"), good_payload, P384),
        key_set="p384-beside")
    alg("es256-by-p384", "ES256 in the header, the kid names a P-384 key", jws(header_json(), good_payload, P384),
        key_set="p384-beside")
    sha384 = Es256("main", hash_alg=hashes.SHA384)
    alg("sha384", "ES256 in the header, SHA-384 in the signature", jws(header_json(), good_payload, sha384))
    alg("eddsa", "EdDSA, where only ES256 is allowed", jws(header_json(alg="EdDSA"), good_payload, ED))
    alg("eddsa-key", "EdDSA, signed by an Ed25519 key of the set, where only ES256 is allowed",
        jws(header_json(alg="EdDSA", kid="ed"), good_payload, ED), key_set="ed")
    alg("before-key-set", "An algorithm that is not allowed, and no key set: the algorithm is checked first",
        token({"alg": "HS256"}), key_set="status-500", stricter="dependency-last")
    alg("absent-before-key-set", "No algorithm, and no key set", token({"alg": ABSENT}), key_set="status-500",
        stricter="dependency-last")
    s.add("broken-before-key-set", 3, "A token that is none, and no key set", INVALID, "x.y.z", key_set="status-500")


def kids(s: Suite) -> None:
    def kid(id, about, text, want=INVALID, **rest):
        s.add(f"kid-{id}", 3, about, want, text, **rest)

    kid("absent", "No kid", token({"kid": ABSENT}), stricter="kid")
    kid("empty", "An empty kid", token({"kid": ""}), stricter="kid")
    for name, value in (("null", None), ("number", 1), ("bool", True), ("array", ["k1"]), ("object", {"k1": "k1"})):
        kid(name, f"kid is {json.dumps(value)}", token({"kid": value}))
    kid("unknown", "A kid that the set has not", token({"kid": "k9"}))
    kid("of-another-key", "The kid of another key of the set", token({"kid": "k2"}))
    kid("other-key", "Another key of the set, under its kid", token({"kid": "k2"}, _key=OTHER), OK)
    kid("case", "Case matters", token({"kid": "K1"}))
    kid("space", "White space matters", token({"kid": "k1 "}))
    kid("prefix", "A prefix is not enough", token({"kid": "k"}))
    kid("path", "A kid that looks like a path", token({"kid": "../../k1"}))
    kid("nul", "A kid with U+0000", token({"kid": "k1\0"}))
    kid("long", "A kid of 3000 characters", token({"kid": "k" * 3000}))
    kid("surrogate", "A kid with a lone surrogate", token({"kid": Raw('"\\ud800"')}))
    kid("escaped", "A kid written with escapes", token({"kid": Raw('"\\u006b\\u0031"')}), OK)
    for name, value in (("upper", "K1"), ("leading-space", " k1"), ("latin", "k\u00fc"), ("base64", "a/b+c=="),
                        ("astral", "\u20ac\U0001f600")):
        kid(f"set-{name}", f"An unusual kid that the set has ({name})", token({"kid": value}), OK, key_set="kid-shapes")
    kid("set-decomposed", "Unicode is compared byte for byte: u and a combining diaeresis", token({"kid": "ku\u0308"}),
        key_set="kid-shapes")
    kid("set-k1", "k1 where the set has K1 and ' k1'", token(), key_set="kid-shapes")
    kid("absent-before-key-set", "No kid, and no key set: the header is checked first", token({"kid": ABSENT}),
        key_set="status-500", stricter="dependency-last")


def members(s: Suite) -> None:
    def member(id, about, want=OK, _stricter=None, **header):
        s.add(id, 3, about, want, token(header), stricter=_stricter)

    # crit and b64.
    member("crit-unknown", "A critical extension nobody knows", INVALID, crit=["exp"], exp=NOW)
    member("crit-absent-member", "A critical extension that the header has not", INVALID, crit=["b64"])
    member("crit-empty", "An empty crit", INVALID, crit=[])
    member("crit-null", "crit is null", INVALID, crit=None)
    member("crit-string", "crit is a string", INVALID, crit="b64")
    member("crit-object", "crit is an object", INVALID, crit={"b64": True})
    member("crit-numbers", "crit holds a number", INVALID, crit=[1])
    member("crit-b64-true", "crit names b64, and b64 is true", INVALID, "crit", crit=["b64"], b64=True)
    member("crit-b64-null", "crit names b64, and b64 is null", INVALID, "crit", crit=["b64"], b64=None)
    member("crit-b64-twice", "crit names b64 twice, and b64 is true", INVALID, "crit", crit=["b64", "b64"], b64=True)
    member("crit-b64-false", "crit names b64, and b64 is false", INVALID, crit=["b64"], b64=False)
    member("b64-false", "b64 is false without crit", INVALID, b64=False)
    h = b64url(header_json(b64=False).encode())
    s.add("b64-false-raw", 3, "b64 is false and the payload is not encoded", INVALID,
          sign_segments(h, claims_json().replace(".", "-")))
    s.add("b64-false-detached", 3, "b64 is false and the payload is detached", INVALID, sign_segments(h, ""))
    member("b64-true", "b64 is true without crit", b64=True)
    member("b64-zero", "b64 is 0, which is not false", b64=0)
    member("b64-null", "b64 is null, which is not false", b64=None)
    member("b64-string", "b64 is the string false", b64="false")

    # Keys and places that come with the token are never followed.
    evil = Es256("evil")
    for name, value in (("jwk", evil.jwk("k1")), ("jku", "https://evil.test/keys"), ("x5u", "https://evil.test/c"),
                        ("x5c", ["MIIB"]), ("x5t", "AAAA"), ("x5t#S256", "AAAA")):
        slug = name.replace("#", "-").lower()
        s.add(f"{slug}-ignored", 3, f"{name} in the header is ignored", OK, token({name: value}))
        s.add(f"{slug}-not-followed", 3, f"A key of one's own, and {name}", INVALID, token({name: value}, _key=evil))
        s.add(f"{slug}-wrong-type", 3, f"{name} of a strange type is ignored", OK, token({name: [None, 1]}))
    s.add("jwk-no-kid", 3, "A key of one's own in the header, and no kid", INVALID,
          token({"kid": ABSENT, "jwk": evil.jwk("k1")}, _key=evil))

    # typ, cty and members nobody knows.
    for name, value in (("absent", ABSENT), ("at-jwt", "at+jwt"), ("lower", "jwt"), ("jose", "JOSE"), ("null", None),
                        ("number", 7), ("object", {"a": 1})):
        member(f"typ-{name}", f"typ is not looked at ({name})", typ=value)
    member("cty", "cty is not looked at", cty="JWT")
    member("zip", "zip is no member of a JWS header and is ignored", zip="DEF")
    member("enc", "enc does not make it a JWE", enc="A256GCM")
    member("unknown", "Unknown members are ignored", note={"a": [1.5, -3, None, True, "x"]}, n=Raw("1e400"))
    member("claims-in-header", "Claims in the header are ignored", exp=1, iss="https://evil.test", zone_id="zone-2")
    member("alg-last", "The order of members does not matter", OK, typ=ABSENT, zzz=1)
    s.add("header-order", 3, "alg after kid", OK, jws('{"kid":"k1","alg":"ES256"}', claims_json()))
    s.add("header-minimal", 3, "alg and kid only", OK, jws('{"alg":"ES256","kid":"k1"}', claims_json()))
    s.add("header-alg-escaped", 3, "The name alg written with an escape", OK,
          jws('{"\\u0061lg":"ES256","kid":"k1"}', claims_json()))
    s.add("header-alg-value-escaped", 3, "The value ES256 written with an escape", OK,
          jws('{"alg":"\\u0045S256","kid":"k1"}', claims_json()))
    s.add("header-name-case", 3, "Names of members are case-sensitive", INVALID,
          jws('{"ALG":"ES256","kid":"k1"}', claims_json()))
    s.add("header-kid-name-case", 3, "Kid is not kid", INVALID, jws('{"alg":"ES256","Kid":"k1"}', claims_json()),
          stricter="kid")


def suite() -> Suite:
    s = Suite("header")
    shapes(s)
    algorithms(s)
    kids(s)
    members(s)
    return s
