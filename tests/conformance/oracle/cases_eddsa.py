"""EdDSA (Ed25519), where the configuration allows it. Written to its own file, whose oracle is the
connector with PyJWT told to take EdDSA as well."""

from key_sets import ED_UNUSABLE
from keys import ABSENT, ED, ED_OTHER, MAIN, OTHER, b64url
from mint import NOW, claims_json, header_json, jws, segments, sign_segments, token, with_members
from model import INVALID, OK, SCOPE, ZONE, Suite

ORDER = 2**252 + 27742317777372353535851937790883648493  # of the group that Ed25519 works in
KID = {"kid": "ed"}


def plus_order(data: bytes) -> bytes:
    """The signature with its S raised by the order: the same S for a verifier that does not look."""
    made = ED.sign(data)
    return made[:32] + (int.from_bytes(made[32:], "little") + ORDER).to_bytes(32, "little")


def suite() -> Suite:
    s = Suite("eddsa")
    base = {"config": "eddsa", "key_set": "ed"}

    def add(id, about, want, text, row=3, **rest):
        s.add(id, row, about, want, text, **{**base, **rest})

    def ed(header=None, key=ED, sign=None, **claims):
        return token({**KID, "alg": "EdDSA", **(header or {})}, _key=key, _sign=sign, **claims)

    good = ed()
    add("good", "A mandate signed with Ed25519", OK, good)
    add("es256-too", "A mandate signed with ES256, under the same configuration", OK, token())
    add("not-allowed", "EdDSA where only ES256 is allowed", INVALID, good, config="es256-only")
    add("default", "EdDSA where algorithms is not configured", INVALID, good, config="default")
    for alg in ("Ed25519", "eddsa", "EDDSA", "Ed448", "ES256", "none", "HS256", "", None, 1):
        add(f"alg-{ {'EDDSA': 'upper', '': 'empty', None: 'null'}.get(alg, str(alg).lower())}", f"A good Ed25519 signature under alg {alg!r}", INVALID, ed({"alg": alg}))
    add("alg-absent", "No alg", INVALID, ed({"alg": ABSENT}))
    add("es256-signature", "alg EdDSA, the kid names an ES256 key, which signed it", INVALID,
        token({"alg": "EdDSA", "kid": "k1"}))
    add("es256-kid", "alg EdDSA, signed by the Ed25519 key, the kid names the ES256 key", INVALID, ed({"kid": "k1"}))
    add("ed-kid-es256", "alg ES256, signed by the ES256 key, the kid names the Ed25519 key", INVALID, token(KID))
    add("kid-unknown", "An unknown kid", INVALID, ed({"kid": "k9"}))
    add("kid-absent", "No kid", INVALID, ed({"kid": ABSENT}), stricter="kid")
    add("same-kid-ed", "Two keys of two kinds under one kid: the Ed25519 key", OK, ed({"kid": "both"}), key_set="ed-same-kid")
    add("same-kid-es256", "Two keys of two kinds under one kid: the ES256 key", OK, token({"kid": "both"}), key_set="ed-same-kid")
    add("two-first", "Two Ed25519 keys under one kid: the first", OK, ed(key=ED_OTHER), key_set="ed-two")
    add("two-second", "Two Ed25519 keys under one kid: the second", OK, ed(), key_set="ed-two")
    add("key-alg-ed25519", "The key's alg is Ed25519", OK, ed(), key_set="ed-alg-ed25519")

    for id, about, sign in (
        ("63-bytes", "One byte short", lambda d: ED.sign(d)[:63]),
        ("65-bytes", "One byte more", lambda d: ED.sign(d) + b"\0"),
        ("empty", "No bytes", lambda d: b""),
        ("zeros", "All bytes 0", lambda d: bytes(64)),
        ("s-plus-order", "S raised by the order", plus_order),
        ("s-zero", "S is 0", lambda d: ED.sign(d)[:32] + bytes(32)),
        ("r-zero", "R is 0", lambda d: bytes(32) + ED.sign(d)[32:]),
        ("r-identity", "R is the identity and S is 0", lambda d: b"\1" + bytes(63)),
        ("swapped", "S and R", lambda d: ED.sign(d)[32:] + ED.sign(d)[:32]),
        ("first-bit", "The first bit flipped", lambda d: bytes([ED.sign(d)[0] ^ 1]) + ED.sign(d)[1:]),
        ("last-bit", "The last bit flipped", lambda d: ED.sign(d)[:63] + bytes([ED.sign(d)[63] ^ 128])),
        ("ones", "All bits set", lambda d: b"\xff" * 64),
        ("other-key", "Another Ed25519 key", ED_OTHER.sign),
        ("es256-key", "An ES256 signature", MAIN.sign),
        ("half-message", "A signature over half the text", lambda d: ED.sign(d[: len(d) // 2])),
    ):
        add(f"signature-{id}", f"The signature: {about}", INVALID, ed(sign=sign))
    h, p, g = segments(good)
    add("signature-padding", "The signature with its padding", INVALID, good + "==", stricter="base64")
    add("payload-changed", "The payload of another mandate", INVALID, f"{h}.{segments(ed(sub='user-2'))[1]}.{g}")
    add("no-signature", "An empty signature segment", INVALID, f"{h}.{p}.")
    add("by-hand", "Segments joined by hand", OK, sign_segments(h, p, ED))

    for name, (_, taken) in ED_UNUSABLE.items():
        add(f"unusable-{name}", f"The Ed25519 key is not usable ({name}) and is skipped", INVALID, ed(), key_set=f"ed-beside-{name}",
            stricter="usable-key" if taken else None)
        if name in ("use-enc", "x-31-bytes", "crv-x25519"):
            add(f"beside-{name}", f"The Ed25519 key is not usable ({name}): the other one works", OK, token({"kid": "good"}, _key=OTHER),
                key_set=f"ed-beside-{name}")

    # The rest of the contract holds as it does for ES256.
    add("expired", "Expired", INVALID, ed(exp=NOW - 60))
    add("expired-late", "Expired within the skew", INVALID, ed(exp=NOW), row=12)
    add("zone", "Another zone", ZONE, ed(zone_id="zone-2"), row=4)
    add("scope", "A scope missing", SCOPE, ed(), row=5, config="eddsa-scope")
    add("scope-good", "The scope is there", OK, ed(scope="pay"), row=5, config="eddsa-scope")
    add("duplicate", "A member twice", INVALID, jws(header_json(alg="EdDSA", **KID), with_members(claims_json(), '"a":1,"a":1'), ED),
        stricter="duplicate-member")
    add("x-in-header", "A key of one's own in the header", INVALID, ed({"jwk": ED_OTHER.jwk("ed")}, key=ED_OTHER))
    add("raw-key-hs256", "HS256 is not allowed beside EdDSA", INVALID,
        f"{b64url(header_json(alg='HS256', **KID).encode())}.{p}.{b64url(bytes(32))}")
    return s
