"""F124: one JSON line a request, with its ids; no secret, no prompt that nobody asked for; one file for all workers."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from config.environment import ConfigurationError, Environment
from config.logs import SharedFile, check_log_file
from tests.kit.crowd import at_once, statuses
from tests.kit.environment import MANAGEMENT_TOKEN, ROOT, UPSTREAM_KEY
from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, error_answer
from tests.kit.waiting import soon

PROMPT = "prompt-canary-90ab"
ANSWER = "answer-canary-12cd"


def lines(server: Sluice) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log_text().splitlines()]


def of_requests(server: Sluice) -> list[dict[str, Any]]:
    return [line for line in lines(server) if line["logger"] == "sluice.requests"]


def test_every_line_is_json_and_every_request_has_one_with_its_ids(sluice: Sluice, upstream: Upstream):
    before = len(of_requests(sluice))
    key = sluice.mint()
    forged = 'x", "level": "error'
    answers = [
        ask(sluice, key, headers={"x-correlation-id": "job-7"}),
        ask(sluice, key, headers={"x-request-id": forged}),
        ask(sluice, key, stream=True),
        ask(sluice, "wrong"),
    ]
    soon(lambda: len(of_requests(sluice)) == before + 4)
    told = {line["id"]: line for line in of_requests(sluice)}
    for answer in answers:
        line = told[answer.headers["x-request-id"]]
        assert (line["status"], line["level"]) == (answer.status_code, "info")
        assert line["time"].endswith("+00:00")
    assert told[answers[0].headers["x-request-id"]]["correlation_id"] == "job-7"
    assert told[answers[1].headers["x-request-id"]]["correlation_id"] == forged
    assert all({"time", "level", "logger"} <= line.keys() for line in lines(sluice))


def play(server: Sluice, upstream: Upstream) -> str:
    """Requests of several outcomes, with a prompt, an answer and secrets in them. Returns the client's key."""
    key = server.mint()
    said = [{"role": "user", "content": f"{PROMPT} my key is {key} and sk-abcdefghijklmnop"}]
    upstream.answers(
        chat_answer(f"{ANSWER} {UPSTREAM_KEY}"), error_answer(500, f"{ANSWER} bad key {UPSTREAM_KEY}"), chat_answer()
    )
    assert ask(server, key, messages=said).status_code == 200
    assert ask(server, key, messages=said).status_code == 500
    assert ask(server, key, messages=said, padding="y" * 20_000).status_code == 200
    upstream.script = None
    assert ask(server, key, messages=said, stream=True).status_code == 200
    assert ask(server, "wrong", messages=said).status_code == 401
    soon(lambda: len(of_requests(server)) == 5)
    return key


def test_no_prompt_no_answer_and_no_secret_is_in_it(start_sluice: Callable[..., Sluice], upstream: Upstream):
    server = start_sluice(LOG_LEVEL="debug")
    key = play(server, upstream)
    for secret in (PROMPT, ANSWER, key, UPSTREAM_KEY, MANAGEMENT_TOKEN, "abcdefghijklmnop", "request_body"):
        assert secret not in server.log_text()


def test_no_token_that_stands_in_an_address_of_the_control_plane_is_in_it(sluice: Sluice):
    key = sluice.mint()
    prefix = key[: len("sk-sluice-") + 12]
    for path in (f"/v1/keys/{key}", f"/v1/keys/{prefix}", f"/v1/auth/{key}", f"/api/keys/{key}", f"/admin/{key}/"):
        assert ask(sluice, path=path, method="DELETE").status_code in (401, 403, 404)
    assert f"/v1/keys/{key[: len('sk-sluice-') + 4]}…" in sluice.log_text()
    assert prefix not in sluice.log_text()


def test_bodies_are_in_it_for_who_asks_bounded_and_without_keys(
    start_sluice: Callable[..., Sluice], upstream: Upstream
):
    server = start_sluice(LOG_BODIES=True, LOG_BODIES_MAX_BYTES=2000)
    key = play(server, upstream)
    whole, failed, long, streamed, refused = of_requests(server)
    assert PROMPT in whole["request_body"]
    assert ANSWER in whole["response_body"]
    assert ANSWER in failed["response_body"]
    assert 1_500 < len(long["request_body"]) <= 2_001  # what was taken out is not made up for
    assert long["request_body"][-1] == "…"
    assert "data: [DONE]" in streamed["response_body"]
    assert refused["request_body"] == ""  # it was not read: nobody knew who asked
    assert "invalid_api_key" in refused["response_body"]
    assert "[redacted]" in whole["request_body"]
    for secret in (key, UPSTREAM_KEY, MANAGEMENT_TOKEN, "abcdefghijklmnop"):
        assert secret not in server.log_text()


@pytest.mark.parametrize("length", [900, 1_000, 1_001, 5_095, 9_191, 9_192, 9_193, 90_000])
def test_no_half_of_a_key_is_left_where_a_body_is_cut(length: int):
    from usage.bodies.redact import Redaction
    from usage.bodies.show import RawBody, Showing

    key = b"sk-sluice-" + b"0123456789" * 4
    body = ((b"key=" + key + b" ") * 2_000)[:length]
    shown = Showing(Redaction("sk-sluice-"), list, 1_000).of(RawBody(bytearray(body), length, "text/plain", ""), [key])
    assert b"[redacted]" in shown.body
    assert b"0123" not in shown.body
    assert len(shown.body) <= 1_000


WRITER = """
import logging, sys
from config.logs import SharedFile
log = logging.getLogger("x")
log.addHandler(SharedFile(sys.argv[1], 4_000, 200))
for number in range(400):
    log.warning("%s-%d %s", sys.argv[2], number, "x" * (number % 90))
"""


def test_processes_rotate_one_file_together_and_lose_no_line(tmp_path: Path):
    path = tmp_path / "sub" / "sluice.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), f"writer{number}"], cwd=ROOT) for number in range(4)
    ]
    assert [writer.wait(50) for writer in writers] == [0] * 4
    files = list(path.parent.glob("sluice.log*"))
    found = [line.split()[0] for file in files for line in file.read_text().splitlines()]
    assert len(found) == len(set(found)) == 4 * 400
    assert len(files) > 10
    assert max(file.stat().st_size for file in files) <= 4_000
    assert {file.name for file in files} == {path.name, *(f"{path.name}.{number}" for number in range(1, len(files)))}


def test_the_oldest_files_go(tmp_path: Path):
    from usage.rotated_file import RotatedFile

    file = RotatedFile(tmp_path / "log", 100, 2)
    for number in range(10):
        file.append(f"{number} {'x' * 60}\n".encode())
    names = sorted(path.name for path in tmp_path.glob("log*"))
    assert [(tmp_path / name).read_text()[0] for name in names] == ["9", "8", "7"]


def test_workers_share_one_log_file(start_sluice: Callable[..., Sluice], upstream: Upstream, tmp_path: Path):
    path = tmp_path / "sluice.log"
    server = start_sluice(redis=True, workers=3, LOG_FILE=path, LOG_FILE_MAX_BYTES=8_000, LOG_FILE_BACKUPS=100)
    key = server.mint()
    with ThreadPoolExecutor(3) as pool:
        waves = list(pool.map(lambda _: at_once(server, key, 60), range(3)))
    ids = {answer.headers["x-request-id"] for wave in waves for answer in wave}
    assert all(statuses(wave) == {200: 60} for wave in waves)

    def logged() -> list[str]:
        written = [line for file in tmp_path.glob("sluice.log*") for line in file.read_text().splitlines()]
        return [line["id"] for line in map(json.loads, written) if line["logger"] == "sluice.requests"]

    server.stop()
    assert sorted(logged()) == sorted(ids)
    assert max(file.stat().st_size for file in tmp_path.glob("sluice.log*")) <= 8_000


@pytest.mark.parametrize(
    "text", ["a\n", "a\nb\n", "aaaa\nbb\ncccccc\n", "aaaaaaaaaaaaaaaaaaaa\nb\n", "\n\n\n\n\n\n\n\n\n"]
)
def test_lines_that_are_told_at_once_are_parted_where_they_would_not_fit_into_one_file(tmp_path: Path, text: str):
    handler = SharedFile(str(tmp_path / "log"), 8, 20)
    handler.emit(logging.makeLogRecord({"msg": text.removesuffix("\n")}))
    handler.emit(logging.makeLogRecord({"msg": "last"}))
    files = sorted(tmp_path.glob("log*"), key=lambda file: int(file.suffix[1:] or 0), reverse=True)
    written = [file.read_text() for file in files]
    assert "".join(written) == f"{text}last\n"
    assert all(len(part) <= 8 or part.count("\n") == 1 for part in written)


def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path):
    (tmp_path / "file").write_text("")
    env = Environment({})
    check_log_file(env, str(tmp_path / "file" / "sluice.log"))
    with pytest.raises(ConfigurationError, match=r"LOG_FILE: .* cannot be written"):
        env.finish()
