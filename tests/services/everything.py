"""A run that starts all that tests start, tells which processes these are, and stays. `test_reaper.py` kills it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.kit.services import SERVICES, processes, reaper
from tests.kit.sluice import Sluice


def test_everything_runs(start_sluice: Callable[..., Sluice], chromium: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(SERVICES.directory))  # as the tests in a browser do
    server = start_sluice(database="postgres", redis=True, workers=2)
    server.mint()
    assert server.redis is not None
    server.redis.freeze()
    stubborn = processes.start(["sh", "-c", "trap '' TERM; setsid sleep 600; :"])
    if node := shutil.which("node"):
        subprocess.Popen([node, "-e", "setTimeout(() => {}, 600_000)"])
    with sync_playwright() as playwright:
        playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        processes.poll(lambda: stubborn.pid in {one.parent for one in reaper.processes()}, timeout=20)
        own = reaper.belonging(processes.run_name(), {processes.run_name()})
        told = {"run": processes.run_name(), "pids": sorted(own - {os.getpid()}), "directory": str(SERVICES.directory)}
        Path(os.environ["TOLD_TO"]).write_text(json.dumps(told))
        signal.pause()
