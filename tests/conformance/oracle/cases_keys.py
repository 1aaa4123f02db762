"""Key sets: which keys are usable, how many are tried, and what happens without a set."""

from key_sets import FAMILY, UNAVAILABLE as BROKEN_SETS, UNUSABLE, USABLE
from keys import OTHER
from mint import token
from model import INVALID, OK, SCOPE, UNAVAILABLE, Suite

WITH_KID = token()  # signed by the key k1
GOOD = token({"kid": "good"}, _key=OTHER)


def usable(s: Suite) -> None:
    for name in USABLE:
        s.add(f"usable-{name}", 3, f"A key is usable although unusual: {name}", OK, WITH_KID, key_set=f"usable-{name}")
    s.add("set-extra-members", 3, "Unknown members of the set are ignored", OK, WITH_KID, key_set="set-extra-members")
    s.add("set-white-space", 3, "White space between the set's tokens", OK, WITH_KID, key_set="white-space")
    s.add("set-non-objects", 3, "Entries that are no objects are skipped", OK, WITH_KID, key_set="non-objects-beside")
    s.add("set-largest", 3, "A set of exactly 256 KiB", OK, WITH_KID, key_set="largest")
    s.add("second-key", 3, "The second key of the set", OK, token({"kid": "k2"}, _key=OTHER), key_set="one")


def unusable(s: Suite) -> None:
    for name, (_, taken) in UNUSABLE.items():
        rule = "usable-key" if taken else None
        s.add(f"skipped-{name}", 3, f"A key is not usable ({name}) and is skipped: its mandate is refused", INVALID, WITH_KID,
              key_set=f"beside-{name}", stricter=rule)
        s.add(f"beside-{name}", 3, f"A key is not usable ({name}) and is skipped: the other one works", OK, GOOD, key_set=f"beside-{name}")
    for name in ("use-enc", "private-half", "off-the-curve", "kid-absent", "x-31-bytes"):
        s.add(f"twin-{name}", 3, f"An unusable key ({name}) before a usable one under the same kid", OK, WITH_KID, key_set=f"twin-{name}")
    for name in ("use-enc", "private-half", "alg-absent", "off-the-curve", "crv-p384", "kid-absent", "x-31-bytes", "kty-okp"):
        s.add(f"only-{name}", "-", f"The only key is not usable ({name}): no key set", UNAVAILABLE, WITH_KID,
              key_set=f"only-{name}", stricter="key-set-unavailable")
    s.add("only-p384", "-", "The only key is one of P-384: no key set", UNAVAILABLE, WITH_KID, key_set="p384", stricter="key-set-unavailable")
    s.add("skipped-standard-alphabet", 3, "A coordinate in the standard alphabet, with a solidus: the key is skipped", INVALID,
          token({"kid": "k3"}, _key=OTHER), key_set="standard-alphabet-beside", stricter="usable-key")
    s.add("beside-standard-alphabet", 3, "A coordinate in the standard alphabet, with a solidus: the other key works", OK, WITH_KID,
          key_set="standard-alphabet-beside")


def several(s: Suite) -> None:
    for count in range(1, 6):
        for place in range(count):
            fifth = place == 4
            s.add(f"same-kid-{place + 1}-of-{count}", 3, f"Key {place + 1} of {count} under one kid", INVALID if fifth else OK,
                  token(_key=FAMILY[place]), key_set=f"same-kid-{count}", stricter="key-limits" if fifth else None)
    s.add("same-kid-none", 3, "None of four keys under one kid signed it", INVALID, token(_key=FAMILY[5]), key_set="same-kid-4")
    s.add("same-kid-claims", 5, "The second key under a kid signed it, and a scope is missing", SCOPE, token(_key=FAMILY[1]),
          key_set="same-kid-2", config="scope-pay")
    s.add("same-kid-expired", 3, "The first key under a kid signed it, and it is expired", INVALID, token(_key=FAMILY[0], exp=1),
          key_set="same-kid-2")
    s.add("same-kid-unusable-first", 3, "Four unusable keys under a kid do not count: the fifth is tried", OK, token(_key=FAMILY[4]),
          key_set="same-kid-unusable-first")
    s.add("same-kid-apart-1", 3, "Two keys under a kid, another between: the first", OK, token(_key=FAMILY[0]), key_set="same-kid-apart")
    s.add("same-kid-apart-2", 3, "Two keys under a kid, another between: the second", OK, token(_key=FAMILY[1]), key_set="same-kid-apart")
    s.add("same-kid-apart-other", 3, "Two keys under a kid, another between: that one", OK, token({"kid": "k2"}, _key=OTHER), key_set="same-kid-apart")
    s.add("same-key-twice", 3, "The same key twice", OK, WITH_KID, key_set="same-key-twice")
    s.add("crowd-64-last", 3, "The last of 64 keys", OK, WITH_KID, key_set="crowd-64")
    s.add("crowd-64-first", 3, "The first of 64 keys", OK, token({"kid": "crowd-01"}, _key=OTHER), key_set="crowd-64")
    s.add("crowd-65-last", 3, "The 65th of 65 keys is not kept", INVALID, WITH_KID, key_set="crowd-65", stricter="key-limits")
    s.add("crowd-65-64th", 3, "The 64th of 65 keys is kept", OK, token({"kid": "crowd-64"}, _key=OTHER), key_set="crowd-65")
    s.add("crowd-unusable", 3, "64 unusable keys do not count: the one after them is kept", OK, WITH_KID, key_set="crowd-unusable")


def unavailable(s: Suite) -> None:
    for name in BROKEN_SETS:
        s.add(f"unavailable-{name}", "-", f"The key set cannot be used: {name}", UNAVAILABLE, WITH_KID, key_set=name, stricter="key-set-unavailable")
    s.add("unavailable-unknown-kid", "-", "No key set: an unknown kid is not refused for itself", UNAVAILABLE, token({"kid": "k9"}),
          key_set="status-500", stricter="key-set-unavailable")
    s.add("unavailable-forged", "-", "No key set: a forged signature is not refused for itself", UNAVAILABLE, token(_key=OTHER),
          key_set="status-500", stricter="key-set-unavailable")
    s.add("unknown-kid", 3, "A key set without the kid", INVALID, token({"kid": "k9"}), key_set="one")


def suite() -> Suite:
    s = Suite("keys")
    for part in (usable, unusable, several, unavailable):
        part(s)
    return s
