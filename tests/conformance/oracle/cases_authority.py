"""Rows 5 to 11: scopes, session, delegation, chain, hops, targets, and the shapes beside them."""

import json

from keys import ABSENT
from mint import Raw, token
from model import CHAIN, DELEGATION, HOPS, INVALID, OK, SCOPE, SESSION, Suite

NOT_OPTIONAL_STRINGS = {
    "true": True, "false": False, "zero": 0, "one": 1, "fraction": Raw("1.5"), "array": [], "array-of-string": ["x"],
    "object": {}, "object-with-member": {"x": "x"},
}
NOT_ARRAYS = {"true": True, "false": False, "zero": 0, "one": 1, "fraction": Raw("0.5"), "empty-string": "", "string": "x",
              "object": {}, "object-with-member": {"0": "x"}}
MAX = 2**63 - 1


def text(value) -> str:
    return value if isinstance(value, Raw) else json.dumps(value)


def scopes(s: Suite) -> None:
    def scope(id, about, value, want, config="scope-pay", **rest):
        s.add(f"scope-{id}", 5, about, want, token(scope=value), config=config, **rest)

    scope("only", "The one required scope", "pay", OK)
    scope("among", "The required scope among others", "read pay write", OK)
    scope("last", "The required scope at the end", "read pay", OK)
    scope("twice", "The required scope twice", "pay pay", OK)
    scope("spaces", "More spaces than needed", "  read   pay  ", OK)
    scope("other", "Another scope", "read", SCOPE)
    scope("prefix", "A longer scope is another", "payout", SCOPE)
    scope("suffix", "A scope that ends with the required one", "prepay", SCOPE)
    scope("dotted", "A scope with a part of the same name", "pay.read pay:write", SCOPE)
    scope("comma", "A comma separates nothing", "read,pay", SCOPE)
    scope("semicolon", "A semicolon separates nothing", "read;pay", SCOPE)
    scope("plus", "A plus sign separates nothing", "read+pay", SCOPE)
    scope("case", "Case matters", "Pay PAY", SCOPE)
    scope("wildcard", "A star is no wildcard", "*", SCOPE)
    scope("quoted", "Quotes belong to the scope", '"pay"', SCOPE)
    scope("one-space", "A space is no scope", " ", SCOPE)
    scope("empty", "An empty scope has no scope: row 5 comes before row 11", "", SCOPE)
    scope("absent", "No scope claim has no scope", ABSENT, SCOPE)
    scope("null", "scope is null: row 3 comes before row 5", None, INVALID)
    scope("array", "scope is an array: row 3 comes before row 5", ["pay"], INVALID)
    for name, separator in (("tab", "\t"), ("newline", "\n"), ("carriage-return", "\r"), ("vt", "\v"), ("ff", "\f"), ("nel", "\x85"),
                            ("nbsp", "\xa0"), ("unit-separator", "\x1f"), ("em-space", "\u2003"), ("line-separator", "\u2028"),
                            ("ideographic", "\u3000")):
        scope(f"by-{name}", f"Scopes separated by {name} only", f"read{separator}pay", SCOPE, stricter="scope-separator")
    for name, separator in (("zero-width-space", "\u200b"), ("bom", "\ufeff"), ("nul", "\0")):
        scope(f"by-{name}", f"Scopes separated by {name}, which is no white space for anyone", f"read{separator}pay", SCOPE)
    scope("tab-beside", "A tab after the required scope makes it another", "pay\t read", SCOPE, stricter="scope-separator")
    scope("both-tab-space", "The required scope stands alone once", "read\tx pay", OK)
    scope("two", "Both required scopes", "pay read", OK, config="scopes")
    scope("two-first", "Only the first of two required scopes", "read", SCOPE, config="scopes")
    scope("two-second", "Only the second of two required scopes", "pay", SCOPE, config="scopes")
    scope("configured-case", "A required scope in another case", "pay", SCOPE, config="scope-case")
    scope("configured-case-good", "A required scope with an upper-case letter", "Pay", OK, config="scope-case")
    scope("unicode", "A required scope with a letter beyond ASCII", "zahlung:\u00fc", OK, config="scope-unicode")
    scope("unicode-decomposed", "The same letter, decomposed, is another", "zahlung:u\u0308", SCOPE, config="scope-unicode")


def anchors(s: Suite) -> None:
    """The optional strings: two at row 6, two at row 11."""
    for claim, row in (("agent_session_id", 6), ("delegation_edge_id", 6), ("source_session_id", 11), ("target_session_id", 11)):
        slug = claim.replace("_", "-")
        for name, value in NOT_OPTIONAL_STRINGS.items():
            s.add(f"{slug}-{name}", row, f"{claim} is {text(value)}", INVALID, token(**{claim: value}))
        for name, value in (("absent", ABSENT), ("null", None), ("empty", ""), ("space", " "), ("good", "id-1")):
            s.add(f"{slug}-{name}", row, f"{claim} may be {name}", OK, token(**{claim: value}))
    for claim, config, error in (("agent_session_id", "session", SESSION), ("delegation_edge_id", "delegation", DELEGATION)):
        row = 7 if config == "session" else 8
        for name, value, want in (("absent", ABSENT, error), ("null", None, error), ("empty", "", error), ("space", " ", OK), ("good", "id-1", OK)):
            s.add(f"require-{config}-{name}", row, f"{config} is required, {claim} is {name}", want, token(**{claim: value}), config=config)
        s.add(f"require-{config}-wrong-type", 6, f"{config} is required, {claim} is a number", INVALID, token(**{claim: 1}), config=config)
    s.add("require-session-other-claims", 7, "Other session claims are no agent session", SESSION,
          token(source_session_id="a", target_session_id="b", session_id="c"), config="session")
    s.add("require-session-in-chain", 7, "A session inside the chain is none of the mandate's", SESSION,
          token(delegation_chain=[{"application_id": "a", "agent_session_id": "as-1"}]), config="session")
    s.add("require-delegation-path", 8, "delegation_path does not stand for an edge", DELEGATION,
          token(delegation_path=["de-1"], delegation_graph_epoch=1), config="delegation")
    s.add("require-delegation-in-chain", 8, "An edge inside the chain is none of the mandate's", DELEGATION,
          token(delegation_chain=[{"application_id": "a", "delegation_edge_id": "de-1"}]), config="delegation")


def hop(*names, **members) -> list:
    return [{"application_id": name, **members} for name in names]


def chains(s: Suite) -> None:
    for name, value in NOT_ARRAYS.items():
        s.add(f"chain-{name}", 6, f"delegation_chain is {text(value)}", INVALID, token(delegation_chain=value))
    for name, value in (("null", None), ("string", "app-a"), ("number", 1), ("bool", True), ("array", []), ("array-in-array", hop("app-a"))):
        s.add(f"chain-of-{name}", 6, f"delegation_chain holds {text(value)}", INVALID, token(delegation_chain=[value]))
        s.add(f"chain-ends-with-{name}", 6, f"delegation_chain holds a hop and {text(value)}", INVALID,
              token(delegation_chain=hop("app-a") + [value]))
    for name, value in (("absent", ABSENT), ("null", None), ("empty", ""), ("number", 1), ("bool", False), ("array", ["app-a"]), ("object", {})):
        made = {} if value is ABSENT else {"application_id": value}
        s.add(f"hop-application-{name}", 6, f"application_id of a hop is {name}", INVALID, token(delegation_chain=[made]))
    for member in ("agent_session_id", "delegation_edge_id"):
        slug = member.replace("_", "-")
        for name, value in NOT_OPTIONAL_STRINGS.items():
            s.add(f"hop-{slug}-{name}", 6, f"{member} of a hop is {text(value)}", INVALID, token(delegation_chain=hop("app-a", **{member: value})))
        for name, value in (("null", None), ("empty", ""), ("good", "id-1")):
            s.add(f"hop-{slug}-{name}", 6, f"{member} of a hop may be {name}", OK, token(delegation_chain=hop("app-a", **{member: value})))
    s.add("hop-unknown", 6, "Unknown members of a hop are ignored", OK,
          token(delegation_chain=hop("app-a", scope=None, hop_count=-1, exp="x", note={"a": [Raw("1e400"), Raw("-0")]})))
    s.add("hop-second-bad", 6, "The second hop is malformed", INVALID, token(delegation_chain=hop("app-a") + [{"application_id": ""}]))
    s.add("hop-good-then-bad-required", 6, "The required hop is there, another is malformed", INVALID,
          token(delegation_chain=hop("app-a") + [{}]), config="chain")

    def chain(id, about, value, want, config="chain", **claims):
        s.add(f"chain-{id}", 9, about, want, token(delegation_chain=value, **claims), config=config)

    chain("required-only", "The required application is the one hop", hop("app-a"), OK)
    chain("required-first", "The required application is the first hop", hop("app-a", "app-b"), OK)
    chain("required-last", "The required application is the last hop", hop("app-b", "app-c", "app-a"), OK)
    chain("required-missing", "The required application is no hop", hop("app-b"), CHAIN)
    chain("required-absent", "No chain", ABSENT, CHAIN)
    chain("required-null", "The chain is null", None, CHAIN)
    chain("required-empty", "The chain is empty", [], CHAIN)
    chain("required-case", "Case matters", hop("App-A"), CHAIN)
    chain("required-space", "White space matters", hop("app-a "), CHAIN)
    chain("required-client", "client_id is no hop", hop("app-b"), CHAIN, client_id="app-a")
    chain("required-client-no-chain", "client_id is no hop, and there is no chain", ABSENT, CHAIN, client_id="app-a")
    chain("required-in-path", "delegation_path is no chain", ABSENT, CHAIN, delegation_path=["app-a"])
    chain("required-other-member", "Another member of a hop is no application", hop("app-b", client_id="app-a", agent_session_id="app-a"), CHAIN)
    chain("two-both", "Both required applications", hop("app-b", "app-a"), OK, "chain-two")
    chain("two-first", "Only the first of two required applications", hop("app-a"), CHAIN, "chain-two")
    chain("two-second", "Only the second of two required applications", hop("app-b"), CHAIN, "chain-two")


def hops(s: Suite) -> None:
    def count(id, about, value, want, config="default", **rest):
        s.add(f"hops-{id}", 10, about, want, token(hop_count=value), config=config, **rest)

    for name, value in (("true", True), ("false", False), ("point-zero", Raw("1.0")), ("fraction", Raw("1.5")), ("exponent", Raw("1e0")),
                        ("minus-zero-fraction", Raw("-0.0")), ("minus-zero-exponent", Raw("-0e0")), ("huge", Raw("1e400")),
                        ("large-exponent", Raw("1e3")), ("empty", ""), ("string", "1"), ("array", []), ("array-of-number", [1]),
                        ("object", {})):
        count(f"type-{name}", f"hop_count is {text(value)}", value, INVALID)
    count("absent", "An absent hop_count counts as 0", ABSENT, OK)
    count("null", "null is absent", None, OK)
    count("zero", "0 hops", 0, OK)
    count("default", "10 hops, the default limit", 10, OK)
    count("default-more-1", "11 hops", 11, HOPS)
    count("max", "2^63-1 hops", MAX, HOPS)
    count("2-63", "2^63 hops", MAX + 1, INVALID, stricter="integer")
    count("2-64", "2^64 hops, which is 0 in 64 bits", 2**64, INVALID, stricter="integer")
    count("minus-1", "-1 hops", -1, INVALID)
    count("minus-2-63", "-2^63 hops", -(2**63), INVALID)
    count("minus-30-digits", "A negative number of 30 digits", -(10**29), INVALID)
    count("minus-zero", "0 written -0", Raw("-0"), INVALID, stricter="integer")
    for config, at in (("hops-1", 1), ("hops-20", 20)):
        count(f"{config}-at", f"{at} hops where {at} are allowed", at, OK, config)
        count(f"{config}-over", f"{at + 1} hops where {at} are allowed", at + 1, HOPS, config)
        count(f"{config}-absent", f"hop_count absent where {at} are allowed", ABSENT, OK, config)
    count("none-zero", "0 hops where none is allowed", 0, OK, "hops-0")
    count("none-absent", "hop_count absent where none is allowed", ABSENT, OK, "hops-0")
    count("none-one", "1 hop where none is allowed", 1, HOPS, "hops-0", stricter="no-hop")
    count("none-ten", "10 hops where none is allowed", 10, HOPS, "hops-0", stricter="no-hop")
    count("none-eleven", "11 hops where none is allowed", 11, HOPS, "hops-0")
    s.add("hops-chain-longer", 10, "The chain's length is not the hop count", OK, token(hop_count=0, delegation_chain=hop("a", "b", "c")), config="hops-0")
    s.add("hops-negative-scope", 3, "hop_count -1 and a scope missing: the range of an integer is row 3", INVALID,
          token(hop_count=-1), config="scope-pay", stricter="integer")
    s.add("hops-negative-zone", 3, "hop_count -1 and another zone: the range of an integer is row 3", INVALID,
          token(hop_count=-1, zone_id="zone-2"), stricter="integer")
    s.add("hops-type-scope", 5, "hop_count 1.0 and a scope missing: its type is row 10", SCOPE, token(hop_count=Raw("1.0")), config="scope-pay")


def lists(s: Suite) -> None:
    """The shapes of row 11, and the targets."""
    for claim in ("target", "delegation_path"):
        slug = claim.replace("_", "-")
        for name, value in NOT_ARRAYS.items():
            s.add(f"{slug}-{name}", 11, f"{claim} is {text(value)}", INVALID, token(**{claim: value}))
        for name, value in (("null", None), ("empty", ""), ("number", 1), ("bool", True), ("array", ["x"]), ("object", {})):
            s.add(f"{slug}-of-{name}", 11, f"{claim} holds {text(value)}", INVALID, token(**{claim: [value]}))
            s.add(f"{slug}-ends-with-{name}", 11, f"{claim} holds a string and {text(value)}", INVALID, token(**{claim: ["x", value]}))
        for name, value in (("absent", ABSENT), ("null", None), ("empty", []), ("good", ["x"]), ("twice", ["x", "x"]), ("space", [" "])):
            s.add(f"{slug}-{name}-fine" if name == "null" else f"{slug}-{name}", 11, f"{claim} may be {name}", OK, token(**{claim: value}))

    def target(id, about, value, want, config="target"):
        s.add(f"targets-{id}", 11, about, want, token(target=value), config=config)

    target("only", "The one required target", ["res-1"], OK)
    target("among", "The required target among others", ["res-0", "res-1", "res-2"], OK)
    target("missing", "Another target", ["res-2"], INVALID)
    target("absent", "No target claim", ABSENT, INVALID)
    target("null", "target is null", None, INVALID)
    target("none", "No targets", [], INVALID)
    target("string", "target is the required string, not an array", "res-1", INVALID)
    target("case", "Case matters", ["Res-1"], INVALID)
    target("prefix", "A longer target is another", ["res-1/x", "res-10"], INVALID)
    target("beside-bad", "The required target beside a malformed one", ["res-1", ""], INVALID)
    target("two-both", "Both required targets", ["res-2", "res-1"], OK, "targets")
    target("two-first", "Only the first of two", ["res-1"], INVALID, "targets")
    target("two-second", "Only the second of two", ["res-2"], INVALID, "targets")
    target("not-required", "Targets that nobody requires", ["res-9"], OK, "default")


def epochs(s: Suite) -> None:
    def epoch(id, about, value, want, row=11, **rest):
        s.add(f"epoch-{id}", row, about, want, token(delegation_graph_epoch=value), **rest)

    for name, value in (("true", True), ("false", False), ("point-zero", Raw("1.0")), ("exponent", Raw("1e3")), ("fraction", Raw("0.5")),
                        ("minus-zero-fraction", Raw("-0.0")), ("huge", Raw("1e400")), ("empty", ""), ("string", "7"), ("array", []), ("array-of-number", [7]), ("object", {})):
        epoch(f"type-{name}", f"delegation_graph_epoch is {text(value)}", value, INVALID)
    for name, value in (("absent", ABSENT), ("null", None), ("zero", 0), ("one", 1), ("max", MAX)):
        epoch(name, f"delegation_graph_epoch may be {name}", value, OK)
    epoch("minus-1", "The epoch -1", -1, INVALID, 3)
    epoch("minus-zero", "The epoch 0 written -0", Raw("-0"), INVALID, 3, stricter="integer")
    epoch("2-63", "The epoch 2^63", MAX + 1, INVALID, 3, stricter="integer")
    epoch("2-64", "The epoch 2^64", 2**64, INVALID, 3, stricter="integer")
    s.add("epoch-negative-scope", 3, "The epoch -1 and a scope missing: the range of an integer is row 3", INVALID,
          token(delegation_graph_epoch=-1), config="scope-pay", stricter="integer")
    s.add("epoch-type-scope", 5, "The epoch as a string and a scope missing: its type is row 11", SCOPE,
          token(delegation_graph_epoch="7"), config="scope-pay")


def suite() -> Suite:
    s = Suite("authority")
    for part in (scopes, anchors, chains, hops, lists, epochs):
        part(s)
    return s
