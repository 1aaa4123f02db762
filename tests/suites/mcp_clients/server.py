"""An MCP server of the published Python package. Prints its port, and each call of a tool."""

import asyncio
import json
import socket

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("suite")


def told(tool):
    print(json.dumps({"called": tool}), flush=True)


@server.tool()
def search(q: str) -> str:
    told("search")
    return "found " + q


@server.tool()
def delete_all() -> str:
    told("delete_all")
    return "deleted"


@server.tool()
def unlisted() -> str:
    told("unlisted")
    return "unlisted"


@server.tool()
async def watch(ctx: Context) -> str:
    told("watch")
    await ctx.report_progress(1, 2, "begun")
    await anyio.sleep(120)
    return "the end"


async def main():
    own = socket.socket()
    own.bind(("127.0.0.1", 0))
    print(json.dumps({"port": own.getsockname()[1]}), flush=True)
    app = server.streamable_http_app()
    await uvicorn.Server(uvicorn.Config(app, log_level="critical")).serve(sockets=[own])


asyncio.run(main())
