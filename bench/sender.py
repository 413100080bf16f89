"""A provider that costs little CPU: it sends streams of small frames at any rate, and one plain answer.

`python -m bench.sender PORT`. The request's body has the options: `{"stream": true, "every_s": 0.02, "frames": 400}`.
With 0 seconds, frames are sent as fast as the reader takes them. Each frame is a chunk of its own, in a write of its
own, and contains the time of its writing by the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from typing import Any, cast

import httptools
import uvloop

from bench.servers import completion

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FRAME = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1760000000,"model":"gpt-4.1-mini",'
    b'"choices":[{"index":0,"delta":{"content":"%019d"},"logprobs":null,"finish_reason":null}]}\n\n'
)
SIZE = len(FRAME % 0)
CHUNK = b"%x\r\n%s\r\n" % (SIZE, FRAME)
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
ANSWER = completion(600).encode()
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)


class Fast:
    """Serves the streams without a rate: it sends one frame on each in turn, until their write buffers are full."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.ready: deque[Sender] = deque()
        self.is_running = False

    def add(self, sender: Sender) -> None:
        if sender.is_queued:
            return
        sender.is_queued = True
        self.ready.append(sender)
        if not self.is_running:
            self.is_running = True
            self.loop.call_soon(self.turn)

    def turn(self) -> None:
        ready = self.ready
        for _ in range(len(ready)):
            sender = ready.popleft()
            if sender.is_full or not sender.left:
                sender.is_queued = False  # `resume_writing` brings it back
                continue
            sender.send_frame()
            ready.append(sender)
        self.is_running = bool(ready)
        if ready:
            self.loop.call_soon(self.turn)


class Sender(asyncio.Protocol):
    def __init__(self, fast: Fast) -> None:
        self.loop = fast.loop
        self.fast = fast
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.is_full = False
        self.is_queued = False
        self.left = 0
        self.every_s = 0.0
        self.due = 0.0
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=4096)

    def connection_lost(self, exc: Exception | None) -> None:
        self.left = 0
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        options: dict[str, Any] = json.loads(self.body) if self.body else {}
        self.body = b""
        if not options.get("stream"):
            self.transport.write(PLAIN)
            return
        self.left = int(options.get("frames", 100))
        self.every_s = float(options.get("every_s", 0))
        self.transport.write(HEAD)
        if self.every_s:
            # Real streams are not in step with each other, so each begins at another moment.
            self.due = self.loop.time() + (id(self) // 64 % 997) / 997 * self.every_s
            self.timer = self.loop.call_at(self.due, self.tick)
        else:
            self.fast.add(self)

    def tick(self) -> None:
        self.send_frame()  # also to a slow reader: the delay of a frame that is not sent would not be measured
        self.due = max(self.due + self.every_s, self.loop.time())
        if self.left:
            self.timer = self.loop.call_at(self.due, self.tick)

    def send_frame(self) -> None:
        self.left -= 1
        self.transport.write(CHUNK % time.monotonic_ns())
        if not self.left:
            self.transport.write(DONE)

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        if self.left and not self.every_s:
            self.fast.add(self)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    fast = Fast(loop)
    server = await loop.create_server(lambda: Sender(fast), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
