"""How the published Python package finds an authorization server when it has no token. Reads
what to do from standard input, one JSON object, and prints what it asked for."""

import asyncio
import json
import sys

import httpx2
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

TASK = json.loads(sys.stdin.readline())
ASKED = []


class Noted(httpx2.AsyncHTTPTransport):
    async def handle_async_request(self, request):
        response = await super().handle_async_request(request)
        ASKED.append([request.method, str(request.url), response.status_code])
        return response


class Nothing:
    """It is registered nowhere."""

    async def get_tokens(self):
        return None

    async def set_tokens(self, tokens):
        pass

    async def get_client_info(self):
        return None

    async def set_client_info(self, information):
        pass


async def main():
    metadata = OAuthClientMetadata(redirect_uris=["http://127.0.0.1/callback"], client_name="suite")
    auth = OAuthClientProvider(TASK["url"], metadata, Nothing())
    http = httpx2.AsyncClient(transport=Noted(), auth=auth, timeout=60)
    failed = None
    try:
        async with Client(streamable_http_client(TASK["url"], http_client=http)):
            pass
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        failed = "%s: %s" % (type(error).__name__, error)
    scope = auth.context.client_metadata.scope
    print(json.dumps({"asked": ASKED, "failed": failed, "scope": scope}), flush=True)


asyncio.run(main())
