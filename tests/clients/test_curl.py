"""curl, as the README shows it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.kit.sluice import Sluice

BODY = json.dumps({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hi"}]})


def curl(*arguments: str) -> str:
    program = shutil.which("curl")
    assert program, "install curl"
    done = subprocess.run([program, "-sS", "--max-time", "20", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_plain(sluice: Sluice, key: str):
    answer = curl(
        f"{sluice.url}/v1/chat/completions", "-H", f"Authorization: Bearer {key}",
        "-H", "Content-Type: application/json", "-d", BODY,
    )  # fmt: skip
    assert json.loads(answer)["choices"][0]["message"]["content"] == "hi"


def test_stream(sluice: Sluice, key: str):
    body = json.dumps(json.loads(BODY) | {"stream": True})
    answer = curl(
        "-N", f"{sluice.url}/v1/chat/completions", "-H", f"X-API-Key: {key}",
        "-H", "Content-Type: application/json", "-d", body,
    )  # fmt: skip
    assert answer.endswith("data: [DONE]\n\n")


def test_expect_100_continue(sluice: Sluice, key: str, tmp_path: Path):
    """curl asks before it sends a large body."""
    large = tmp_path / "body.json"
    large.write_text(json.dumps(json.loads(BODY) | {"padding": "x" * 3_000_000}))
    answer = curl(
        f"{sluice.url}/v1/chat/completions", "-H", f"api-key: {key}", "-H", "Content-Type: application/json",
        "-H", "Expect: 100-continue", "--data-binary", f"@{large}",
    )  # fmt: skip
    assert json.loads(answer)["object"] == "chat.completion"


def test_refusal_is_readable(sluice: Sluice):
    answer = curl("-w", "%{http_code}", f"{sluice.url}/v1/chat/completions", "-d", BODY)
    assert answer.endswith("401")
    assert json.loads(answer.removesuffix("401"))["error"]["code"] == "missing_api_key"
