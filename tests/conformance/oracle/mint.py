"""Makes tokens: ordinary ones, and every kind of broken one.

Claims and headers are dicts that are written by `dump`, which keeps their order and lets a
value be a `Raw` piece of JSON, so that `1e3`, `-0` or `NaN` can be written as they are.
"""

import json

from keys import ABSENT, MAIN, b64url, changed

NOW = 1767225600  # 2026-01-01T00:00:00Z, the wall clock of every case
ISSUER = "https://sts.example.test"
ZONE = "zone-1"
AUDIENCE = "https://payouts.example.test"

CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "exp": NOW + 900,
    "iat": NOW - 10,
    "jti": "mandate-1",
    "sub": "user-1",
    "sid": "sid-1",
    "root_sid": "root-1",
    "client_id": "app-1",
    "zone_id": ZONE,
    "use": "resource",
    "sub_type": "user",
    "scope": "read",
}
HEADER = {"alg": "ES256", "typ": "JWT", "kid": "k1"}


class Raw(str):
    """JSON text that is written as it is."""


def dump(value) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(json.dumps(k) + ":" + dump(v) for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(dump(item) for item in value) + "]"
    return json.dumps(value)


def utf8(text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def claims_json(**changes) -> str:
    return dump(changed(CLAIMS, changes))


def header_json(**changes) -> str:
    return dump(changed(HEADER, changes))


def with_members(text: str, members: str) -> str:
    """An object's JSON with more members, written as they are, at its end."""
    return text[:-1] + "," + members + "}"


def jws(header, payload, key=MAIN, encode=b64url, sign=None) -> str:
    """A compact JWS over the given header and payload texts (or bytes)."""
    signed = encode(utf8(header)) + "." + encode(utf8(payload))
    signature = (sign or key.sign)(signed.encode())
    return signed + "." + b64url(signature)


def token(_header=None, _key=MAIN, _sign=None, **claims) -> str:
    """A token of the base claims with changes; `_header` changes header members."""
    header = {"alg": _key.alg, **(_header or {})}
    return jws(header_json(**header), claims_json(**claims), _key, sign=_sign)


def segments(text: str) -> list:
    return text.split(".")


def sign_segments(header: str, payload: str, key=MAIN) -> str:
    """Signs two segments as they are, however they are encoded."""
    signed = header + "." + payload
    return signed + "." + b64url(key.sign(signed.encode()))


def nested(depth: int) -> Raw:
    """An array nested to this depth; `nested(1)` is `[]`."""
    return Raw("[" * depth + "]" * depth)


def sized(length: int) -> str:
    """A valid token of exactly `length` characters."""
    have = len(token(filler=""))
    for extra in range(max(0, (length - have) * 3 // 4 - 6), length):
        made = token(filler="x" * extra)
        if len(made) == length:
            return made
        if len(made) > length:
            break
    for kid_typ in ("JWTx", "JWTxx"):
        for extra in range(max(0, (length - have) * 3 // 4 - 9), length):
            made = token({"typ": kid_typ}, filler="x" * extra)
            if len(made) == length:
                return made
            if len(made) > length:
                break
    raise ValueError("no token of %d characters" % length)
