"""A new installation: `manage.py run` in an empty data directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx

from tests.kit import plain
from tests.kit.environment import ROOT, server_environment
from tests.kit.services import processes


def start(data: Path, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = processes.free_port()
    env = server_environment(DATA_DIR=data, PORT=port, SECRET_KEY="", ENCRYPTION_KEY="")
    with log.open("wb") as output:
        process = processes.start([sys.executable, "manage.py", "run"], cwd=ROOT, env=env, output=output, fresh=True)
    url = f"http://127.0.0.1:{port}"
    assert processes.poll(lambda: ready(url), timeout=30)
    return process, url


def ready(url: str) -> bool:
    try:
        return plain.get(f"{url}/ready").status_code == 200
    except httpx.TransportError:
        return False
