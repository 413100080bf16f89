"""A provider that drops bodies of any size, and answers with a chat completion, or with as many MiB of vectors as the
URL says.

`python -m bench.sink PORT`. The answer to `POST /v1/embeddings?answer_mib=40` has 40 MiB.
"""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop

from bench.servers import MODEL, completion

MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
VECTOR = b'{"object":"embedding","index":0,"embedding":[' + b",".join([b"-0.0123456789"] * 3072) + b"]}"


@lru_cache(maxsize=2)
def answer(mib: int) -> bytes:
    if not mib:
        return completion(600).encode()
    vectors = b",".join([VECTOR] * (mib * MIB // len(VECTOR)))
    usage = b'{"prompt_tokens":12,"total_tokens":12}'
    return b'{"object":"list","data":[%s],"model":"%s","usage":%s}' % (vectors, MODEL.encode(), usage)


class Sink(asyncio.Protocol):
    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_message_complete(self) -> None:
        sizes = parse_qs(urlsplit(self.url.decode()).query).get("answer_mib", ["0"])
        self.url = b""
        body = answer(int(sizes[0]))
        self.transport.write(HEAD % len(body) + body)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
