"""Requests that are the same at the same time, and how they share a call to a provider."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx

from tests.kit.requests import CHAT, STREAM, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Chunk,
    EndChunks,
    Script,
    Upstream,
    WaitFor,
    chat_answer,
    chat_frames,
    chat_stream,
    stream_head,
    usage_of,
)
from tests.kit.waiting import soon
from tests.kit.wire import connect, request_bytes

Asking = Future[httpx.Response]


def under_way(sluice: Sluice) -> int:
    return int(sluice.metrics()["llm_proxy_active_requests"])


def all_ask(
    sluice: Sluice, upstream: Upstream, threads: ThreadPoolExecutor, key: str, count: int, **asked: Any
) -> list[Asking]:
    """Ask `count` times at once. Returns when the provider has one request and all others wait."""
    before = len(upstream.requests), under_way(sluice)
    first = threads.submit(ask, sluice, key, **asked)
    upstream.wait_for(before[0] + 1)
    others = [threads.submit(ask, sluice, key, **asked) for _ in range(count - 1)]
    soon(lambda: under_way(sluice) == before[1] + count)
    return [first, *others]


def answers_of(asking: list[Asking]) -> list[httpx.Response]:
    return [each.result(60) for each in asking]


def caches(answers: list[httpx.Response]) -> Counter[str]:
    return Counter(answer.headers["x-cache"] for answer in answers)


def leader_of(sluice: Sluice, key: str, asked: dict[str, Any], call: str = "leader") -> socket.socket:
    peer = connect(sluice)
    told = {"authorization": f"Bearer {key}", "x-correlation-id": call}
    peer.sendall(request_bytes(sluice, {**CHAT, **asked}, **told))
    return peer


Frames = Callable[[threading.Event], Script]
BEFORE_THE_HEAD: dict[str, tuple[dict[str, Any], Frames]] = {
    "plain": ({}, lambda go: [WaitFor(go), *chat_answer(usage=usage_of(1000, 500))]),
    "stream": (STREAM, lambda go: [WaitFor(go), *chat_stream(usage=usage_of(1000, 500))]),
    "in-a-stream": (
        STREAM,
        lambda go: [
            stream_head(),
            Chunk(chat_frames(usage=usage_of(1000, 500))[0]),
            WaitFor(go),
            *map(Chunk, chat_frames(usage=usage_of(1000, 500))[1:]),
            EndChunks(),
        ],
    ),
}
