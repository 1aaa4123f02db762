"""Drives the published connector (`caracalai-asgi`) with one request and reads its answer."""

import asyncio
import datetime
import json
import time
from unittest import mock
from urllib.parse import quote_plus, unquote

import caracalai_identity.verify as identity
import httpx
import jwt
import jwt.api_jwt
from caracalai_asgi import CaracalASGIAuth
from caracalai_identity import JwksCache
from caracalai_revocation import InMemoryRevocationStore

from mint import NOW

REQUIREMENTS = (
    "required_scopes", "required_targets", "required_use", "require_session",
    "require_delegation", "require_chain_contains", "max_hop_count", "routes", "exclude",
)
EDGE_ONLY = ("algorithms",)  # keys of the filter's configuration that the connector has not


def of(config: dict, resource: str, method: str) -> dict:
    """The configuration of a connector that protects one resource from one method."""
    flat = {name: value for name, value in config.items() if name != "resources"}
    if resource:
        own = config["resources"][resource]
        flat["audience"] = own.get("audience", resource)
        flat.update((name, value) for name, value in own.items() if name in REQUIREMENTS)
    if "routes" in flat:
        flat["routes"] = {prefix: of_method(route, method) for prefix, route in flat["routes"].items()}
    return flat


def of_method(route: dict, method: str) -> dict:
    own = {name: value for name, value in route.items() if name != "methods"}
    return {**own, **route.get("methods", {}).get(method, {})}


class FrozenDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW, tz)


class FakeTime:
    """`time.time` stands still; asyncio's monotonic clock does not."""

    def __enter__(self):
        self.patches = [
            mock.patch.object(time, "time", lambda: float(NOW)),
            mock.patch.object(jwt.api_jwt, "datetime", FrozenDatetime),
        ]
        for patch in self.patches:
            patch.start()

    def __exit__(self, *_):
        for patch in self.patches:
            patch.stop()


def scope_of(request: dict) -> dict:
    """The ASGI scope that uvicorn makes of a request: the path percent-decoded once."""
    raw_path, _, query = request["path"].encode().partition(b"?")
    headers = [(name.lower().encode(), value.strip(b" \t")) for name, value in request["headers"]]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request["method"],
        "scheme": "http",
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
    }


async def upstream(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def key_server(config: dict, key_set: dict) -> httpx.AsyncClient:
    """An HTTP client whose every answer is the case's key set."""
    expected = (config["issuer"].rstrip("/") + "/.well-known/jwks.json?zone_id="
                + quote_plus(config["zone_id"]))

    def answer(request: httpx.Request) -> httpx.Response:
        if str(request.url) != expected:
            raise SystemExit("the connector asked for %s, expected %s" % (request.url, expected))
        return httpx.Response(key_set["status"], content=key_set["content"])

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


def revocations(state: dict) -> InMemoryRevocationStore:
    """A store with the revoked anchors and the zones' epochs of a state in it."""
    store = InMemoryRevocationStore()
    for anchor in state.get("anchors", ()):
        store.mark_revoked(anchor)
    for zone, epoch in state.get("epochs", {}).items():
        store.mark_delegation_epoch(zone, epoch)
    return store


async def answer(config: dict, key_set: dict, request: dict, state: dict) -> tuple:
    known = ("issuer", "zone_id", "audience") + REQUIREMENTS + EDGE_ONLY
    if set(config) - set(known):
        raise SystemExit("the connector has no such option: %s" % (set(config) - set(known)))
    app = CaracalASGIAuth(
        upstream,
        issuer=config["issuer"],
        expected_zone_id=config["zone_id"],
        audience=config["audience"],
        revocations=revocations(state),
        **{name: config[name] for name in REQUIREMENTS if name in config},
    )
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    identity._cache = JwksCache(http_client=key_server(config, key_set))
    try:
        await app(scope_of(request), receive, send)
    except Exception:  # an ASGI server answers 500
        return 500, None
    status = sent[0]["status"]
    if status == 200:
        return 200, None
    return status, json.loads(sent[1]["body"])["error"]


def ask(config: dict, key_set: dict, request: dict, state: dict) -> tuple:
    """(status, error) of the connector: (200, None) is admitted, (500, None) an exception."""
    with FakeTime():
        return asyncio.run(answer(config, key_set, request, state))


class _PyJwkWithEd25519:
    """`PyJWK` for which a key's `alg` may be RFC 9864's name of the algorithm, Ed25519."""

    @staticmethod
    def from_json(text):
        key = json.loads(text)
        if key.get("kty") == "OKP" and key.get("alg") == "Ed25519":
            key["alg"] = "EdDSA"
        return jwt.PyJWK.from_dict(key)


class _JwtWithEdDsa:
    """The `jwt` module as the connector sees it, with a `decode` that allows EdDSA too."""

    PyJWK = _PyJwkWithEd25519

    def __getattr__(self, name):
        return getattr(jwt, name)

    @staticmethod
    def decode(token, key, algorithms, **rest):
        return jwt.decode(token, key, algorithms=[*algorithms, "EdDSA"], **rest)


def ask_with_eddsa(config: dict, key_set: dict, request: dict, state: dict) -> tuple:
    """As `ask`, but the signature is PyJWT's with EdDSA allowed where the configuration does."""
    if "EdDSA" not in config.get("algorithms", ()):
        return ask(config, key_set, request, state)
    with mock.patch.object(identity, "jwt", _JwtWithEdDsa()):
        return ask(config, key_set, request, state)
