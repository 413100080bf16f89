"""The first start of a new installation, and the second."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.kit import plain
from tests.kit.newcomer import start
from tests.kit.services import processes


def test_the_first_start_prints_a_curl_line_that_works_and_the_second_prints_no_secret(tmp_path: Path):
    data, log = tmp_path / "data", tmp_path / "log"
    process, url = start(data, log)
    try:
        told = log.read_text()
        [line] = re.findall(r"curl .*?\}'$", told.replace("\\\n", " "), re.DOTALL | re.MULTILINE)
        assert url in line
        answer = subprocess.run([*shlex.split(line), "-sS"], capture_output=True, text=True, check=True, timeout=20)
        assert '"object":"chat.completion"' in answer.stdout
        password = re.findall(r"password: (\S+)", told)[0]
        with plain.client(base_url=url) as browser:
            form_page = browser.get("/admin/login/")
            assert form_page.status_code == 200, form_page.text[:500]
            form = {"username": "admin", "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            assert browser.post("/admin/login/?next=/admin/", data=form).status_code == 302
    finally:
        assert processes.end(process, timeout=20) == 0
    assert (data / "secrets.env").stat().st_mode & 0o077 == 0

    process, _ = start(data, log)
    assert processes.end(process, timeout=20) == 0
    assert "sk-sluice-" not in log.read_text()
    assert password not in log.read_text()
