"""The one script that Redis runs. Its parts are in `lua/`, joined in the order of their numbers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

SOURCE = "\n".join(part.read_text() for part in sorted((Path(__file__).parent / "lua").glob("*.lua")))
DIGEST = hashlib.sha1(SOURCE.encode(), usedforsecurity=False).hexdigest()


class Client(Protocol):
    """What is needed of `redis.asyncio.Redis`; `RedisCluster` has it too."""

    async def execute_command(self, *args: Any) -> Any: ...


def connect(url: str) -> redis.asyncio.Redis:
    """A client without retries of its own: they would outlast the patience, and repeat what may have been decided."""
    return redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 0))


async def run(client: Client, keys: list[bytes], argument: bytes) -> bytes:
    """One round trip, or two when Redis does not have the script (any more)."""
    try:
        answer = await client.execute_command("EVALSHA", DIGEST, len(keys), *keys, argument)
    except NoScriptError:  # nothing has been run then
        answer = await client.execute_command("EVAL", SOURCE, len(keys), *keys, argument)
    assert isinstance(answer, bytes)
    return answer
