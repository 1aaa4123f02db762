"""Row 2: the Authorization header."""

from mint import token
from model import INVALID, MISSING, OK, Suite

DROPS_EMPTY = "skip: Envoy drops an empty duplicate of a header, so filter and upstream both see one header"
NO_CODEC = "native-400"  # Envoy refuses control characters in a header value by itself


def suite() -> Suite:
    s = Suite("authorization")
    good = token()
    other = token(sub="user-2")

    def one(id, about, want, *values, row=2, **rest):
        s.add(id, row, about, want, authorization=list(values), **rest)

    # Absent and empty.
    one("absent", "No Authorization header", MISSING)
    one("empty", "An empty value", MISSING, "")
    one("spaces-only", "A value of white space", MISSING, "   ")
    one("bearer-alone", "The scheme without a token", MISSING, "Bearer")
    one("bearer-space", "The scheme and white space only", MISSING, "Bearer   ")
    one("bearer-tab", "The scheme and a tab only", MISSING, "Bearer\t")

    # The scheme.
    for name, scheme in (("as-in-rfc", "Bearer"), ("lower", "bearer"), ("upper", "BEARER"), ("mixed", "bEaReR")):
        one(f"scheme-{name}", f"The scheme written {scheme}", OK, f"{scheme} {good}")
    for name, scheme in (("basic", "Basic"), ("dpop", "DPoP"), ("prefix", "Bear"), ("longer", "Bearers"),
                         ("token", "Token"), ("caracal", "Caracal"), ("colon", "Bearer:"), ("equals", "Bearer="),
                         ("quoted", '"Bearer"'), ("dash", "Bearer-Token")):
        one(f"scheme-{name}", f"Another scheme: {scheme}", MISSING, f"{scheme} {good}")
    one("scheme-missing", "The token without a scheme", MISSING, good)
    one("scheme-glued", "No white space between scheme and token", MISSING, "Bearer" + good)
    one("scheme-twice", "The scheme twice: the second is part of the token", INVALID, f"Bearer Bearer {good}", row=3)
    one("basic-empty", "Another scheme alone", MISSING, "Basic")
    one("basic-then-bearer-words", "Bearer is only a word of another scheme's value", MISSING, f"Basic Bearer {good}")

    # White space.
    one("leading-space", "White space before the scheme is no part of the value", OK, f"  Bearer {good}")
    one("leading-tab", "A tab before the scheme is no part of the value", OK, f"\tBearer {good}")
    one("two-spaces", "Two spaces before the token", OK, f"Bearer  {good}")
    one("many-spaces", "Many spaces before the token", OK, f"Bearer {' ' * 40}{good}")
    one("tab", "A tab before the token", OK, f"Bearer\t{good}")
    one("tabs-and-spaces", "Tabs and spaces before the token", OK, f"Bearer \t \t{good}")
    one("trailing-space", "Spaces after the token", OK, f"Bearer {good}   ")
    one("trailing-tab", "A tab after the token", OK, f"Bearer {good}\t")
    one("space-inside", "White space inside the token", INVALID, f"Bearer {good[:40]} {good[40:]}", row=3)
    one("tab-inside", "A tab inside the token", INVALID, f"Bearer {good[:40]}\t{good[40:]}", row=3)
    one("second-word", "A word after the token", INVALID, f"Bearer {good} x", row=3)
    nbsp = b"\xa0"
    one("nbsp-separator", "NBSP separates nothing", MISSING, b"Bearer" + nbsp + good.encode(), stricter="separator")
    one("nbsp-after-space", "NBSP between a space and the token is part of the token", INVALID,
        b"Bearer " + nbsp + good.encode(), row=3, stricter="separator")
    one("nbsp-before-space", "NBSP makes another scheme", MISSING, b"Bearer" + nbsp + b" " + good.encode(),
        stricter="separator")
    one("nbsp-trailing", "NBSP after the token is part of the token", INVALID, b"Bearer " + good.encode() + nbsp,
        row=3, stricter="separator")
    one("nel-trailing", "NEL (0x85) after the token is part of the token", INVALID,
        b"Bearer " + good.encode() + b"\x85", row=3, stricter="separator")
    one("nel-separator", "NEL (0x85) separates nothing", MISSING, b"Bearer\x85" + good.encode(), stricter="separator")
    one("nbsp-leading", "NBSP before the scheme makes another scheme", MISSING, nbsp + b"Bearer " + good.encode())
    one("nbsp-token-only", "NBSP as the whole token", INVALID, b"Bearer " + nbsp, row=3, stricter="separator")
    one("vt-separator", "VT separates nothing", MISSING, f"Bearer\v{good}", stricter="separator", envoy=NO_CODEC)
    one("ff-trailing", "FF after the token is part of the token", INVALID, f"Bearer {good}\f", row=3,
        stricter="separator", envoy=NO_CODEC)
    one("utf8-space", "U+2003 in UTF-8 separates nothing", MISSING, "Bearer\u2003".encode() + good.encode())

    # Bytes that no token has.
    one("latin1-byte", "A byte over 0x7F inside the token", INVALID, b"Bearer " + good[:40].encode() + b"\xe9" +
        good[41:].encode(), row=3)
    one("quoted-token", "The token in quotes", INVALID, f'Bearer "{good}"', row=3)
    one("short-junk", "A token of one letter", INVALID, "Bearer x", row=3)
    one("semicolon-after", "A parameter after the token", INVALID, f"Bearer {good};a=b", row=3)
    one("percent", "A percent-encoded token", INVALID, f"Bearer {good.replace('.', '%2e')}", row=3)

    # Several values.
    one("two-bearer", "Two headers, both with a good mandate", INVALID, f"Bearer {good}", f"Bearer {other}",
        row=2, stricter="authorization-list")
    one("two-same", "The same header twice", INVALID, f"Bearer {good}", f"Bearer {good}", stricter="authorization-list")
    one("bearer-then-basic", "A good mandate, then another scheme", INVALID, f"Bearer {good}", "Basic dTpw",
        stricter="authorization-list")
    one("bearer-then-empty", "A good mandate, then an empty header", INVALID, f"Bearer {good}", "",
        stricter="authorization-list", envoy=DROPS_EMPTY)
    one("bad-then-good", "A broken token, then a good mandate", INVALID, "Bearer x.y.z", f"Bearer {good}")
    one("basic-then-bearer", "Another scheme, then a good mandate", MISSING, "Basic dTpw", f"Bearer {good}")
    one("basic-then-basic", "Another scheme twice", MISSING, "Basic dTpw", "Basic dTpw")
    one("three", "Three headers", INVALID, f"Bearer {good}", f"Bearer {good}", f"Bearer {good}",
        stricter="authorization-list")
    one("comma-joined", "Two mandates joined by a comma", INVALID, f"Bearer {good}, Bearer {other}")
    one("comma-no-space", "Two mandates joined by a bare comma", INVALID, f"Bearer {good},Bearer {other}")
    one("comma-first-basic", "A comma, and the first scheme is another", MISSING, f"Basic dTpw, Bearer {good}")
    one("comma-trailing", "A comma after the mandate", INVALID, f"Bearer {good},")
    one("comma-leading", "A comma before the scheme", MISSING, f",Bearer {good}")
    one("comma-in-token", "A comma inside the token", INVALID, f"Bearer {good[:40]},{good[40:]}")
    one("comma-only-token", "A comma as the token", INVALID, "Bearer ,")
    one("comma-lower-case", "A comma, the scheme in lower case", INVALID, f"bearer {good},bearer {other}")

    # The header's own name.
    s.add("post", 2, "The method does not matter", OK, good, method="POST")
    s.add("options", 2, "OPTIONS is verified like any other method", MISSING, method="OPTIONS")
    s.add("options-with-token", 2, "OPTIONS with a mandate", OK, good, method="OPTIONS")
    return s
