"""Rows 0 and 1, and which requirements a path gets.

The configuration `routes` wants the scope `read`; `pay` under /payouts; `admin` and a session under
/payouts/admin; nothing under /reports; `read` under /empty; and excludes /health and /payouts/public.
"""

from mint import token
from model import (BAD_PATH, CHAIN, DELEGATION, HOPS, INVALID, MISSING, OK, SCOPE, SESSION, Suite)

READ = token(scope="read")
PAY = token(scope="pay")
ADMIN = token(scope="admin")


def prefixes(s: Suite) -> None:
    def at(id, path, text, want, row=5, config="routes", **rest):
        s.add(id, row, f"{path} with {dict(((READ, 'read'), (PAY, 'pay'), (ADMIN, 'admin'), (None, 'no mandate'))).get(text, 'a mandate')}",
              want, text, path=path, config=config, **rest)

    at("default", "/", READ, OK)
    at("default-missing", "/", PAY, SCOPE)
    at("default-other", "/other/path", READ, OK)
    at("exact", "/payouts", PAY, OK)
    at("exact-replaces", "/payouts", READ, SCOPE)
    at("below", "/payouts/1", PAY, OK)
    at("below-replaces", "/payouts/1", READ, SCOPE)
    at("slash", "/payouts/", PAY, OK)
    at("slash-replaces", "/payouts/", READ, SCOPE)
    at("longer-name", "/payoutsx", READ, OK)
    at("longer-name-not-route", "/payoutsx", PAY, SCOPE)
    at("longer-name-below", "/payouts-admin/admin", READ, OK)
    at("hyphen-name", "/payouts-2026", READ, OK)
    at("dotted-below", "/payouts/1.json", PAY, OK)
    at("dotted-other", "/other.json", READ, OK)
    at("prefix-inside", "/v1/payouts", READ, OK)
    at("case", "/Payouts", READ, OK)
    at("case-not-route", "/PAYOUTS", PAY, SCOPE)
    at("query", "/payouts?x=1", PAY, OK)
    at("query-replaces", "/payouts?x=1", READ, SCOPE)
    at("query-path", "/other?p=/payouts/../health", READ, OK)
    at("query-odd", "/other?%zz;a\\b//../%00", READ, OK)
    at("query-empty", "/payouts?", READ, SCOPE)
    at("query-two-marks", "/payouts?a?b", PAY, OK)
    at("query-slash", "/?/payouts", READ, OK)
    at("longest", "/payouts/admin", PAY, SCOPE)
    at("longest-session", "/payouts/admin", ADMIN, SESSION, 7)
    at("longest-below", "/payouts/admin/x", ADMIN, SESSION, 7)
    at("longest-all", "/payouts/admin", token(scope="admin", agent_session_id="as-1"), OK)
    at("longest-longer-name", "/payouts/administrator", PAY, OK)
    at("configured-slash", "/reports", PAY, OK)
    at("configured-slash-with", "/reports/", PAY, OK)
    at("configured-slash-below", "/reports/2026", PAY, OK)
    at("configured-slash-longer-name", "/reportsx", PAY, SCOPE)
    at("reports-still-verified", "/reports", None, MISSING, 2)
    at("empty-override", "/empty", READ, OK)
    at("empty-override-missing", "/empty", PAY, SCOPE)
    for path in ("/health", "/health/live", "/health?x", "/payouts/public", "/payouts/public/a/b"):
        at("excluded" + path.replace("/", "-").replace("?", "-query-"), path, None, OK, 1)
    for path in ("/healthz", "/health-check", "/Health", "/healt", "/payouts/publicity", "/v1/health", "/payouts/Public"):
        at("not-excluded" + path.replace("/", "-") + ("-upper" if path != path.lower() else ""), path, None, MISSING, 2)
    at("excluded-health-slash", "/health/", None, OK, 1)
    at("excluded-payouts-public-slash", "/payouts/public/", None, OK, 1)
    at("exclude-wins", "/payouts/public", READ, OK, 1)
    at("root-route", "/", token(scope="root"), OK, config="routes-root")
    at("root-route-below", "/any/thing", READ, SCOPE, config="routes-root")
    at("root-route-all", "/any/thing", token(scope="root"), OK, config="routes-root")
    at("root-route-longer", "/open/x", READ, OK, config="routes-root")
    at("root-route-longer-name", "/opened", READ, SCOPE, config="routes-root")


def overrides(s: Suite) -> None:
    """Each route of `routes-all` lifts one requirement and keeps the others."""
    good = {"scope": "read pay", "target": ["res-1"], "agent_session_id": "as-1", "delegation_edge_id": "de-1",
            "delegation_chain": [{"application_id": "app-a"}], "hop_count": 3}
    lacks = {
        "/scopes": ("scope", "x", SCOPE, 5), "/targets": ("target", [], INVALID, 11), "/session": ("agent_session_id", None, SESSION, 7),
        "/delegation": ("delegation_edge_id", None, DELEGATION, 8), "/chain": ("delegation_chain", [], CHAIN, 9), "/hops": ("hop_count", 5, HOPS, 10),
    }
    for path, (claim, value, _, row) in lacks.items():
        s.add(f"lifts-{path[1:]}", row, f"The route {path} lifts its requirement", OK, token(**{**good, claim: value}), path=path, config="routes-all")
        other = "/targets" if path != "/targets" else "/scopes"
        for_claim, for_value, want, for_row = lacks[other]
        s.add(f"keeps-{path[1:]}", for_row, f"The route {path} keeps what it does not name", want,
              token(**{**good, for_claim: for_value}), path=path, config="routes-all")
        claim_, value_, want_, row_ = lacks[path]
        s.add(f"without-{path[1:]}", row_, f"Outside {path} its requirement holds", want_, token(**{**good, claim_: value_}), path="/x", config="routes-all")
    s.add("hops-route-over", 10, "The route's own limit holds", HOPS, token(**{**good, "hop_count": 6}), path="/hops", config="routes-all")
    s.add("use-route", 3, "The route wants use session", OK, token(**good, use="session"), path="/use", config="routes-all")
    s.add("use-route-resource", 3, "The route wants use session, and gets resource", INVALID, token(**good), path="/use", config="routes-all")
    s.add("use-route-outside", 3, "Outside the route, resource is wanted", INVALID, token(**good, use="session"), path="/x", config="routes-all")
    s.add("nothing-route", 3, "The route lifts every list and flag", OK, token(), path="/nothing", config="routes-all")
    s.add("nothing-route-hops", 10, "The route keeps the hop limit", HOPS, token(hop_count=4), path="/nothing", config="routes-all")
    for path, count, want, rule in (("/", 2, OK, None), ("/", 3, HOPS, None), ("/deep", 4, OK, None), ("/deep", 5, HOPS, None),
                                    ("/flat", 0, OK, None), ("/flat", 1, HOPS, "no-hop"), ("/flat/x", 2, HOPS, "no-hop")):
        s.add(f"hops{path.replace('/', '-').rstrip('-')}-{count}", 10, f"{count} hops at {path}", want, token(hop_count=count), path=path,
              config="routes-hops", stricter=rule)


# Paths that can be read in several ways, and all ways fall under /payouts.
AGREE = {
    "encoded-letter-below": "/payouts/%31", "encoded-space": "/payouts/a%20b",
    "encoded-utf8": "/payouts/%C3%BC", "encoded-slash-below": "/payouts/a%2fb", "encoded-slash-upper": "/payouts/a%2Fb",
    "encoded-percent": "/payouts/100%25", "encoded-question": "/payouts/a%3Fb", "encoded-hash": "/payouts/a%23b",
    "double-encoded-letter": "/payouts/%2541", "double-slash-below": "/payouts/a//b", "double-slash-end": "/payouts/a//",
    "double-slash-after": "/payouts//a", "dot-segment-below": "/payouts/./a", "dot-segment-end": "/payouts/.",
    "parent-below": "/payouts/a/../b", "encoded-parent-below": "/payouts/a/%2e%2e/b", "three-dots": "/payouts/.../a",
    "dot-file": "/payouts/.well-known", "two-dots-name": "/payouts/..a", "parameters-below": "/payouts/a;v=1",
    "parameters-two": "/payouts/a;v=1;w=2/b;x", "encoded-semicolon": "/payouts/a%3bb", "backslash-below": "/payouts/a\\b",
    "encoded-backslash-below": "/payouts/a%5cb", "plus": "/payouts/a+b", "sub-delims": "/payouts/a!$&'()*,=:@~_-",
    "encoded-control": "/payouts/a%0ab", "long": "/payouts/" + "a/" * 1000, "encoded-noncharacter": "/payouts/%EF%BF%BF",
    "trailing-dot-below": "/payouts/a.", "trailing-space-below": "/payouts/a%20", "double-encoded-space": "/payouts/a%2520b",
    "encoded-astral": "/payouts/%F0%9F%98%80", "full-width-below": "/payouts/%EF%BC%A1%EF%BC%8Ex", "action-below": "/payouts/1:cancel",
}

# Paths whose readings fall under different rules, or that cannot be read. 400, whatever the mandate.
DISAGREE = {
    # dot segments: out of, and into, a prefix
    "parent-out-of-exclude": "/health/../payouts", "parent-end": "/health/..", "parent-to-other": "/health/../other",
    "parent-into-exclude": "/other/../health", "parent-out-of-route": "/payouts/../other", "parent-into-route": "/other/../payouts",
    "parent-into-longer": "/payouts/x/../admin", "parent-out-of-longer": "/payouts/admin/../x", "dot-into-route": "/./payouts",
    "dot-inside-longer": "/payouts/./admin", "parent-twice": "/payouts/admin/../../health", "parent-above-root": "/../payouts",
    "parent-out-of-public": "/payouts/public/../admin",
    # the same, encoded
    "encoded-parent": "/health/%2e%2e/payouts", "encoded-parent-upper": "/health/%2E%2E/payouts", "half-encoded-parent": "/health/.%2e/payouts",
    "encoded-dot": "/%2e/payouts", "encoded-slash-parent": "/health/..%2fpayouts", "encoded-all": "/health%2f%2e%2e%2fpayouts",
    "encoded-parent-end": "/health/%2e%2e",
    # slashes
    "double-slash": "//payouts", "double-slash-health": "//health", "double-slash-longer": "/payouts//admin", "triple-slash": "///payouts/1",
    "encoded-slash": "/payouts%2fadmin", "encoded-slash-first": "/%2fpayouts", "encoded-slash-exclude": "/health%2flive",
    "double-slash-parent": "/health//../payouts", "double-slash-two-parents": "/health/x//../../payouts",
    # letters
    "encoded-route": "/%70ayouts", "encoded-exclude": "/%68ealth", "encoded-longer": "/payouts/%61dmin", "encoded-public": "/payouts/%70ublic",
    # backslashes
    "backslash": "/payouts\\admin", "backslash-first": "/\\payouts", "backslash-parent": "/health/..\\payouts", "backslash-exclude": "/health\\..\\payouts",
    "encoded-backslash": "/payouts%5cadmin", "encoded-backslash-parent": "/health/..%5cpayouts",
    # parameters
    "parameters": "/payouts;v=1", "parameters-exclude": "/health;v=1", "parameters-longer": "/payouts/admin;v=1", "parameters-parent": "/health/..;/payouts",
    "parameters-parent-value": "/health/..;x=1/payouts", "parameters-empty": "/payouts;", "parameters-middle": "/payouts;v=1/admin",
    # several readers one after the other, each with an order of its own
    "chain-dots-kept-slash": "/health/a%2fb/%2e%2e/%2e%2e/payouts", "chain-cut-then-decode": "/health/%2e%2e;%2fhealth/payouts",
    "chain-dots-twice": "/health/a%2fb/../%2e%2e/payouts", "chain-cut-then-backslash": "/health/\\..;\\health/payouts",
    # each of two readers decodes once
    "double-encoded-parent": "/health/%252e%252e/payouts", "double-encoded-slash": "/payouts%252fadmin", "triple-encoded-dot": "/health/%25252e./payouts",
    "double-encoded-backslash": "/health%255c..%255cpayouts",
    # decoded, and then parsed as a URL: delimiters end it, line breaks and trailing spaces are dropped
    "decoded-question": "/health/..%3f", "decoded-hash": "/payouts%23x", "decoded-tab": "/health/.%09./payouts", "decoded-crlf": "/health/.%0d%0a./payouts",
    "decoded-space": "/health/..%20/payouts", "double-encoded-nul": "/payouts%2500",
    # names as file systems with other rules read them
    "trailing-dot": "/payouts.", "trailing-dot-below": "/health./live", "trailing-dots": "/payouts..", "trailing-space": "/payouts%20/admin",
    # names that several frameworks cut
    "dotted-name": "/payouts.json", "dotted-name-below": "/payouts.xml/1", "dotted-exclude": "/health.json", "dotted-longer": "/payouts/admin.json",
    "dotted-public": "/payouts/public.html", "action": "/payouts:cancel", "action-encoded": "/payouts%3acancel", "matrix": "/payouts,v=1",
    "tilde": "/payouts~", "no-break-space": "/payouts%C2%A0", "letter-with-accent": "/payouts%C3%A9",
    "at": "/health@x", "plus": "/payouts+1/2", "quote": "/payouts'", "bang": "/payouts!", "encoded-letter-behind": "/payouts%41",
    # characters that some readers fold to ASCII
    "full-width-dots": "/health/%EF%BC%8E%EF%BC%8E/payouts", "full-width-slash": "/health%EF%BC%8F..%EF%BC%8Fpayouts", "full-width-letter": "/%EF%BD%90ayouts",
    "full-width-backslash": "/health/x%EF%BC%BC..%EF%BC%BC..%EF%BC%BCpayouts", "two-dot-leader": "/health/%E2%80%A5/payouts", "division-slash": "/health/..%E2%88%95payouts",
    "full-width-percent": "/health/%EF%BC%852e./payouts",
    "encoded-parameters": "/payouts%3bv=1", "parameters-dot": "/.;/payouts", "encoded-parameters-parent": "/health/..%3b/payouts",
}

UNREADABLE = {
    "bad-encoding": "%zz", "bad-encoding-short": "%4", "bad-encoding-end": "%", "bad-encoding-half": "%4z", "bad-encoding-sign": "%+1",
    "bad-encoding-iis": "%u0041", "bad-encoding-twice": "%%41", "overlong-slash": "%c0%af", "overlong-dot": "%c0%ae%c0%ae",
    "overlong-three": "%e0%80%ae", "not-utf8": "%ff", "latin1": "%fc", "cut-utf8": "%e2%82", "lone-continuation": "%80", "surrogate": "%ed%a0%80",
    "over-10ffff": "%f4%90%80%80", "nul": "%00", "nul-name": "a%00.json", "thrice-encoded": "%252541", "four-times-encoded": "%25252541",
}


def readings(s: Suite) -> None:
    for name, path in AGREE.items():
        s.add(f"agree-{name}", 5, "Every reading falls under /payouts, whose scope is there", OK, PAY, path=path, config="routes")
        if name in ("encoded-letter-below", "parameters-below", "parent-below", "double-slash-after", "encoded-slash-below"):
            s.add(f"agree-{name}-scope", 5, "Every reading falls under /payouts, whose scope is missing", SCOPE, READ, path=path, config="routes")
            s.add(f"agree-{name}-health", 1, "Every reading falls under /health, which is excluded", OK,
                  path=path.replace("/payouts", "/health"), config="routes")
            s.add(f"agree-{name}-other", 5, "Every reading falls under no rule", OK, READ, path=path.replace("/payouts", "/other"), config="routes")
    full = token(scope="read pay admin", agent_session_id="as-1")
    for name, path in DISAGREE.items():
        s.add(f"disagree-{name}", 0, "Readings of the path fall under different rules", BAD_PATH, full, path=path, config="routes", stricter="path-readings")
    for name in ("double-slash", "parent-into-route", "parameters", "backslash", "encoded-slash", "encoded-route"):
        s.add(f"no-rules-{name}", 3, "Readings differ, and there is one rule for all", OK, READ, path=DISAGREE[name])
        s.add(f"one-rule-{name}", 5, "Readings differ, and all fall under /", OK, token(scope="root"), path=DISAGREE[name], config="routes-root")
    for name, part in UNREADABLE.items():
        s.add(f"unreadable-{name}", 0, "The path cannot be decoded, or holds NUL", BAD_PATH, full, path="/payouts/" + part, config="routes", stricter="path-readings")
    for name in ("bad-encoding", "overlong-slash", "nul"):
        s.add(f"unreadable-{name}-no-rules", 0, "The path cannot be read; one rule for all does not help", BAD_PATH, full, path="/" + UNREADABLE[name], stricter="path-readings")
        s.add(f"unreadable-{name}-excluded", 0, "The path cannot be read, under an excluded prefix", BAD_PATH, path="/health/" + UNREADABLE[name],
              config="routes", stricter="path-readings")
    s.add("parameters-open", 5, "Parameters under the root route's longer neighbour", BAD_PATH, full, path="/open;x", config="routes-root", stricter="path-readings")


def suite() -> Suite:
    s = Suite("routes")
    for part in (prefixes, overrides, readings):
        part(s)
    return s
