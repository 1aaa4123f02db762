"""Serves the published connector over HTTP, as a service that an edge asks.

`serve PORT CONFIGURATION KEY_SET`: on loopback with one uvicorn worker, for a configuration
and a key set in JSON. Behind the guard is an application that only answers 200. Nothing is
revoked, and keys and revocations are in memory: the connector at its fastest.
"""

import json
import sys

import caracalai_identity.verify as identity
import uvicorn
from caracalai_asgi import CaracalASGIAuth
from caracalai_identity import JwksCache

from connector import key_server, revocations


async def admitted(scope, receive, send):
    # With its length said: chunks would cost more.
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    port, config, key_set = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    answer = {"status": 200, "content": key_set.encode()}
    identity._cache = JwksCache(http_client=key_server(config, answer))
    app = CaracalASGIAuth(
        admitted,
        issuer=config["issuer"],
        expected_zone_id=config["zone_id"],
        audience=config["audience"],
        revocations=revocations({}),
    )
    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", lifespan="off",
                access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
