"""X78: log lines for people, where people read them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from tests.kit.environment import ROOT, server_environment
from tests.kit.requests import CHAT
from tests.kit.upstream import Upstream, chat_answer
from tests.kit.waiting import soon

MAKES_A_LINE = "import django, logging; django.setup(); logging.getLogger('sluice').warning('told\\n\\x1b[31m')"


def test_a_request_is_one_line_for_people(start_sluice, upstream: Upstream):
    upstream.answers(chat_answer())
    server = start_sluice(LOG_FORMAT="text")
    answer = server.client(server.mint()).post("/v1/chat/completions", json=CHAT)
    identity = answer.headers["x-request-id"]
    soon(lambda: identity in server.log_text())
    [line] = [line for line in server.log_text().splitlines() if identity in line]
    assert re.match(r"\d\d:\d\d:\d\d 200 +POST /v1/chat/completions \S+ openai [\d.]+ ms req_", line), line


def test_auto_is_text_on_a_terminal_and_json_elsewhere(tmp_path: Path):
    env = server_environment(DATA_DIR=tmp_path, DJANGO_SETTINGS_MODULE="config.settings")
    command = [sys.executable, "-c", MAKES_A_LINE]
    elsewhere = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stderr
    assert '"message":"told\\n' in elsewhere
    ours, its = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run(command, cwd=ROOT, env=env, stderr=its, check=True)
        os.close(its)
        shown = terminal.read(4096).decode()
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING told  \[31m\r\n", shown), shown
