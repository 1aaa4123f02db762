"""What a case is, and what its author says of it before the oracle is asked."""

from dataclasses import dataclass, field

OK = (200, None)
BAD_PATH = (400, "invalid_request")
MISSING = (401, "missing_token")
INVALID = (401, "invalid_token")
ZONE = (401, "invalid_zone")
SCOPE = (403, "insufficient_scope")
SESSION = (403, "session_required")
DELEGATION = (403, "delegation_required")
CHAIN = (403, "chain_mismatch")
HOPS = (403, "hop_count_exceeded")
REVOKED = (401, "session_revoked")
STALE = (401, "delegation_stale")
UNAVAILABLE = (503, "sts_unavailable")

# Every rule in which the filter is stricter than the connector, with the contract's words.
RULES = {
    "kid": "a missing or empty `kid`",
    "base64": "base64 with padding or non-zero trailing bits",
    "duplicate-member": "a member name twice, at any depth, in header or payload",
    "crit": "a `crit` header",
    "token-size": "a token over `limits.max_token_bytes` (8192)",
    "nesting": "nesting deeper than 32 (the outermost object is 1)",
    "strict-json": "JSON that is not RFC 8259 in UTF-8 without a BOM "
                   "(no NaN, no Infinity, no lone surrogates, no UTF-16)",
    "integer": "an integer outside 0..2^63-1 or written `-0`",
    "time-type": "a time of another type",
    "scope-separator": "split at U+0020 only",
    "authorization-list": "More than one `Authorization`, or a comma in it, is 401 `invalid_token` "
                          "unless the first scheme is not Bearer",
    "separator": "White space other than SP and HTAB is no separator",
    "path-readings": "If they do not all fall under the same rule, or one cannot be made, "
                     "the answer is 400 `invalid_request`",
    "resource-choice": "an unknown, missing, doubled or contradictory choice of one of several resources "
                       "is 400 `invalid_request`",
    "method-case": "a method that a route lists in other letters is 400 `invalid_request`",
    "no-hop": "`max_hop_count` 0 means no hop at all",
    "usable-key": "Usable (stricter than the oracle, as Caracal's Gateway)",
    "key-limits": "at most 64 usable keys are kept; every usable key under a `kid` is tried, at most 4",
    "key-set-unavailable": "no usable key set when row 3 needs one: `sts_unavailable`",
    "dependency-last": "rows 0 to 2 and the unsigned part of row 3 never wait and never answer 503",
}


@dataclass
class Case:
    id: str
    row: str
    about: str
    want: tuple
    token: str = None
    authorization: list = None  # values of the header, in order; overrides `token`
    path: str = "/"
    method: str = "GET"
    config: str = "default"
    key_set: str = "one"
    headers: list = field(default_factory=list)  # more of them, names and texts
    resource: str = None  # whose connector is the oracle, where a configuration has several
    stricter: str = None
    envoy: str = None
    oracle: tuple = None  # what the oracle answered

    def request(self) -> dict:
        values = self.authorization
        if values is None:
            values = [] if self.token is None else ["Bearer " + self.token]
        return {
            "method": self.method,
            "path": self.path,
            "headers": [
                ("authorization", value if isinstance(value, bytes) else value.encode())
                for value in values
            ] + [(name, value.encode()) for name, value in self.headers],
        }


@dataclass
class Suite:
    """The cases of one vectors file."""

    name: str
    cases: list = field(default_factory=list)

    def add(self, id, row, about, want, token=None, **rest):
        self.cases.append(Case(f"{self.name}/{id}", str(row), about, want, token, **rest))


class Contradiction(Exception):
    pass


def judge(case: Case, oracle: tuple) -> None:
    """Notes the oracle's answer; raises when it contradicts what the author expects."""
    case.oracle = oracle
    if case.stricter is None:
        if case.want != oracle:
            raise Contradiction(f"{case.id}: the contract says {case.want}, the oracle {oracle}")
        return
    if case.stricter not in RULES:
        raise Contradiction(f"{case.id}: no rule is called {case.stricter}")
    if case.want[0] == 200:
        raise Contradiction(f"{case.id}: a stricter rule can only refuse")
    if case.want == oracle:
        raise Contradiction(f"{case.id}: marked {case.stricter}, and yet both say {oracle}")
