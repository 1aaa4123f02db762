"""Asks the oracle about every case and writes, or checks, the vectors. Started by run.py."""

import base64
import difflib
import importlib
import json
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import connector
from cases_revocation import STATE as REVOCATIONS
from configs import CONFIGS
from key_sets import KEY_SETS, content
from mint import AUDIENCE, ISSUER, NOW, ZONE
from model import RULES, Contradiction, judge

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
README = Path(__file__).resolve().parent.parent / "README.md"
MODULES = ("cases_authorization", "cases_header", "cases_json", "cases_signature", "cases_claims",
           "cases_times", "cases_authority", "cases_order", "cases_routes", "cases_keys", "cases_eddsa",
           "cases_revocation", "cases_resources")
CONNECTOR = "caracalai-asgi 1.0.0"
WITH_EDDSA = ("caracalai-asgi 1.0.0, in which PyJWT is told to take EdDSA as well where a configuration's "
              "`algorithms` has it (the connector itself refuses EdDSA), and reads a key's alg Ed25519 as EdDSA")
MINIMUM = 450


def suites() -> list:
    found = [importlib.import_module(name).suite() for name in MODULES]
    ids = Counter(case.id for suite in found for case in suite.cases)
    doubled = [id for id, count in ids.items() if count > 1]
    if doubled:
        raise SystemExit("ids used twice: %s" % doubled)
    return found


def ask(suite, case) -> tuple:
    key_set = dict(KEY_SETS[case.key_set], content=content(KEY_SETS[case.key_set]))
    drive = connector.ask_with_eddsa if suite.name == "eddsa" else connector.ask
    config = connector.of(CONFIGS[case.config], case.resource, case.method)
    return drive(config, key_set, case.request(), state_of(suite))


def state_of(suite) -> dict:
    """The revocation state that the cases of a file meet; empty where nothing is revoked."""
    return REVOCATIONS if suite.name == "revocation" else {}


def header_of(name: str, value: bytes):
    try:
        return [name, value.decode("ascii")]
    except UnicodeDecodeError:
        return {"name": name, "value_base64": base64.b64encode(value).decode()}


def verdict(pair: tuple) -> dict:
    return {"status": pair[0], "error": pair[1]}


def case_json(case) -> dict:
    request = case.request()
    request["headers"] = [header_of(*header) for header in request["headers"]]
    made = {
        "id": case.id, "row": case.row, "about": case.about, "config": case.config,
        "key_set": case.key_set, "request": request, "oracle": verdict(case.oracle),
        "expect": verdict(case.want), "stricter": case.stricter,
    }
    if case.resource:
        made["resource"] = case.resource
    if case.envoy:
        made["envoy"] = case.envoy
    return made


def lines(name: str, entries: list, brackets: str) -> list:
    """One member of the file, with one entry a line."""
    out = [f' "{name}": {brackets[0]}']
    out += ["  " + entry + ("," if number < len(entries) - 1 else "")
            for number, entry in enumerate(entries)]
    return out + [" " + brackets[1]]


def compact(value) -> str:
    return json.dumps(value, separators=(", ", ": "))


def named(table: dict, used: set) -> list:
    return [f"{json.dumps(name)}: {compact(table[name])}" for name in table if name in used]


def file_text(suite) -> str:
    top = {
        "format": 1, "oracle_of": WITH_EDDSA if suite.name == "eddsa" else CONNECTOR,
        "now": NOW, "issuer": ISSUER, "zone_id": ZONE, "audience": AUDIENCE,
    }
    if state_of(suite):
        top["revocation"] = state_of(suite)
    out = ["{"] + [f" {json.dumps(name)}: {compact(value)}," for name, value in top.items()]
    out += lines("configs", named(CONFIGS, {case.config for case in suite.cases}), "{}")
    out[-1] += ","
    out += lines("key_sets", named(KEY_SETS, {case.key_set for case in suite.cases}), "{}")
    out[-1] += ","
    out += lines("cases", [compact(case_json(case)) for case in suite.cases], "[]")
    return "\n".join(out + ["}"]) + "\n"


def documented() -> list:
    text = " ".join(README.read_text().split())
    return [name for name, words in RULES.items() if f"`{name}`" not in text or words not in text]


def answered() -> list:
    """All suites with every case answered; stops when a case contradicts the oracle."""
    found, wrong = suites(), []
    for suite in found:
        for case in suite.cases:
            try:
                judge(case, ask(suite, case))
            except Contradiction as problem:
                wrong.append(str(problem))
    wrong += ["README.md does not quote the rule %s" % name for name in documented()]
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        raise SystemExit(1)
    return found


def summary(found: list) -> bool:
    cases = [case for suite in found for case in suite.cases]
    refused = [case for case in cases if case.want[0] != 200]
    stricter = Counter(case.stricter for case in cases if case.stricter)
    for suite in found:
        bad = sum(case.want[0] != 200 for case in suite.cases)
        strict = sum(case.stricter is not None for case in suite.cases)
        print(f"{suite.name:14} {len(suite.cases):4} cases, {bad:4} refused, {strict:4} stricter")
    print(f"{'all':14} {len(cases):4} cases, {len(refused):4} refused, {sum(stricter.values()):4} stricter; "
          f"{len({(case.config, case.key_set) for case in cases})} pairs of configuration and key set")
    print("rows: " + ", ".join(f"{row} {count}" for row, count in sorted(
        Counter(case.row for case in cases).items(), key=lambda item: (item[0] == "-", item[0].zfill(3)))))
    print("stricter: " + ", ".join(f"{name} {stricter[name]}" for name in RULES))
    unused = [name for name in RULES if not stricter[name]]
    if unused:
        print("rules without a case: %s" % unused, file=sys.stderr)
    if len(cases) < MINIMUM or len(refused) * 2 < len(cases):
        print(f"expected at least {MINIMUM} cases, half of them refused", file=sys.stderr)
        return False
    return not unused


def compare(directory: Path) -> bool:
    """Whether `directory` holds the committed vectors, byte for byte; prints what differs."""
    same = True
    for name in sorted({file.name for place in (directory, VECTORS) for file in place.glob("*.json")}):
        old, new = VECTORS / name, directory / name
        before = old.read_bytes() if old.exists() else b""
        after = new.read_bytes() if new.exists() else b""
        if before == after:
            continue
        same = False
        print(f"differs: {name} ({len(before)} bytes committed, {len(after)} generated)")
        changes = difflib.unified_diff(before.decode().splitlines(), after.decode().splitlines(), n=0, lineterm="")
        for line in [line for line in changes if not line.startswith(("---", "+++", "@@"))][:10]:
            print("  " + line[:160])
    return same


def main() -> int:
    if version("caracalai-asgi") != "1.0.0":
        raise SystemExit("the oracle is caracalai-asgi 1.0.0")
    found = answered()
    texts = {f"{suite.name}.json": file_text(suite) for suite in found}
    complete = summary(found)
    if sys.argv[1] == "generate":
        VECTORS.mkdir(exist_ok=True)
        for old in VECTORS.glob("*.json"):
            if old.name not in texts:
                old.unlink()
        for name, text in texts.items():
            (VECTORS / name).write_text(text)
        return 0 if complete else 1
    with tempfile.TemporaryDirectory() as place:
        for name, text in texts.items():
            (Path(place) / name).write_text(text)
        same = compare(Path(place))
    print("the committed vectors are what the oracle says" if same else "the committed vectors are out of date")
    return 0 if same and complete else 1


if __name__ == "__main__":
    sys.exit(main())
