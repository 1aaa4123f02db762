"""Row 3: the signature over the bytes as they came."""

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from keys import MAIN, OTHER, P256_ORDER, Es256, b64url
from mint import claims_json, header_json, jws, segments, sign_segments, token
from model import INVALID, OK, Suite


def pair(data: bytes) -> tuple:
    return decode_dss_signature(MAIN.der(data))


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def low_s(data: bytes) -> bytes:
    r, s = pair(data)
    return raw(r, min(s, P256_ORDER - s))


def high_s(data: bytes) -> bytes:
    r, s = pair(data)
    return raw(r, max(s, P256_ORDER - s))


def short_der(data: bytes) -> bytes:
    """A DER signature cut or filled to 64 bytes."""
    return MAIN.der(data)[:64].ljust(64, b"\0")


def suite() -> Suite:
    s = Suite("signature")

    def signed(id, about, want, sign, **rest):
        s.add(id, 3, about, want, token(_sign=sign), **rest)

    sign = MAIN.sign
    signed("good", "A good signature", OK, sign)
    signed("low-s", "The s of the lower half", OK, low_s)
    signed("high-s", "The s of the upper half is accepted", OK, high_s)
    signed("der", "DER instead of r and s", INVALID, MAIN.der)
    signed("der-64", "DER cut to 64 bytes", INVALID, short_der)
    signed("63-bytes", "One byte short", INVALID, lambda d: sign(d)[:63])
    signed("65-bytes", "One byte more, at the end", INVALID, lambda d: sign(d) + b"\0")
    signed("65-bytes-front", "One byte more, in front", INVALID, lambda d: b"\0" + sign(d))
    signed("66-bytes", "r and s of 33 bytes each", INVALID, lambda d: b"\0" + sign(d)[:32] + b"\0" + sign(d)[32:])
    signed("96-bytes", "r and s of 48 bytes each", INVALID, lambda d: bytes(16) + sign(d)[:32] + bytes(16) + sign(d)[32:])
    signed("128-bytes", "The signature twice", INVALID, lambda d: sign(d) * 2)
    signed("32-bytes", "Only r", INVALID, lambda d: sign(d)[:32])
    signed("one-byte", "One byte", INVALID, lambda d: b"\0")
    signed("empty", "No bytes", INVALID, lambda d: b"")
    signed("zeros", "r and s are 0", INVALID, lambda d: bytes(64))
    signed("r-zero", "r is 0", INVALID, lambda d: raw(0, pair(d)[1]))
    signed("s-zero", "s is 0", INVALID, lambda d: raw(pair(d)[0], 0))
    signed("r-one-s-one", "r and s are 1", INVALID, lambda d: raw(1, 1))
    signed("r-order", "r is the order", INVALID, lambda d: raw(P256_ORDER, pair(d)[1]))
    signed("s-order", "s is the order", INVALID, lambda d: raw(pair(d)[0], P256_ORDER))
    signed("r-and-s-order", "r and s are the order", INVALID, lambda d: raw(P256_ORDER, P256_ORDER))
    signed("r-order-less-1", "r is the order less 1", INVALID, lambda d: raw(P256_ORDER - 1, pair(d)[1]))
    signed("all-ones", "All bits set", INVALID, lambda d: b"\xff" * 64)
    signed("swapped", "s and r", INVALID, lambda d: sign(d)[32:] + sign(d)[:32])
    signed("little-endian", "r and s with the last byte first", INVALID, lambda d: sign(d)[:32][::-1] + sign(d)[32:][::-1])
    signed("negated-r", "The order less r", INVALID, lambda d: raw(P256_ORDER - pair(d)[0], pair(d)[1]))
    for bit in (0, 255, 256, 511):
        signed(f"bit-{bit}", f"Bit {bit} of the signature flipped", INVALID,
               lambda d, bit=bit: bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(sign(d))))
    signed("other-key", "Another key of the set, under this kid", INVALID, OTHER.sign)
    signed("foreign-key", "A key that the set has not", INVALID, Es256("foreign").sign)
    signed("der-hex-text", "The signature in hexadecimal text", INVALID, lambda d: sign(d).hex().encode())
    signed("reencoded", "r and s through DER and back", OK, lambda d: raw(*decode_dss_signature(encode_dss_signature(*pair(d)))))

    # What is signed.
    good, other = token(), token(sub="user-2")
    h, p, g = segments(good)
    s.add("of-another-mandate", 3, "The signature of another mandate", INVALID, f"{h}.{p}.{segments(other)[2]}")
    s.add("other-payload", 3, "The payload of another mandate", INVALID, f"{h}.{segments(other)[1]}.{g}")
    s.add("other-header", 3, "A header that was not signed", INVALID, f"{b64url(header_json(typ='x').encode())}.{p}.{g}")
    s.add("payload-space", 3, "A space added to the payload after signing", INVALID,
          f"{h}.{b64url((claims_json() + ' ').encode())}.{g}")
    s.add("over-payload-only", 3, "The signature covers the payload only", INVALID, f"{h}.{p}.{b64url(sign(p.encode()))}")
    s.add("over-decoded", 3, "The signature covers the decoded texts", INVALID,
          f"{h}.{p}.{b64url(sign((header_json() + '.' + claims_json()).encode()))}")
    s.add("over-digest", 3, "The signature covers a text of the digest's size", INVALID, f"{h}.{p}.{b64url(sign(bytes(32)))}")
    for index in (0, len(p) // 2, len(p) - 2):
        flipped = p[:index] + ("A" if p[index] != "A" else "B") + p[index + 1:]
        s.add(f"payload-letter-{('first', 'middle', 'last')[[0, len(p) // 2, len(p) - 2].index(index)]}", 3,
              "One letter of the payload changed after signing", INVALID, f"{h}.{flipped}.{g}")
    s.add("reordered", 3, "The same claims in another order, signed anew", OK,
          jws(header_json(), "{" + ",".join(reversed(claims_json()[1:-1].split(","))) + "}"))
    s.add("by-hand", 3, "Segments joined by hand", OK, sign_segments(h, p))
    for kid, key, want in (("k1", MAIN, OK), ("k2", OTHER, OK), ("k1", OTHER, INVALID), ("k2", MAIN, INVALID)):
        s.add(f"{kid}-by-{'main' if key is MAIN else 'other'}", 3, "Each kid has its own key", want, token({"kid": kid}, _key=key))
    return s
