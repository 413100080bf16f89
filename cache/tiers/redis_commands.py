"""Commands to Redis from many requests over one connection, those of one moment in one script.

The connection takes one command at a time and costs a fifth of redis-py's CPU time, so what is asked while it is busy
goes together.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from typing import Any, NamedTuple, Protocol

from redis.exceptions import NoScriptError

from cache.tiers.circuit import Circuit, PartAway

SCRIPT = """
local own = {}
function own.CLAIM(key, value, px, entry)
  local stored = redis.call('GET', entry)
  if stored then return {1, stored} end
  if redis.call('SET', key, value, 'PX', px, 'NX') then return {0, value} end
  return {0, redis.call('GET', key)}
end
function own.RENEW(key, value, px)
  return redis.call('GET', key) == value and redis.call('PEXPIRE', key, px) or 0
end
function own.RELEASE(key, value)
  return redis.call('GET', key) == value and redis.call('DEL', key) or 0
end
local answers, at = {}, 1
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  local name, answer = ARGV[at + 1]
  if own[name] then
    answer = own[name](unpack(ARGV, at + 2, at + count))
  else
    answer = redis.call(unpack(ARGV, at + 1, at + count))
  end
  if type(answer) == 'table' and answer.ok then answer = answer.ok end
  answers[#answers + 1] = answer
  at = at + count + 1
end
return answers
"""
DIGEST = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

AT_ONCE, AT_ONCE_BYTES = 100, 4 * 1024 * 1024
"""Commands in one script, and their bytes."""

WAITING_BYTES = 32 * 1024 * 1024
"""Commands that wait. Beyond this they count as not answered."""

Argument = bytes | str | int


class Client(Protocol):
    """What is needed of `keys.limits.connection.Connection`; `redis.asyncio.Redis` has it too."""

    async def execute_command(self, *args: Any) -> Any: ...

    async def aclose(self) -> None: ...


class Command(NamedTuple):
    parts: tuple[Argument, ...]
    size: int
    answer: asyncio.Future[Any]


class RedisCommands:
    """All keys carry one hash tag, because a script's keys must be in one slot of a cluster."""

    def __init__(self, client: Client, circuit: Circuit, tag: str) -> None:
        self._client, self._circuit, self._tag = client, circuit, tag
        self._waiting: deque[Command] = deque()
        self._waiting_bytes = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_away(self) -> bool:
        return self._circuit.is_open

    def run(self, *parts: Argument) -> asyncio.Future[Any]:
        """Becomes the answer, in the order of the calls. Raises `PartAway` when it is awaited.

        Three commands are Sluice's own. `CLAIM key value ms entry`: [1, the entry] if that is there, else [0, the
        claim's value], which may be another's. `RENEW key value ms` and `RELEASE key value` do nothing to another's.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        future.add_done_callback(_retrieved)
        size = 100 + sum(len(part) for part in parts if not isinstance(part, int))
        if self._circuit.is_open or self._waiting_bytes + size > WAITING_BYTES:
            future.set_exception(PartAway())
            return future
        self._waiting.append(Command(parts, size, future))
        self._waiting_bytes += size
        if self._task is None:
            self._task = loop.create_task(self._run())
        return future

    async def close(self) -> None:
        """Send what waits, and close the connection."""
        if self._task is not None:
            await asyncio.wait({self._task})
        await self._client.aclose()

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._next()
                try:
                    answers = await self._circuit.ask(lambda: self._send(batch))  # noqa: B023
                except PartAway as error:
                    fail(batch, error)
                else:
                    for command, answer in zip(batch, answers, strict=True):
                        if not command.answer.done():
                            command.answer.set_result(answer)
        finally:
            self._task = None

    def _next(self) -> list[Command]:
        batch: list[Command] = []
        size = 0
        while self._waiting and len(batch) < AT_ONCE and size < AT_ONCE_BYTES:
            command = self._waiting.popleft()
            size += command.size
            batch.append(command)
        self._waiting_bytes -= size
        return batch

    async def _send(self, batch: list[Command]) -> Any:
        arguments: list[Argument] = []
        for command in batch:
            arguments.append(len(command.parts))
            arguments += command.parts
        try:
            return await self._client.execute_command("EVALSHA", DIGEST, 1, self._tag, *arguments)
        except NoScriptError:  # then nothing has run
            return await self._client.execute_command("EVAL", SCRIPT, 1, self._tag, *arguments)


def fail(batch: list[Command], error: PartAway) -> None:
    for command in batch:
        if not command.answer.done():
            command.answer.set_exception(PartAway(*error.args))


def _retrieved(future: asyncio.Future[Any]) -> None:
    """Whoever stores does not wait for the answer; that Redis is away is told by the circuit."""
    if not future.cancelled():
        future.exception()
