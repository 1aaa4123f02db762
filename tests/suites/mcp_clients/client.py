"""A client of the published Python package. Reads what to do from standard input, one JSON
object, and prints what came of it. When a call streams it says so, and goes on."""

import asyncio
import json
import sys

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

TASK = json.loads(sys.stdin.readline())
NEWEST = "2026-07-28"
STATUSES = []


class Spoken(httpx2.AsyncHTTPTransport):
    """Offers the version that is asked for. The package offers the newest that it knows."""

    async def handle_async_request(self, request):
        body = await request.aread()
        if b'"initialize"' in body:
            message = json.loads(body)
            message["params"]["protocolVersion"] = TASK["version"]
            headers = [(n, v) for n, v in request.headers.raw if n.lower() != b"content-length"]
            request = httpx2.Request(
                request.method, request.url, headers=headers,
                content=json.dumps(message).encode(), extensions=request.extensions,
            )
        response = await super().handle_async_request(request)
        STATUSES.append([request.method, response.status_code])
        return response


def say(**what):
    print(json.dumps(what), flush=True)


def words(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return "%s: %s" % (type(error).__name__, error)


async def attempt(call):
    """The text of a tool's result, or the error, with the statuses seen meanwhile."""
    del STATUSES[:]
    try:
        result = await asyncio.wait_for(call, 60)
        said = {"text": result.content[0].text, "is_error": result.is_error}
    except Exception as error:
        said = {"error": words(error)}
    return {**said, "statuses": [status for method, status in STATUSES if method == "POST"]}


async def progress(done, total, text):
    say(streaming=text)


async def main():
    headers = {"authorization": "Bearer " + TASK["token"]}
    http = httpx2.AsyncClient(transport=Spoken(), headers=headers, timeout=60)
    mode = NEWEST if TASK["version"] == NEWEST else "legacy"
    try:
        async with Client(streamable_http_client(TASK["url"], http_client=http), mode=mode) as client:
            tools = await client.list_tools()
            say(
                version=client.protocol_version,
                tools=sorted(tool.name for tool in tools.tools),
                search=await attempt(client.call_tool("search", {"q": "é"})),
                delete_all=await attempt(client.call_tool("delete_all", {})),
                unlisted=await attempt(client.call_tool("unlisted", {})),
            )
            if TASK.get("watch"):
                call = client.call_tool("watch", {}, progress_callback=progress)
                say(watch=await attempt(call))
    except Exception as error:
        say(failed=words(error), statuses=[status for _, status in STATUSES])


asyncio.run(main())
