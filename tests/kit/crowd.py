"""Many requests at once, each on a connection of its own, so that any worker may get it.

They are written and read without an HTTP library, because libraries are too slow for so many.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.kit.requests import CHAT
from tests.kit.sluice import Sluice

AT_ONCE = 64
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Answer:
    """A whole answer. `began` and `ended` are `time.monotonic()`; the server decided about the request in between."""

    status: int
    headers: dict[str, str]
    body: bytes
    began: float
    ended: float

    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


async def ask(server: Sluice, key: str | None, *, patience_s: float = PATIENCE_S, **body: Any) -> Answer:
    """Ask for one chat completion. Raises `OSError`, `EOFError` or `TimeoutError` if no whole answer comes."""
    async with asyncio.timeout(patience_s):
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(request_bytes(key, body))
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            if "content-length" in headers:
                told = await reader.readexactly(int(headers["content-length"]))
            else:
                told = await read_chunks(reader)
        finally:
            writer.close()
    return Answer(int(lines[0].split()[1]), headers, told, began, time.monotonic())


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a body in chunked encoding. Raises `EOFError` if it breaks off."""
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    return b"".join(pieces)


def request_bytes(key: str | None, body: dict[str, Any]) -> bytes:
    """The bytes of a chat request. It asks the server to close the connection after the answer."""
    content = json.dumps({**CHAT, **body}).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: sluice",
        "connection: close",
        "content-type: application/json",
        f"content-length: {len(content)}",
        *([f"authorization: Bearer {key}"] if key else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


async def many(servers: Sequence[Sluice], keys: Sequence[str | None], count: int, **body: Any) -> list[Answer]:
    """Send `count` requests, up to `AT_ONCE` of them at a time, to the servers and with the keys in turn."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Answer:
        async with gate:
            return await ask(servers[number % len(servers)], keys[number // len(servers) % len(keys)], **body)

    return await asyncio.gather(*(one(number) for number in range(count)))


def at_once(servers: Sluice | Sequence[Sluice], key: str | None, count: int, **body: Any) -> list[Answer]:
    """As `many`, for a test that is no coroutine."""
    return asyncio.run(many([servers] if isinstance(servers, Sluice) else servers, [key], count, **body))


def statuses(answers: Iterable[Answer]) -> dict[int, int]:
    found: dict[int, int] = {}
    for answer in answers:
        found[answer.status] = found.get(answer.status, 0) + 1
    return found


def accepted(answers: Iterable[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.status == 200]
