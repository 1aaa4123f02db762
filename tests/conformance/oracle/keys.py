"""Test-only keys from fixed scalars and seeds, and the JWKs made of them.

Nothing here protects anything: the private halves are in this file on purpose.
"""

import base64
import hashlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def scalar(name: str) -> int:
    """A private scalar (or seed) that depends on the key's name only."""
    return int.from_bytes(hashlib.sha256(b"caracal conformance test key " + name.encode()).digest(), "big")


class Es256:
    """A P-256 key that signs deterministically (RFC 6979)."""

    alg = "ES256"

    def __init__(self, name: str, curve=ec.SECP256R1, hash_alg=hashes.SHA256):
        self.name = name
        self.size = (curve().key_size + 7) // 8
        self.private = ec.derive_private_key(scalar(name), curve())
        self.method = ec.ECDSA(hash_alg(), deterministic_signing=True)

    def der(self, data: bytes) -> bytes:
        return self.private.sign(data, self.method)

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.der(data))
        return r.to_bytes(self.size, "big") + s.to_bytes(self.size, "big")

    def point(self) -> tuple:
        numbers = self.private.public_key().public_numbers()
        return numbers.x.to_bytes(self.size, "big"), numbers.y.to_bytes(self.size, "big")

    def d(self) -> str:
        return b64url(scalar(self.name).to_bytes(self.size, "big"))

    def pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def jwk(self, kid, /, **changes) -> dict:
        x, y = self.point()
        made = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
                "x": b64url(x), "y": b64url(y)}
        return changed(made, changes)


class Ed25519:
    """An Ed25519 key; its signatures are deterministic by definition."""

    alg = "EdDSA"

    def __init__(self, name: str):
        self.private = ed25519.Ed25519PrivateKey.from_private_bytes(scalar(name).to_bytes(32, "big"))

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data)

    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def jwk(self, kid, /, **changes) -> dict:
        made = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid,
                "x": b64url(self.public())}
        return changed(made, changes)


ABSENT = object()


def changed(values: dict, changes: dict) -> dict:
    """`values` with `changes`; ABSENT takes a member out."""
    out = {**values, **changes}
    return {name: value for name, value in out.items() if value is not ABSENT}


MAIN = Es256("main")
OTHER = Es256("other")
ED = Ed25519("ed")
ED_OTHER = Ed25519("ed other")
