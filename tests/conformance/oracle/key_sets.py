"""The named key sets: what the STS answers. Fills KEY_SETS with {status, body} and, for bodies
near the size limit, `pad_to`: spaces are appended up to that many bytes."""

import base64
import json

from keys import ABSENT, ED, ED_OTHER, MAIN, OTHER, Es256, b64url
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

KEY_SETS = {}


def add(name: str, body, status: int = 200, **rest) -> None:
    KEY_SETS[name] = {"status": status, "body": body, **rest}


def add_keys(name: str, *keys, **members) -> None:
    add(name, json.dumps({"keys": list(keys), **members}, separators=(",", ":")))


def content(key_set: dict) -> bytes:
    return key_set["body"].encode().ljust(key_set.get("pad_to", 0), b" ")


GOOD = OTHER.jwk("good")
P384 = Es256("p384", ec.SECP384R1, hashes.SHA384)
K1_X, K1_Y = MAIN.point()
add_keys("one", MAIN.jwk("k1"), OTHER.jwk("k2"))

# Each entry changes the key k1 so that it is not usable: name -> (key, does the connector take it).
UNUSABLE = {
    "use-enc": (MAIN.jwk("k1", use="enc"), True),
    "use-empty": (MAIN.jwk("k1", use=""), True),
    "key-ops-sign": (MAIN.jwk("k1", key_ops=["sign"]), True),
    "private-half": (MAIN.jwk("k1", d=MAIN.d()), True),
    "alg-absent": (MAIN.jwk("k1", alg=ABSENT), True),
    "alg-null": (MAIN.jwk("k1", alg=None), True),
    "alg-es384": (MAIN.jwk("k1", alg="ES384"), True),
    "alg-eddsa": (MAIN.jwk("k1", alg="EdDSA"), False),
    "alg-rs256": (MAIN.jwk("k1", alg="RS256"), False),
    "alg-lower": (MAIN.jwk("k1", alg="es256"), False),
    "kty-absent": (MAIN.jwk("k1", kty=ABSENT), False),
    "kty-lower": (MAIN.jwk("k1", kty="ec"), False),
    "kty-okp": (MAIN.jwk("k1", kty="OKP"), False),
    "crv-absent": (MAIN.jwk("k1", crv=ABSENT), False),
    "crv-lower": (MAIN.jwk("k1", crv="p-256"), False),
    "crv-p384": (MAIN.jwk("k1", crv="P-384"), False),
    "crv-secp256k1": (MAIN.jwk("k1", crv="secp256k1"), False),
    "x-absent": (MAIN.jwk("k1", x=ABSENT), False),
    "y-absent": (MAIN.jwk("k1", y=ABSENT), False),
    "x-empty": (MAIN.jwk("k1", x=""), False),
    "x-number": (MAIN.jwk("k1", x=1), False),
    "x-31-bytes": (MAIN.jwk("k1", x=b64url(K1_X[:31])), False),
    "x-33-bytes": (MAIN.jwk("k1", x=b64url(b"\0" + K1_X)), False),
    "y-31-bytes": (MAIN.jwk("k1", y=b64url(K1_Y[:31])), False),
    "x-padded": (MAIN.jwk("k1", x=b64url(K1_X) + "="), True),
    "x-white-space": (MAIN.jwk("k1", x=b64url(K1_X)[:20] + "\n" + b64url(K1_X)[20:] + "==="), True),
    "off-the-curve": (MAIN.jwk("k1", y=b64url(K1_Y[:31] + bytes([K1_Y[31] ^ 1]))), False),
    "x-and-y-swapped": (MAIN.jwk("k1", x=b64url(K1_Y), y=b64url(K1_X)), False),
    "point-zero": (MAIN.jwk("k1", x=b64url(bytes(32)), y=b64url(bytes(32))), False),
    "kid-absent": (MAIN.jwk("k1", kid=ABSENT), False),
    "kid-empty": (MAIN.jwk("k1", kid=""), False),
    "kid-number": (MAIN.jwk("k1", kid=1), False),
    "kid-null": (MAIN.jwk("k1", kid=None), False),
}
for _name, (_key, _) in UNUSABLE.items():
    add_keys("only-" + _name, _key)
    add_keys("beside-" + _name, _key, GOOD)
    add_keys("twin-" + _name, _key, MAIN.jwk("k1"))

# Keys that are usable although they look unusual.
USABLE = {
    "use-absent": MAIN.jwk("k1", use=ABSENT),
    "key-ops-empty": MAIN.jwk("k1", key_ops=[]),
    "key-ops-verify": MAIN.jwk("k1", key_ops=["verify"]),
    "key-ops-more": MAIN.jwk("k1", key_ops=["sign", "verify"]),
    "extra-members": MAIN.jwk("k1", x5c=["AA=="], x5u="https://evil.test", note={"a": [1, None]}, nbf=5),
}
for _name, _key in USABLE.items():
    add_keys("usable-" + _name, _key)
add_keys("set-extra-members", MAIN.jwk("k1"), version=2, next=None)
add("white-space", json.dumps({"keys": [MAIN.jwk("k1")]}, indent=2) + "\n")
add("non-objects-beside", json.dumps({"keys": [5, "x", None, [], True, {}, MAIN.jwk("k1")]}))
add_keys("standard-alphabet-beside", MAIN.jwk("k1"),
         OTHER.jwk("k3", y=base64.b64encode(OTHER.point()[1]).decode().rstrip("=")))
assert "/" in KEY_SETS["standard-alphabet-beside"]["body"]

# Several keys under one kid, and very many keys.
FAMILY = [Es256(f"family {number}") for number in range(1, 7)]
for _count in range(1, 6):
    add_keys(f"same-kid-{_count}", *[key.jwk("k1") for key in FAMILY[:_count]])
add_keys("same-kid-unusable-first", *[FAMILY[i].jwk("k1", use="enc") for i in range(4)], FAMILY[4].jwk("k1"))
add_keys("same-kid-apart", FAMILY[0].jwk("k1"), OTHER.jwk("k2"), FAMILY[1].jwk("k1"))
add_keys("same-key-twice", MAIN.jwk("k1"), MAIN.jwk("k1"))
CROWD = [OTHER.jwk(f"crowd-{number:02}") for number in range(1, 65)]
add_keys("crowd-64", *CROWD[:63], MAIN.jwk("k1"))
add_keys("crowd-65", *CROWD, MAIN.jwk("k1"))
add_keys("crowd-unusable", *[{**key, "use": "enc"} for key in CROWD], MAIN.jwk("k1"))
add_keys("kid-shapes", MAIN.jwk("K1"), MAIN.jwk(" k1"), MAIN.jwk("k\u00fc"), MAIN.jwk("a/b+c=="),
         MAIN.jwk("\u20ac\U0001f600"))
add_keys("p384", P384.jwk("k1", crv="P-384", alg="ES384"))
add_keys("p384-beside", P384.jwk("k1", crv="P-384", alg="ES384"), GOOD)

# Key sets that cannot be used, with what the connector makes of them: 500 an exception, 401 no key.
_ONE = KEY_SETS["one"]["body"]
UNAVAILABLE = {
    "status-404": 500, "status-500": 500, "status-503": 500, "status-301": 500, "status-201": 200,
    "empty-body": 500, "invalid-json": 500, "cut-short": 500, "html": 500, "not-an-object": 401,
    "null": 401, "keys-absent": 401, "keys-null": 500, "keys-string": 401, "keys-object": 401,
    "keys-number": 500, "keys-empty": 401, "keys-of-strings": 401, "too-large": 500,
}
for _status in (404, 500, 503, 301, 201):
    add(f"status-{_status}", _ONE, _status)
add("empty-body", "")
add("invalid-json", "{keys: []}")
add("cut-short", _ONE[:-2])
add("html", "<html><body>Service is starting</body></html>")
add("not-an-object", json.dumps([MAIN.jwk("k1")]))
add("null", "null")
add("keys-absent", json.dumps({"Keys": [MAIN.jwk("k1")]}))
add("keys-null", '{"keys":null}')
add("keys-string", '{"keys":"k1"}')
add("keys-object", json.dumps({"keys": {"k1": MAIN.jwk("k1")}}))
add("keys-number", '{"keys":1}')
add("keys-empty", '{"keys":[]}')
add("keys-of-strings", '{"keys":["k1"]}')
add("largest", _ONE, pad_to=256 * 1024)
add("too-large", _ONE, pad_to=256 * 1024 + 1)

# For the EdDSA file.
add_keys("ed", ED.jwk("ed"), MAIN.jwk("k1"))
add_keys("ed-alg-ed25519", ED.jwk("ed", alg="Ed25519"))
add_keys("ed-same-kid", MAIN.jwk("both"), ED.jwk("both"))
add_keys("ed-two", ED_OTHER.jwk("ed"), ED.jwk("ed"))
ED_UNUSABLE = {
    "use-enc": (ED.jwk("ed", use="enc"), True),
    "key-ops-sign": (ED.jwk("ed", key_ops=["sign"]), True),
    "alg-absent": (ED.jwk("ed", alg=ABSENT), True),
    "alg-es256": (ED.jwk("ed", alg="ES256"), False),
    "crv-ed448": (ED.jwk("ed", crv="Ed448"), False),
    "crv-x25519": (ED.jwk("ed", crv="X25519"), False),
    "kty-ec": (ED.jwk("ed", kty="EC"), False),
    "x-31-bytes": (ED.jwk("ed", x=b64url(ED.public()[:31])), False),
    "x-33-bytes": (ED.jwk("ed", x=b64url(ED.public() + b"\0")), False),
    "x-padded": (ED.jwk("ed", x=b64url(ED.public()) + "="), True),
    "private-half": (ED.jwk("ed", d=b64url(ED.private.private_bytes_raw())), True),
}
for _name, (_key, _) in ED_UNUSABLE.items():
    add_keys("ed-beside-" + _name, _key, GOOD)
