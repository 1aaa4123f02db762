"""exp, iat and nbf: both sides of every bound, and every type (rows 3 and 12)."""

from keys import ABSENT
from mint import NOW, Raw, token
from model import INVALID, OK, SCOPE, ZONE, Suite

SKEW = 60
MAX = 2**63 - 1
BEFORE = NOW - 100
AFTER = NOW + 900


def bounds(s: Suite) -> None:
    def exp(id, row, about, value, want, **rest):
        s.add(f"exp-{id}", row, about, want, token(exp=value), **rest)

    exp("far", 3, "exp in 15 minutes", AFTER, OK)
    exp("next-second", 12, "exp one second ahead", NOW + 1, OK)
    exp("equal-to-now", 12, "exp equal to now: row 3 forgives it, row 12 does not", NOW, INVALID)
    exp("one-past", 12, "exp one second past", NOW - 1, INVALID)
    exp("skew-less-1", 12, "exp as far past as row 3 forgives", NOW - SKEW + 1, INVALID)
    exp("skew", 3, "exp at now less the skew", NOW - SKEW, INVALID)
    exp("skew-more-1", 3, "exp before now less the skew", NOW - SKEW - 1, INVALID)
    exp("zero", 3, "exp is 0", 0, INVALID)
    exp("one", 3, "exp is 1", 1, INVALID)
    exp("year-9999", 3, "exp in the year 9999", 253402300799, OK)
    exp("max", 3, "exp is 2^63-1", MAX, OK)
    exp("2-63", 3, "exp is 2^63", MAX + 1, INVALID, stricter="integer")
    exp("2-64", 3, "exp is 2^64", 2**64, INVALID, stricter="integer")
    exp("30-digits", 3, "exp has 30 digits", 10**30, INVALID, stricter="integer")
    exp("minus-1", 3, "exp is -1", -1, INVALID)
    exp("minus-2-63", 3, "exp is -2^63", -(2**63), INVALID)
    exp("before-iat", 3, "exp before iat, both ahead: the lifetime is not checked", NOW + 5, OK)
    exp("absent", 3, "No exp", ABSENT, INVALID)

    for claim in ("iat", "nbf"):
        for id, about, value, want, rule in (
            ("past", "long past", 1, OK, None),
            ("zero", "0", 0, OK, None),
            ("now", "now", NOW, OK, None),
            ("skew", "as far ahead as the skew allows", NOW + SKEW, OK, None),
            ("skew-more-1", "one second more than the skew ahead", NOW + SKEW + 1, INVALID, None),
            ("ahead", "an hour ahead", NOW + 3600, INVALID, None),
            ("max", "2^63-1", MAX, INVALID, None),
            ("2-64", "2^64", 2**64, INVALID, None),
            ("minus-zero", "written -0", Raw("-0"), INVALID, "integer"),
            ("minus-1", "-1", -1, INVALID, "integer" if claim == "nbf" else None),
            ("minus-2-63", "-2^63", -(2**63), INVALID, "integer" if claim == "nbf" else None),
            ("minus-30-digits", "a negative number of 30 digits", -(10**29), INVALID, "integer" if claim == "nbf" else None),
        ):
            s.add(f"{claim}-{id}", 3, f"{claim} is {about}", want, token(**{claim: value}), stricter=rule)
    s.add("iat-absent", 3, "No iat", INVALID, token(iat=ABSENT))
    s.add("nbf-absent", 3, "nbf is optional", OK, token(nbf=ABSENT))
    s.add("iat-after-exp", 3, "iat after exp, both within their bounds", OK, token(iat=NOW + 30, exp=NOW + 10))
    s.add("nbf-after-exp", 3, "nbf after exp, both within their bounds", OK, token(nbf=NOW + 30, exp=NOW + 10))


def types(s: Suite) -> None:
    """A time of another type is always refused; the connector reads some of them in `nbf`."""
    values = {
        "null": (None, False), "true": (True, True), "false": (False, True), "fraction": (Raw(f"{BEFORE}.5"), True),
        "point-zero": (Raw(f"{BEFORE}.0"), True), "exponent": (Raw("1e3"), True), "exponent-zero": (Raw("1E0"), True),
        "minus-zero-fraction": (Raw("-0.0"), True), "huge": (Raw("1e400"), False), "negative-fraction": (Raw("-1.5"), True),
        "string": (str(BEFORE), True), "padded-string": (f" {BEFORE} ", True), "underscored-string": ("1_000", True),
        "empty": ("", False), "word": ("soon", False), "date": ("2026-01-01T00:00:00Z", False), "array": ([], False),
        "array-of-number": ([BEFORE], False), "object": ({}, False),
    }
    for claim in ("exp", "iat", "nbf"):
        for name, (value, read) in values.items():
            if claim == "exp" and isinstance(value, str):  # let the value itself be good
                value = type(value)(value.replace(str(BEFORE), str(AFTER)))
            elif claim == "exp" and isinstance(value, list) and value:
                value = [AFTER]
            s.add(f"{claim}-type-{name}", 3, f"{claim} is of another type: {name}", INVALID, token(**{claim: value}),
                  stricter="time-type" if claim == "nbf" and read else None)
    # Where the connector finds the wrong type only at row 12, another row's error comes first there.
    for claim, value in (("exp", str(AFTER)), ("exp", Raw(f"{AFTER}.0")), ("iat", str(BEFORE)), ("iat", True), ("iat", Raw("1e3"))):
        slug = {str: "string", bool: "bool", Raw: "number"}[type(value)]
        s.add(f"{claim}-{slug}-before-zone", 3, f"{claim} of another type and another zone: row 3 comes before row 4", INVALID,
              token(**{claim: value}, zone_id="zone-2"), stricter="time-type")
        s.add(f"{claim}-{slug}-before-scope", 3, f"{claim} of another type and no scope: row 3 comes before row 5", INVALID,
              token(**{claim: value}), config="scope-pay", stricter="time-type")
    s.add("iat-negative-before-zone", 3, "A negative iat and another zone: row 3 comes before row 4", INVALID,
          token(iat=-1, zone_id="zone-2"), stricter="integer")


def late_expiry(s: Suite) -> None:
    """Within the skew, expiry is found at row 12 only: the rows between come first."""
    late = {"exp": NOW - 30}
    s.add("expired-late-zone", 4, "Expired within the skew, another zone", ZONE, token(**late, zone_id="zone-2"))
    s.add("expired-late-scope", 5, "Expired within the skew, a scope missing", SCOPE, token(**late), config="scope-pay")
    s.add("expired-zone", 3, "Expired beyond the skew, another zone", INVALID, token(exp=NOW - SKEW, zone_id="zone-2"))
    s.add("expired-scope", 3, "Expired beyond the skew, a scope missing", INVALID, token(exp=NOW - SKEW), config="scope-pay")
    s.add("expired-scope-good", 12, "Expired within the skew, everything else good", INVALID, token(**late, scope="pay"),
          config="scope-pay")


def suite() -> Suite:
    s = Suite("times")
    bounds(s)
    types(s)
    late_expiry(s)
    return s
