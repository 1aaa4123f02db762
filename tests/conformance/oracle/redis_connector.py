"""Drives the published Redis connector (`caracalai-revocation-redis`) for the interoperation suite.

`consume URL [KEY]`   polls both streams once, with the connector's own groups
`mark URL ANCHOR`     revokes an anchor in the shared store
`epoch URL ZONE N`    raises a zone's epoch in the shared store
`ask URL ZONE ANCHOR...`  prints {"revoked": [...], "epoch": N} as the connector's store sees it
"""

import json
import sys

import redis
from caracalai_revocation_redis import (
    RedisDelegationInvalidationConsumer,
    RedisRevocationConsumer,
    RedisRevocationStore,
)


def main() -> int:
    command, url, *words = sys.argv[1:]
    client = redis.Redis.from_url(url)
    store = RedisRevocationStore(client)
    if command == "consume":
        key = bytes.fromhex(words[0]) if words else None
        handled = 0
        for consumer in (RedisRevocationConsumer, RedisDelegationInvalidationConsumer):
            one = consumer(client, store, "interop", block_ms=100, stream_hmac_key=key)
            one.ensure_group()
            handled += one.poll_once()
        print(json.dumps({"handled": handled}))
    elif command == "mark":
        store.mark_revoked(words[0])
        print("{}")
    elif command == "epoch":
        store.mark_delegation_epoch(words[0], int(words[1]))
        print("{}")
    elif command == "ask":
        zone, *anchors = words
        revoked = [anchor for anchor in anchors if store.is_revoked(anchor)]
        print(json.dumps({"revoked": revoked, "epoch": store.current_delegation_epoch(zone)}))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
