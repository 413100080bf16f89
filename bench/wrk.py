"""Puts load on one server: with wrk if it is installed, else with `proxy.bench`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import uvloop

from bench.servers import MODEL, Server
from proxy.bench.load import load
from proxy.bench.target import Target
from tests.kit.services import packages

SCRIPT = Path(__file__).with_name("post.lua")
SCAN = Path(__file__).with_name("scan.lua")
"""Sends another request each time: `SERIAL` in the body becomes a number."""
# It is sent without blanks, as the SDKs write it.
BODY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Say something of some length."}]}
QUESTION = {**BODY, "messages": [{"role": "user", "content": "What is SERIAL?"}]}
"""For `SCAN`."""

MARK = "RESULT "


class Failed(Exception):
    """Requests failed, so the benchmark did not measure what it should."""


def ask(
    server: Server, *, seconds: float, connections: int = 64, body: dict[str, Any] = BODY, script: Path = SCRIPT
) -> tuple[int, float]:
    """How many requests were answered, and in how many seconds. Raises `Failed`."""
    wrk = packages.find("wrk")
    if wrk is None:
        target = Target.of(server.url, body, key=server.key)
        tally = uvloop.run(load(target, concurrency=connections, seconds=seconds))
        if tally.failed:
            raise Failed(str(tally.errors))
        return tally.requests, tally.seconds
    command = [str(wrk), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    command += [f"{server.url}/chat/completions", "--", json.dumps(body, separators=(",", ":")), server.key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith(MARK)), "")
    if done.returncode or not line:
        raise Failed(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    report = json.loads(line.removeprefix(MARK))
    if report["failed"] or not report["requests"]:
        raise Failed(f"{report['failed']} of {report['requests']} requests failed")
    return int(report["requests"]), float(report["seconds"])
