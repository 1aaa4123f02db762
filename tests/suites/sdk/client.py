"""Calls the edge with Caracal's published Python SDK, as an application would.

Reads one JSON object from standard input (addresses, zone, application, resource), runs the
parts that the arguments name, and prints one JSON object with what came of each. It prints no
token.
"""

import asyncio
import json
import sys
import time

import httpx
from caracalai import (
    Authority,
    Caracal,
    DelegationConstraints,
    ResourceBinding,
)
from caracalai_oauth import CaracalError, ExchangeOptions, OAuthClient
from caracalai_oauth.errors import raise_for_caracal_error
from caracalai_oauth.exchanger import decode_jwt_payload

SCENE = json.loads(sys.stdin.readline())
RESOURCE = SCENE["resource"]
READ = ["billing:read"]
LIFECYCLE = ["agent:lifecycle"]


def caracal():
    return Caracal.from_client_secret(
        coordinator_url=SCENE["sts"],
        sts_url=SCENE["sts"],
        zone_id=SCENE["zone"],
        application_id=SCENE["application"],
        client_secret=SCENE["secret"],
        resources=[ResourceBinding(RESOURCE, "https://billing.test")],
        gateway_url=SCENE["edge"],
    )


def said(error):
    """An exception, as far as an application goes by it."""
    if not isinstance(error, CaracalError):
        return {"class": type(error).__name__, "text": str(error)}
    return {
        "class": type(error).__name__,
        "code": error.code,
        "status": error.http_status,
        "description": error.description,
        "request_id": error.request_id,
        "retryable": error.is_retryable,
        "approval_id": getattr(error, "approval_id", None),
        "state": getattr(error, "state", None),
    }


def answer(response):
    """A response, and what the package for OAuth makes of it."""
    got = {
        "status": response.status_code,
        "request_id": response.headers.get("x-request-id"),
        "expires_in": response.headers.get("x-caracal-token-expires-in"),
    }
    try:
        raise_for_caracal_error(response)
        got["text"] = response.text
    except CaracalError as error:
        got["error"] = said(error)
    return got


async def attempt(work):
    """The result of some work, or what it raises."""
    try:
        return await work
    except Exception as error:
        return {"error": said(error)}


async def call(client, path, **more):
    return answer(await client.get(path, **more))


async def gateway():
    """Requests as an application sends them, through the SDK's own transports."""
    client = caracal()
    target = client.gateway_request(RESOURCE, "/invoices/7?b=2&a=1")
    got = {"target": {"url": target.url, "headers": target.headers}}
    sent = []

    async def note(request):
        sent.append(dict(request.headers))

    hooks = {"request": [note]}
    async with client.application_transport(RESOURCE, scopes=READ, event_hooks=hooks) as http:
        # Each request mints a mandate; both are good although the session is one.
        got["first"] = await call(http, target.url)
        got["second"] = await call(http, target.url)
        got["by_upstream"] = await call(http, "https://billing.test/by-upstream")
    bearers = [headers["authorization"] for headers in sent]
    got["different"] = len(set(bearers)) == len(bearers)
    got["baggage"] = sorted(
        member.split("=")[0] for member in sent[0].get("baggage", "").split(",") if member
    )
    async with httpx.AsyncClient() as http:
        again = {name: sent[0][name] for name in ("authorization", "x-caracal-resource")}
        got["replay"] = await call(http, target.url, headers=again)
        got["no_mandate"] = await call(http, target.url, headers=target.headers)
        other = {"X-Caracal-Resource": "resource://other"}
        other["Authorization"] = f"Bearer {await mandate()}"
        got["other_resource"] = await call(http, target.url, headers=other)
    with client.sync_application_transport(RESOURCE, scopes=READ) as http:
        got["sync"] = answer(http.get(target.url))
    async with client.application_transport(RESOURCE, scopes=["billing:write"]) as http:
        got["scope_of_the_edge"] = await call(http, target.url)
    got["scope_of_the_sts"] = await attempt(with_scopes(client, ["billing:delete"], target.url))
    async with client.application_transport("resource://second", scopes=READ) as http:
        got["second_resource"] = await call(http, SCENE["edge"] + "/x")
    await client.aclose()
    return got


async def mandate():
    """A mandate for the Gateway, of the package for OAuth alone."""
    oauth = OAuthClient(SCENE["sts"], SCENE["zone"], SCENE["application"])
    options = ExchangeOptions(
        client_secret=SCENE["secret"],
        session_id="agent-1",
        delegation_id="edge-1",
        scopes=READ,
        one_shot=True,
    )
    token = (await oauth.exchange("", RESOURCE, options)).access_token
    await oauth.aclose()
    return token


async def with_scopes(client, scopes, url):
    async with client.application_transport(RESOURCE, scopes=scopes) as http:
        return await call(http, url)


async def session():
    """A session, a narrower one in it, and what happens when they end or are revoked."""
    client, got = caracal(), {}
    narrow = Authority.narrow(
        READ, ttl_seconds=600, constraints=DelegationConstraints(resources=[RESOURCE])
    )
    async with client.session(task="outer"):
        got["without_delegation"] = await attempt(fetch(client, READ))
        async with client.session(authority=narrow, task="inner") as inner:
            got["delegated"] = await fetch(client, READ)
            got["beyond_the_delegation"] = await attempt(fetch(client, ["billing:write"]))
            unspent = client.mint_mandate(RESOURCE, READ)
            # Somebody revokes the session while it is at work.
            print(json.dumps({"session": inner.session_id}), flush=True)
            sys.stdin.readline()
            until = time.monotonic() + 20
            while time.monotonic() < until:
                got["revoked"] = await fetch(client, READ)
                if got["revoked"]["status"] != 200:
                    break
                await asyncio.sleep(0.05)
        async with client.session(authority=narrow, task="next"):
            ended = client.mint_mandate(RESOURCE, READ)
    async with httpx.AsyncClient() as http:
        for name, minted in (("unspent", unspent), ("ended", ended)):
            headers = {
                "authorization": f"Bearer {minted.token}",
                "x-caracal-resource": RESOURCE,
            }
            got[name] = await call(http, SCENE["edge"] + "/x", headers=headers)
    await client.aclose()
    return got


async def fetch(client, scopes):
    return answer(await client.fetch(RESOURCE, "/x", scopes=scopes))


async def oauth():
    """The exchanges of the package for OAuth, at the STS alone."""
    client = OAuthClient(SCENE["sts"], SCENE["zone"], SCENE["application"])
    secret = {"client_secret": SCENE["secret"]}
    delegated = {"session_id": "agent-1", "delegation_id": "edge-1", "scopes": READ, **secret}

    async def exchange(resource=RESOURCE, subject="", **options):
        token = await client.exchange(subject, resource, ExchangeOptions(**options))
        claims = decode_jwt_payload(token.access_token)
        kept = ("use", "aud", "target", "scope", "agent_session_id", "delegation_edge_id")
        return {
            "claims": {name: claims.get(name) for name in kept},
            "jti": claims["jti"],
            "expires_in": token.expires_in,
            "resources": token.target_resources,
        }

    got = {
        "gateway": await attempt(exchange(one_shot=True, **delegated)),
        "again": await attempt(exchange(one_shot=True, **delegated)),
        "session": await attempt(exchange(scopes=LIFECYCLE, **secret)),
        "cached": await attempt(exchange(scopes=LIFECYCLE, **secret)),
        "short": await attempt(exchange(one_shot=True, ttl_seconds=60, **delegated)),
        "subject": await attempt(exchange(subject="a.b.c", scopes=READ, **secret)),
        "wrong_secret": await attempt(exchange(scopes=LIFECYCLE, client_secret="wrong")),
        "two_resources": await attempt(
            exchange(resource=[RESOURCE, "resource://second"], scopes=LIFECYCLE, **secret)
        ),
        "unknown_resource": await attempt(
            exchange(resource="resource://other", scopes=LIFECYCLE, **secret)
        ),
        "federated": await attempt(client.federate_subject("a.b.c", **secret)),
    }
    await client.aclose()
    return got


async def not_served():
    """What the SDK can ask, and the development STS does not play."""
    client, got = caracal(), {}
    narrow = Authority.narrow(READ, ttl_seconds=600)

    async def inherited():
        async with client.session():
            async with client.session(authority=narrow):
                async with client.session():
                    return {}

    async def delegated_twice():
        async with client.session():
            async with client.session(authority=narrow):
                async with client.session(authority=narrow):
                    return {}

    async def accepted():
        async with client.session():
            async with client.accept_delegation("edge-1", validate=True):
                return {}

    async def leased():
        handle = await client.start_session()
        await handle.aclose()
        return {}

    async def in_thread(work, *arguments, **options):
        await asyncio.to_thread(work, *arguments, **options)
        return {}

    got["inherited"] = await attempt(inherited())
    got["delegated_twice"] = await attempt(delegated_twice())
    got["accepted"] = await attempt(accepted())
    got["leased"] = await attempt(leased())
    got["revoked_delegation"] = await attempt(client.revoke_delegation("edge-1"))
    got["federated"] = await attempt(in_thread(client.federate_subject, "a.b.c"))
    got["approval"] = await attempt(
        in_thread(client.wait_for_approval, "approval-1", timeout_seconds=2)
    )
    await client.aclose()
    return got


PARTS = {"gateway": gateway, "session": session, "oauth": oauth, "not_served": not_served}
print(json.dumps(asyncio.run(PARTS[sys.argv[1]]())))
