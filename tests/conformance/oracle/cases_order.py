"""The first failing row decides: one failure of every row, combined in pairs."""

from keys import ABSENT, OTHER
from mint import NOW, token
from model import (BAD_PATH, CHAIN, DELEGATION, HOPS, INVALID, MISSING, OK, SCOPE, SESSION, UNAVAILABLE, ZONE, Suite)

# A mandate that the configuration `all` admits ...
GOOD = {
    "scope": "read pay", "target": ["res-1"], "agent_session_id": "as-1", "delegation_edge_id": "de-1",
    "delegation_chain": [{"application_id": "app-a"}], "hop_count": 3,
}

# ... and for each row, what makes it fail exactly there. Where a row checks several claims, one that no
# other entry uses is taken, so that any two can be combined.
FAILURES = {
    "3-expired": (3, {"exp": NOW - 60}, INVALID),
    "3-use": (3, {"use": "gateway"}, INVALID),
    "4-zone": (4, {"zone_id": "zone-2"}, ZONE),
    "5-scope": (5, {"scope": "read"}, SCOPE),
    "6-edge-shape": (6, {"delegation_edge_id": 1}, INVALID),
    "7-session": (7, {"agent_session_id": ABSENT}, SESSION),
    "8-delegation": (8, {"delegation_edge_id": ABSENT}, DELEGATION),
    "9-chain": (9, {"delegation_chain": []}, CHAIN),
    "10-hops": (10, {"hop_count": 4}, HOPS),
    "10-hops-type": (10, {"hop_count": "4"}, INVALID),
    "11-target": (11, {"target": ["res-2"]}, INVALID),
    "11-path-shape": (11, {"delegation_path": [1]}, INVALID),
    "12-late-expiry": (12, {"exp": NOW - 30}, INVALID),
}


def pairs(s: Suite) -> None:
    s.add("none", 12, "Nothing fails", OK, token(**GOOD), config="all")
    names = list(FAILURES)
    for name in names:
        row, claims, want = FAILURES[name]
        s.add(name, row, f"Only {name[name.index('-') + 1:]} fails, at row {row}", want, token(**{**GOOD, **claims}), config="all")
    for place, first in enumerate(names):
        for second in names[place + 1:]:
            (row, one, want), (later, two, other) = FAILURES[first], FAILURES[second]
            if set(one) & set(two) or row == later or want == other == INVALID:
                continue  # cannot be combined, or nobody could tell which decided
            s.add(f"{first}-and-{second}", row, f"Rows {row} and {later} fail: row {row} decides", want,
                  token(**{**GOOD, **two, **one}), config="all")


def shapes_before(s: Suite) -> None:
    """Row 6 has three shapes only; all others wait for row 11."""
    for claim in ("agent_session_id", "delegation_edge_id", "delegation_chain"):
        s.add(f"shape-{claim.replace('_', '-')}-before-session", 6, f"The shape of {claim} comes before row 7", INVALID,
              token(**{**GOOD, "agent_session_id": ABSENT, claim: 1}), config="all")
        s.add(f"shape-{claim.replace('_', '-')}-after-scope", 5, f"The shape of {claim} comes after row 5", SCOPE,
              token(**{**GOOD, "scope": "read", claim: 1}), config="all")
    for claim in ("delegation_path", "delegation_graph_epoch", "target", "source_session_id", "target_session_id"):
        slug = claim.replace("_", "-")
        bad = [1] if claim == "delegation_graph_epoch" else True
        s.add(f"shape-{slug}-after-session", 7, f"The shape of {claim} comes after row 7", SESSION,
              token(**{**GOOD, "agent_session_id": ABSENT, claim: bad}), config="all")
        s.add(f"shape-{slug}-after-hops", 10, f"The shape of {claim} comes after row 10", HOPS,
              token(**{**GOOD, "hop_count": 4, claim: bad}), config="all")
    s.add("empty-scope-after-chain", 9, "An empty scope comes after row 9", CHAIN, token(scope=""), config="chain")
    s.add("empty-scope-after-hops", 10, "An empty scope comes after row 10", HOPS, token(scope="", hop_count=11))
    s.add("everything-wrong", 4, "Every row from 4 on fails", ZONE,
          token(zone_id="zone-2", scope="", agent_session_id=1, hop_count="x", target=1, exp=NOW - 30), config="all")


def before_the_token(s: Suite) -> None:
    excluded = {"config": "routes", "path": "/health/live"}
    s.add("excluded-no-token", 1, "An excluded path needs no mandate", OK, **excluded)
    s.add("excluded-bad-token", 1, "An excluded path looks at no mandate", OK, "x.y.z", **excluded)
    s.add("excluded-expired", 1, "An excluded path looks at no mandate, expired", OK, token(exp=1), **excluded)
    s.add("excluded-two-authorization", 1, "An excluded path looks at no Authorization, however often", OK,
          authorization=["Bearer a", "Bearer b"], **excluded)
    s.add("excluded-no-key-set", 1, "An excluded path needs no key set", OK, key_set="status-500", **excluded)
    s.add("bad-path-no-token", 0, "A path that cannot be matched comes before the mandate", BAD_PATH, path="/a%zz",
          stricter="path-readings")
    s.add("bad-path-bad-token", 0, "A path that cannot be matched, and a broken mandate", BAD_PATH, "x.y.z", path="/a%zz",
          stricter="path-readings")
    s.add("bad-path-no-key-set", 0, "A path that cannot be matched needs no key set", BAD_PATH, token(), path="/a%zz",
          key_set="status-500", stricter="path-readings")
    s.add("bad-path-excluded", 0, "A path that cannot be matched, under an excluded prefix", BAD_PATH, path="/health/%zz",
          config="routes", stricter="path-readings")
    s.add("no-token-no-key-set", 2, "No mandate, and no key set", MISSING, key_set="status-500")
    s.add("basic-no-key-set", 2, "Another scheme, and no key set", MISSING, authorization=["Basic dTpw"], key_set="status-500")
    s.add("two-authorization-no-key-set", 2, "Two mandates, and no key set", INVALID,
          authorization=["Bearer " + token()] * 2, key_set="status-500", stricter="dependency-last")
    expired = token(exp=1)
    s.add("expired-no-key-set", "-", "Expired, and no key set: an unverified claim decides nothing", UNAVAILABLE, expired,
          key_set="status-500", stricter="key-set-unavailable")
    s.add("zone-no-key-set", "-", "Another zone, and no key set: an unverified claim decides nothing", UNAVAILABLE,
          token(zone_id="zone-2"), key_set="status-500", stricter="key-set-unavailable")
    s.add("forged-zone", 3, "Another zone, signed by another key: an unverified claim decides nothing", INVALID,
          token(zone_id="zone-2", _key=OTHER))
    s.add("forged-scope", 3, "A scope missing, signed by another key", INVALID, token(_key=OTHER), config="scope-pay")
    s.add("forged-session", 3, "A session missing, signed by another key", INVALID, token(_key=OTHER), config="session")
    s.add("unknown-kid-zone", 3, "Another zone under an unknown kid", INVALID, token({"kid": "k9"}, zone_id="zone-2"))


def suite() -> Suite:
    s = Suite("order")
    pairs(s)
    shapes_before(s)
    before_the_token(s)
    return s
