"""Rows 12 and 13: what is revoked, and delegation epochs. Every case meets the same revocation state."""

from keys import ABSENT, OTHER
from mint import NOW, ZONE, token
from model import DELEGATION, INVALID, OK, REVOKED, SCOPE, STALE, Suite
from model import ZONE as WRONG_ZONE

LONG = "long-" + "x" * 1500
STATE = {
    "anchors": ["gone-1", "gone-2", "Gone-Case", "gone-\u00e9", "gone space", LONG],
    "epochs": {ZONE: 7, "zone-2": 1000},
}
ANCHORS = ("sid", "root_sid", "agent_session_id", "delegation_edge_id")


def anchors(s: Suite) -> None:
    for claim in ANCHORS:
        slug = claim.replace("_", "-")
        for gone in ("gone-1", "gone-2", "gone-\u00e9", "gone space", LONG):
            name = "long" if gone == LONG else gone.replace("\u00e9", "e-acute").replace(" ", "-")
            s.add(f"{slug}-{name}", 12, f"{claim} is revoked", REVOKED, token(**{claim: gone}))
        for other in ("gone-3", "gone-1 ", " gone-1", "GONE-1", "gone-case", "gone-", "gone-11", "gone-e\u0301",
                      "gone\u00a0space", "gone-1\u0000", LONG + "x", LONG[:-1]):
            s.add(f"{slug}-not-{len(s.cases)}", 12, f"{claim} is {ascii(other)[:30]}, which is not revoked", OK,
                  token(**{claim: other}))
        for second in ANCHORS:
            if second > claim:
                s.add(f"{slug}-and-{second.replace('_', '-')}", 12, f"{claim} and {second} are revoked", REVOKED,
                      token(**{claim: "gone-1", second: "gone-2"}))
    for claim in ("agent_session_id", "delegation_edge_id"):
        for name, value in (("empty", ""), ("null", None), ("absent", ABSENT)):
            s.add(f"{claim.replace('_', '-')}-{name}", 12, f"{claim} is {name}", OK, token(**{claim: value}))
    for claim in ("source_session_id", "target_session_id", "jti", "sub", "client_id"):
        s.add(f"no-anchor-{claim.replace('_', '-')}", 12, f"{claim} is no anchor", OK, token(**{claim: "gone-1"}))
    chain = [{"application_id": "gone-1", "agent_session_id": "gone-1", "delegation_edge_id": "gone-2"}]
    s.add("no-anchor-chain", 12, "The ids of the chain are no anchors", OK, token(delegation_chain=chain))
    s.add("no-anchor-path", 12, "The delegation path holds no anchors", OK, token(delegation_path=["gone-1"]))


def epochs(s: Suite) -> None:
    for value, want in ((0, STALE), (1, STALE), (6, STALE), (7, OK), (8, OK), (2**63 - 1, OK)):
        s.add(f"epoch-{value}", 13, f"The mandate's epoch is {value}, the zone's 7", want, token(delegation_graph_epoch=value))
    for name, value in (("absent", ABSENT), ("null", None)):
        s.add(f"epoch-{name}", 13, f"The mandate's epoch is {name}", OK, token(delegation_graph_epoch=value))


def order(s: Suite) -> None:
    gone = {"sid": "gone-1", "delegation_graph_epoch": 0}
    s.add("revoked-and-stale", 12, "Row 12 comes before row 13", REVOKED, token(**gone))
    s.add("revoked-and-late", 12, "Expired within the leeway comes before revoked", INVALID, token(exp=NOW - 30, **gone))
    s.add("stale-and-late", 12, "Expired within the leeway comes before stale", INVALID,
          token(exp=NOW - 30, delegation_graph_epoch=0))
    s.add("revoked-and-expired", 3, "Row 3 comes before row 12", INVALID, token(exp=1, **gone))
    s.add("revoked-and-forged", 3, "An unverified claim decides nothing", INVALID, token(_key=OTHER, **gone))
    s.add("revoked-and-zone", 4, "Row 4 comes before row 12", WRONG_ZONE, token(zone_id="zone-2", **gone))
    s.add("revoked-and-scope", 5, "Row 5 comes before row 12", SCOPE, token(**gone), config="scope-pay")
    s.add("revoked-and-delegation", 8, "Row 8 comes before row 12", DELEGATION, token(**gone), config="delegation")
    s.add("revoked-and-target", 11, "Row 11 comes before row 12", INVALID, token(target=["other"], **gone), config="targets")
    s.add("revoked-and-epoch-type", 11, "The shape of the epoch comes before row 12", INVALID,
          token(sid="gone-1", delegation_graph_epoch="7"))
    s.add("revoked-and-excluded", 1, "An excluded path looks at no mandate", OK, token(**gone), config="routes",
          path="/health/live")
    s.add("revoked-on-a-route", 12, "Revoked, on a route that asks for nothing", REVOKED, token(**gone), config="routes",
          path="/reports/1")
    s.add("good", 13, "Nothing of it is revoked", OK, token(delegation_graph_epoch=7, agent_session_id="as-1"))


def suite() -> Suite:
    s = Suite("revocation")
    for part in (anchors, epochs, order):
        part(s)
    return s
