"""Several resources on one listener, and requirements of a method.

The oracle of a request is a connector that protects the one resource that the case names, with that
resource's audience and requirements and the method's. Where no resource can be chosen, it is the
connector that the mandate is for: it admits, and the edge must not.

The configuration `resources` wants the scope `read` everywhere; PAYOUTS wants `pay` instead, on
/invoices `read` for a GET and `write` with a session for a POST, and excludes /health; REPORTS has the
audience that it is called by; LEDGER is served at ledger.test and [::1] only.
"""

from mint import AUDIENCE, token
from model import BAD_PATH, INVALID, MISSING, OK, SCOPE, SESSION, UNAVAILABLE, Suite

PAYOUTS = "resource://payouts"
REPORTS = "https://reports.example.test"
LEDGER = "resource://ledger"
OF = {PAYOUTS: token(scope="pay"), REPORTS: token(aud=REPORTS), LEDGER: token(aud=LEDGER)}
NAME = "x-caracal-resource"


def named(*values) -> list:
    return [(NAME, value) for value in values]


def at(host: str, *values) -> list:
    return [("host", host)] + named(*values)


def chosen(s: Suite) -> None:
    for resource, slug in ((PAYOUTS, "payouts"), (REPORTS, "reports")):
        for other, whose in ((PAYOUTS, "payouts"), (REPORTS, "reports"), (LEDGER, "ledger")):
            s.add(f"{slug}-mandate-of-{whose}", 3, f"The header names {slug}, the mandate is for {whose}",
                  OK if other == resource else INVALID, OF[other], headers=named(resource), resource=resource, config="resources")
        s.add(f"{slug}-no-mandate", 2, f"The header names {slug}, and there is no mandate", MISSING,
              headers=named(resource), resource=resource, config="resources")
    for host in ("ledger.test", "LEDGER.Test", "ledger.test:8443", "ledger.test.", "[::1]", "[::1]:80", "[0:0::1]"):
        slug = "".join(c if c.isalnum() else "-" for c in host).strip("-") + ("-dot" if host.endswith(".") else "")
        slug += "" if host == host.lower() else "-case"
        s.add(f"host-{slug}", 3, f"{host} is ledger's", OK, OF[LEDGER], headers=at(host), resource=LEDGER, config="resources")
        s.add(f"host-{slug}-other-mandate", 3, f"{host} is ledger's, the mandate is for payouts", INVALID, OF[PAYOUTS],
              headers=at(host), resource=LEDGER, config="resources")
    s.add("host-and-header", 3, "Host and header say the same", OK, OF[LEDGER], headers=at("ledger.test", LEDGER),
          resource=LEDGER, config="resources")
    s.add("other-host-header", 3, "The host is nobody's, the header names reports", OK, OF[REPORTS],
          headers=at("other.test", REPORTS), resource=REPORTS, config="resources")
    both = token(aud=[AUDIENCE, REPORTS], scope="read pay")
    for resource in (PAYOUTS, REPORTS):
        s.add(f"two-audiences-{'payouts' if resource == PAYOUTS else 'reports'}", 3, "A mandate for both", OK, both,
              headers=named(resource), resource=resource, config="resources")
    s.add("identifier-is-no-audience", 3, "The mandate's aud is the identifier, and the audience is another", INVALID,
          token(aud=PAYOUTS, scope="pay"), headers=named(PAYOUTS), resource=PAYOUTS, config="resources")
    s.add("inherited", 5, "Reports wants what is wanted everywhere", SCOPE, token(aud=REPORTS, scope="pay"),
          headers=named(REPORTS), resource=REPORTS, config="resources")
    s.add("replaced", 5, "Payouts wants another scope", SCOPE, token(scope="read"), headers=named(PAYOUTS), resource=PAYOUTS,
          config="resources")
    s.add("excluded", 1, "Payouts excludes /health", OK, path="/health", headers=named(PAYOUTS), resource=PAYOUTS, config="resources")
    s.add("excluded-elsewhere", 2, "Reports does not exclude /health", MISSING, path="/health", headers=named(REPORTS),
          resource=REPORTS, config="resources")
    s.add("no-key-set", "-", "A resource is chosen, and there is no key set", UNAVAILABLE, OF[PAYOUTS], headers=named(PAYOUTS),
          resource=PAYOUTS, config="resources", key_set="status-500", stricter="key-set-unavailable")
    for name, headers in (("absent", []), ("named", named(PAYOUTS)), ("host", at("other.test"))):
        s.add(f"only-{name}", 3, f"There is one resource: {name}", OK, OF[PAYOUTS], headers=headers, resource=PAYOUTS,
              config="one-resource")
    for name, headers in (("other", named(REPORTS)), ("twice", named(PAYOUTS, REPORTS)), ("list", named(f"{PAYOUTS},{REPORTS}"))):
        s.add(f"unnamed-{name}", 3, f"Without `resources` the header is not read: {name}", OK, OF[PAYOUTS], headers=headers,
              config="scope-pay")


def unchosen(s: Suite) -> None:
    wrong = {
        "missing": [], "empty": named(""), "unknown": named("resource://other"), "case": named("RESOURCE://payouts"),
        "prefix": named("resource://payout"), "longer": named(PAYOUTS + "/"), "audience": named(AUDIENCE),
        "twice": named(PAYOUTS, PAYOUTS), "two": named(PAYOUTS, REPORTS), "two-reversed": named(REPORTS, PAYOUTS),
        "list": named(f"{PAYOUTS}, {REPORTS}"), "list-of-one": named(PAYOUTS + ","), "quoted": named(f'"{PAYOUTS}"'),
        "encoded": named("resource:%2f%2fpayouts"), "other-name": [("caracal-resource", PAYOUTS)],
        "other-host": at("other.test"), "their-host": at("ledger.test", PAYOUTS), "their-host-port": at("ledger.test:80", PAYOUTS),
        "their-host-dot": at("ledger.test.", PAYOUTS), "their-address": at("[::1]", PAYOUTS),
    }
    for name, headers in wrong.items():
        s.add(f"unchosen-{name}", 0, f"No resource can be chosen: {name}", BAD_PATH, OF[PAYOUTS], headers=headers, resource=PAYOUTS,
              config="resources", stricter="resource-choice")
    for name, headers in (("away", at("other.test", LEDGER)), ("away-default", named(LEDGER)), ("near", at("xledger.test", LEDGER)),
                          ("below", at("a.ledger.test", LEDGER))):
        s.add(f"unchosen-{name}", 0, f"Ledger is served at its hosts only: {name}", BAD_PATH, OF[LEDGER], headers=headers,
              resource=LEDGER, config="resources", stricter="resource-choice")
    s.add("unchosen-excluded", 0, "No resource can be chosen, on a path that one excludes", BAD_PATH, path="/health",
          resource=PAYOUTS, config="resources", stricter="resource-choice")
    s.add("unchosen-no-mandate", 0, "No resource can be chosen, and there is no mandate", BAD_PATH, resource=PAYOUTS,
          config="resources", stricter="resource-choice")
    s.add("only-unknown", 0, "There is one resource, and the header names another", BAD_PATH, OF[PAYOUTS], headers=named(REPORTS),
          resource=PAYOUTS, config="one-resource", stricter="resource-choice")


def methods(s: Suite) -> None:
    read, pay, write = token(scope="read"), token(scope="pay"), token(scope="write")
    full = token(scope="write", agent_session_id="as-1")

    def to(id, method, text, want, row=5, path="/invoices/1", **rest):
        s.add(f"method-{id}", row, f"{method} {path}", want, text, method=method, path=path, headers=named(PAYOUTS),
              resource=PAYOUTS, config="resources", **rest)

    to("get", "GET", read, OK)
    to("get-route-s-scope", "GET", pay, SCOPE)
    to("post-read", "POST", read, SCOPE)
    to("post-session", "POST", write, SESSION, 7)
    to("post", "POST", full, OK)
    to("put", "PUT", pay, OK)
    to("put-read", "PUT", read, SCOPE)
    to("delete-write", "DELETE", full, SCOPE)
    to("options", "OPTIONS", read, SCOPE)
    to("head", "HEAD", pay, OK)
    to("post-outside", "POST", pay, OK, path="/other")
    to("post-outside-write", "POST", full, SCOPE, path="/other")
    to("post-below-excluded", "POST", None, OK, 1, path="/health/x")
    to("post-ambiguous", "POST", full, BAD_PATH, 0, path="/x/../invoices", stricter="path-readings")
    to("get-agree", "GET", read, OK, path="/invoices/a/../b")
    s.add("method-override", 5, "A header that names another method is not read", OK, read, method="GET", path="/invoices",
          headers=named(PAYOUTS) + [("x-http-method-override", "POST")], resource=PAYOUTS, config="resources")
    for method in ("get", "Get", "post"):
        to(f"case-{method}-{'x' if method != method.lower() else 'lower'}", method, pay, BAD_PATH, 0, stricter="method-case",
           envoy="native-400")


def suite() -> Suite:
    s = Suite("resources")
    for part in (chosen, unchosen, methods):
        part(s)
    return s
