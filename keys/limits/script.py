"""The script that Redis runs: the files in `lua/`, joined in the order of their numbers. In front of them are constants
for the indexes of a scope's fields: `L_RPM` is the index of its requests per minute.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

from redis.exceptions import NoScriptError

from keys.limits.operations import SPEC_FIELDS


def _places() -> str:
    names = ", ".join(f"L_{name.upper()}" for name in SPEC_FIELDS)
    return f"local {names} = {', '.join(str(place) for place, _ in enumerate(SPEC_FIELDS, 1))}"


PARTS = sorted((Path(__file__).parent / "lua").glob("*.lua"))
SOURCE = "\n".join([_places(), *(part.read_text() for part in PARTS)])
DIGEST = hashlib.sha1(SOURCE.encode(), usedforsecurity=False).hexdigest()


class Client(Protocol):
    """What is needed of `connection.Connection`; `redis.asyncio.Redis` and `RedisCluster` have it too."""

    async def execute_command(self, *args: Any) -> Any: ...


async def run(client: Client, keys: list[bytes], argument: bytes) -> bytes:
    """Run the script: one round trip, or two if Redis does not have the script (any more)."""
    try:
        answer = await client.execute_command("EVALSHA", DIGEST, len(keys), *keys, argument)
    except NoScriptError:  # then nothing has run
        answer = await client.execute_command("EVAL", SOURCE, len(keys), *keys, argument)
    assert isinstance(answer, bytes)
    return answer
