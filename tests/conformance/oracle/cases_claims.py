"""Row 3 and 4: issuer, audience, the required claims, use, sub_type, the type of scope, zone."""

import json

from keys import ABSENT
from mint import AUDIENCE, CLAIMS, ISSUER, ZONE, Raw, token
from model import INVALID, OK, ZONE as ZONE_ERROR, Suite

# Every type that a claim can have but a non-empty string.
NOT_STRINGS = {
    "null": None, "true": True, "false": False, "zero": 0, "one": 1, "fraction": Raw("1.5"), "array": [],
    "array-of-string": ["x"], "object": {}, "object-with-member": {"x": "x"},
}
EMPTY = {"empty": ""}


def wrong_types(s: Suite, claim: str, row, want, values: dict, **rest) -> None:
    for name, value in values.items():
        text = value if isinstance(value, Raw) else json.dumps(value)
        s.add(f"{claim}-{name}".replace("_", "-"), row, f"{claim} is {text}", want, token(**{claim: value}), **rest)


def issuer(s: Suite) -> None:
    wrong_types(s, "iss", 3, INVALID, {**NOT_STRINGS, **EMPTY, "array-of-issuer": [ISSUER]})
    s.add("iss-absent", 3, "No iss", INVALID, token(iss=ABSENT))
    for name, value in (("slash", ISSUER + "/"), ("upper-host", ISSUER.replace("sts", "STS")), ("upper-scheme", ISSUER.replace("https", "HTTPS")),
                        ("http", ISSUER.replace("https", "http")), ("port", ISSUER + ":443"), ("other", "https://other.example.test"),
                        ("prefix", ISSUER[:-1]), ("longer", ISSUER + ".evil.test"), ("space", ISSUER + " "), ("nul", ISSUER + "\0"),
                        ("path", ISSUER + "/zones/zone-1")):
        s.add(f"iss-{name}", 3, f"iss is compared byte for byte: {name}", INVALID, token(iss=value))
    s.add("iss-escaped", 3, "iss with an escaped solidus is the same string", OK, token(iss=Raw(json.dumps(ISSUER).replace("/", "\\/"))))
    s.add("iss-configured-slash", 3, "A configured issuer with a slash is compared as written", OK,
          token(iss=ISSUER + "/"), config="issuer-slash")
    s.add("iss-configured-slash-without", 3, "A configured issuer with a slash, iss without", INVALID, token(), config="issuer-slash")


def audience(s: Suite) -> None:
    wrong_types(s, "aud", 3, INVALID, {**NOT_STRINGS, **EMPTY})
    s.add("aud-absent", 3, "No aud", INVALID, token(aud=ABSENT))
    for name, value in (("other", "https://other.example.test"), ("slash", AUDIENCE + "/"), ("upper", AUDIENCE.upper()),
                        ("space", AUDIENCE + " "), ("list-in-string", AUDIENCE + " other"), ("prefix", AUDIENCE[:-1])):
        s.add(f"aud-{name}", 3, f"aud is another string: {name}", INVALID, token(aud=value))
    for name, value in (("alone", [AUDIENCE]), ("first", [AUDIENCE, "x"]), ("last", ["x", "y", AUDIENCE]),
                        ("twice", [AUDIENCE, AUDIENCE]), ("with-empty", [AUDIENCE, ""])):
        s.add(f"aud-array-{name}", 3, f"aud is an array that has the audience: {name}", OK, token(aud=value))
    for name, value in (("without", ["x", "y"]), ("empty", []), ("of-empty", [""]), ("near", [AUDIENCE + "/"]), ("nested", [[AUDIENCE]]),
                        ("with-number", [AUDIENCE, 1]), ("with-null", [AUDIENCE, None]), ("with-bool", [True, AUDIENCE]),
                        ("with-array", [AUDIENCE, []]), ("with-object", [AUDIENCE, {}]), ("object-keys", {AUDIENCE: 1})):
        s.add(f"aud-array-{name}", 3, f"aud is refused whole: {name}", INVALID, token(aud=value))


def required(s: Suite) -> None:
    for claim in ("jti", "sub", "sid", "root_sid", "client_id"):
        slug = claim.replace("_", "-")
        wrong_types(s, claim, 3, INVALID, {**NOT_STRINGS, **EMPTY})
        s.add(f"{slug}-absent", 3, f"No {claim}", INVALID, token(**{claim: ABSENT}))
        s.add(f"{slug}-space", 3, f"{claim} is a space, which is not empty", OK, token(**{claim: " "}))
        s.add(f"{slug}-other-case", 3, f"{claim} under a name in upper case", INVALID,
              token(**{claim: ABSENT, claim.upper(): "x"}))
    s.add("sub-unicode", 3, "sub with letters of other scripts", OK, token(sub="Jos\u00e9 \u738b \U0001f600"))
    s.add("sub-nul", 3, "sub with U+0000 and other control characters", OK, token(sub="a\0b\x1f\x7f"))
    s.add("sub-long", 3, "sub of 2000 characters", OK, token(sub="s" * 2000))
    s.add("same-ids", 3, "sid and root_sid may be the same", OK, token(sid="s", root_sid="s", jti="s"))


def use_and_type(s: Suite) -> None:
    wrong_types(s, "use", 3, INVALID, {**NOT_STRINGS, **EMPTY, "array-of-resource": ["resource"]})
    s.add("use-absent", 3, "No use", INVALID, token(use=ABSENT))
    for value in ("session", "gateway", "Resource", "resource ", "access", "refresh"):
        s.add(f"use-{value.strip().lower()}{'-upper' if value[0] == 'R' else ''}{'-space' if value[-1] == ' ' else ''}", 3,
              f"use is {value!r} where resource is required", INVALID, token(use=value))
    for config, value, want in (("session-use", "session", OK), ("session-use", "resource", INVALID),
                                ("session-use", "gateway", INVALID), ("resource-use", "resource", OK),
                                ("resource-use", "session", INVALID), ("resource-use", "gateway", INVALID)):
        s.add(f"{config}-{value}", 3, f"use is {value}, the configuration names its required_use", want, token(use=value), config=config)
    wrong_types(s, "sub_type", 3, INVALID, {**NOT_STRINGS, **EMPTY})
    s.add("sub-type-absent", 3, "No sub_type", INVALID, token(sub_type=ABSENT))
    s.add("sub-type-user", 3, "sub_type is user", OK, token(sub_type="user"))
    s.add("sub-type-application", 3, "sub_type is application", OK, token(sub_type="application"))
    for value in ("agent", "User", "service", "user "):
        s.add(f"sub-type-{value.strip()}{'-space' if value[-1] == ' ' else ''}", 3, f"sub_type is {value!r}", INVALID, token(sub_type=value))


def scope(s: Suite) -> None:
    wrong_types(s, "scope", 3, INVALID, {**NOT_STRINGS, "array-of-scope": ["read"]})
    s.add("scope-absent", 3, "scope is optional", OK, token(scope=ABSENT))
    s.add("scope-empty", 11, "An empty scope is refused, late", INVALID, token(scope=""))
    s.add("scope-space", 11, "A scope of one space is not empty", OK, token(scope=" "))
    s.add("scope-odd", 3, "A scope of odd characters", OK, token(scope='a"b\\c \u00fc\ud83d\ude00 \t x'))
    s.add("scope-type-before-zone", 3, "The type of scope comes before the zone", INVALID, token(scope=None, zone_id="zone-2"))


def zone(s: Suite) -> None:
    wrong_types(s, "zone_id", 4, ZONE_ERROR, {**NOT_STRINGS, **EMPTY, "array-of-zone": [ZONE]})
    s.add("zone-id-absent", 4, "No zone_id", ZONE_ERROR, token(zone_id=ABSENT))
    for name, value in (("other", "zone-2"), ("upper", ZONE.upper()), ("space", ZONE + " "), ("prefix", ZONE[:-1]), ("longer", ZONE + "0"), ("nul", ZONE + "\0")):
        s.add(f"zone-id-{name}", 4, f"zone_id is another zone: {name}", ZONE_ERROR, token(zone_id=value))
    s.add("zone-id-escaped", 4, "zone_id written with escapes", OK, token(zone_id=Raw('"\\u007aone-1"')))


def unknown(s: Suite) -> None:
    s.add("unknown-claims", 3, "Unknown claims are ignored", OK,
          token(act={"sub": "x"}, amr=["pwd"], azp=1, nonce=None, auth_time=-1, may_act={"a": Raw("-0")}))
    s.add("minimal", 3, "Nothing but the required claims", OK, token(scope=ABSENT))
    s.add("complete", 3, "Every claim that there is", OK, token(
        nbf=CLAIMS["iat"], target=["res-1"], agent_session_id="as-1", delegation_edge_id="de-1", source_session_id="as-0",
        target_session_id="as-1", delegation_path=["de-0", "de-1"], hop_count=1, delegation_graph_epoch=7,
        delegation_chain=[{"application_id": "app-a", "agent_session_id": "as-0", "delegation_edge_id": "de-0"},
                          {"application_id": "app-b"}]))
    for name in ("sub", "exp", "iss", "zone_id"):
        s.add(f"only-nested-{name.replace('_', '-')}", 4 if name == "zone_id" else 3, f"{name} only inside another object",
              ZONE_ERROR if name == "zone_id" else INVALID, token(**{name: ABSENT}, claims={name: CLAIMS[name]}))


def suite() -> Suite:
    s = Suite("claims")
    for part in (issuer, audience, required, use_and_type, scope, zone, unknown):
        part(s)
    return s
