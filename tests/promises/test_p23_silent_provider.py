"""P23: a provider that thinks for minutes before its first byte is waited for."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx

from tests.kit.clients import client_of, key_of
from tests.kit.environment import ROOT, server_environment
from tests.kit.requests import CHAT, STREAM
from tests.kit.sluice import StartSluice
from tests.kit.upstream import Received, Script, Upstream, Wait, after, chat_answer, chat_stream, stream_head

SILENCE_S = 8
ASKED_MINUTES_S = 180


def test_a_first_byte_may_take_as_long_as_the_setting_says(start_sluice: StartSluice, upstream: Upstream):
    """Nothing shorter is hidden anywhere: not before the head, not between it and the first frame, not while idle."""
    sluice = start_sluice(REQUEST_TIMEOUT_SECS=20, STREAM_IDLE_TIMEOUT_SECS=1, KEEP_ALIVE_SECS=1, HEADER_TIMEOUT_SECS=1)
    key_of(sluice)
    pause = Wait(SILENCE_S)
    silent: dict[str, Script] = {
        "no head, plain": [pause, *chat_answer()],
        "no head, streamed": [pause, *chat_stream()],
        "a head, streamed": [stream_head(), pause, *chat_stream()[1:]],
    }

    def answer(received: Received) -> Script:
        return silent.get(received.json()["model"], chat_answer())

    def ask(model: str) -> httpx.Response:
        body = CHAT if "plain" in model else STREAM
        with sluice.client(key_of(sluice)) as client:
            return client.post("/v1/chat/completions", json={**body, "model": model})

    upstream.script = answer
    with ThreadPoolExecutor(len(silent)) as callers:
        waiting = [callers.submit(ask, model) for model in silent]
        upstream.wait_for(len(silent))
        others = 0
        while any(not future.done() for future in waiting):
            assert client_of(sluice).post("/v1/chat/completions", json=CHAT).status_code == 200
            others += 1
        answers = [future.result() for future in waiting]
    assert others > 10
    assert [answer.status_code for answer in answers] == [200] * len(silent)
    assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers[1:])


def test_by_default_a_first_byte_may_take_minutes(tmp_path: Path):
    code = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        "from proxy.bounds import Bounds\n"
        "bounds = Bounds.from_settings(settings)\n"
        "print(bounds.first_byte_s, bounds.answer_s, bounds.idle_s)\n"
    )
    env = server_environment(DATA_DIR=tmp_path, DJANGO_SETTINGS_MODULE="config.settings")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    first_byte_s, answer_s, idle_s = map(float, done.stdout.split())
    assert min(first_byte_s, answer_s, idle_s) > ASKED_MINUTES_S
    assert answer_s == 600  # as the SDKs themselves wait


def test_a_provider_is_waited_for_while_it_still_gets_the_body(start_sluice: StartSluice, upstream: Upstream):
    """The time to the first byte begins when the provider has all of the request."""
    sluice = start_sluice(TTFT_TIMEOUT_SECS="0.7", REQUEST_TIMEOUT_SECS=20)
    sent = threading.Event()
    upstream.script = after(sent, chat_answer())

    def has(size: int) -> bool:
        return bool(upstream.requests) and len(upstream.last.body) == size

    def slow_body():
        for number in range(6):
            if number:
                upstream.wait_until(partial(has, number))
            threading.Event().wait(0.2)  # a slow client
            yield b"x"
        sent.set()

    answer = client_of(sluice).post("/v1/files", content=slow_body())
    assert answer.status_code == 200
    assert upstream.last.body == b"xxxxxx"
