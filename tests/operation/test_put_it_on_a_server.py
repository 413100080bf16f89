"""X73: docs/put-it-on-a-server.md, followed from its first line to its last, with private services for the system's.

What only root can do on a real host (`sh system`: packages, users, certificates) is read by a shell and not run, but
for what it says to systemd about Sluice, which is done with the unit's own command. What `make install` would bring is
there already, and one worker serves, which starts in half the time.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.management import get_commands, load_command_class

from config import dotenv
from tests.kit import plain
from tests.kit.databases import drop_database, make_database
from tests.kit.environment import KEPT, ROOT, UPSTREAM_KEY
from tests.kit.services import SERVICES, RedisServer, Services, processes
from tests.kit.sluice import STOP_SECS
from tests.kit.upstream import Upstream

PAGE = (ROOT / "docs" / "put-it-on-a-server.md").read_text()
NAME = "sluice.example.org"
PLACEHOLDER = "sk-sluice-…"
GRACE_S = 30
"""As it is set without a word."""
LEFT_OUT = {"tests", "docs", "bench", "data", "node_modules", "__pycache__"}
PASSWORD, NEW_PASSWORD = "correct-horse-17", "battery-staple-18"
TYPED = {
    "read -rs DJANGO_SUPERUSER_PASSWORD": f"{PASSWORD}\n{UPSTREAM_KEY}\n",
    "changepassword": f"{NEW_PASSWORD}\n{NEW_PASSWORD}\n",
}
"""What people type, by what the block has that asks for it."""


class Block(NamedTuple):
    language: str
    is_for_root: bool
    text: str


def blocks_of(title: str) -> list[Block]:
    """Of the section that begins so."""
    [section] = [part for part in PAGE.split("\n## ")[1:] if part.startswith(title)]
    found = re.findall(r"^```(\w+)( system)?\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(found) * 2 == section.count("```")
    return [Block(language, bool(root), text) for language, root, text in found]


class Host:
    """A directory that stands for the host's root."""

    def __init__(self, root: Path, database_url: str, redis_url: str, upstream: Upstream, nginx: str) -> None:
        self.root = root
        self.port, self.tls_port = processes.free_port(), processes.free_port()
        self.token = ""
        self._nginx = nginx
        self._unit = configparser.ConfigParser(interpolation=None)
        self._unit.optionxform = str  # type: ignore[assignment,method-assign]
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._instead = {
            **{place: str(root / place[1:]) for place in ("/opt/sluice", "/var/lib/sluice", "/var/backups/sluice")},
            "postgres://sluice:PASSWORD@127.0.0.1:5432/sluice": database_url,
            "redis://127.0.0.1:6379/0": redis_url,
            "https://api.openai.com/v1": upstream.url,
            "127.0.0.1:8000": f"127.0.0.1:{self.port}",
            f"/etc/letsencrypt/live/{NAME}": str(root),
            "WORKERS=2": "WORKERS=1",
            "listen 443": f"listen 127.0.0.1:{self.tls_port}",
        }
        self.env = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.env |= {"HOME": str(root), "CURL_HOME": str(root), "PORT": str(self.port), "NO_PROXY": "*"}
        self._furnish()

    def _furnish(self) -> None:
        """What the blocks for root make there."""
        there = self.root / "opt" / "sluice"
        shutil.copytree(ROOT, there, ignore=lambda _, names: {name for name in names if is_left_out(name)})
        for place in ("var/lib/sluice", "var/backups/sluice"):
            (self.root / place).mkdir(parents=True, mode=0o700)
        (there / ".venv").mkdir()
        for path in Path(sys.prefix).iterdir():
            if not path.name.startswith(".installed"):
                (there / ".venv" / path.name).symlink_to(path)
        subprocess.run(["make", "--touch", "install"], cwd=there, check=True, capture_output=True)
        certify(self.root)
        curl = f'connect-to = "{NAME}:443:127.0.0.1:{self.tls_port}"\ncacert = "{self.root}/fullchain.pem"\n'
        (self.root / ".curlrc").write_text(curl)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def follow(self, title: str) -> list[str]:
        """Do what a section says. Returns what its commands wrote."""
        written = []
        for block in blocks_of(title):
            text = block.text
            for there, here in self._instead.items():
                text = text.replace(there, here)
            if block.language == "ini":
                self._read_unit(text)
            elif block.language == "nginx":
                (self.root / "nginx.conf").write_text(around(self.root, text))
            elif block.is_for_root:
                subprocess.run(["bash", "-n"], input=text, text=True, check=True)
                for verb, unit in re.findall(r"^systemctl (start|stop|restart|reload) (\w+)$", text, re.MULTILINE):
                    self._tell(verb, unit)
            else:
                written.append(self._run(text))
        return written

    def _run(self, text: str) -> str:
        typed = next((typed for asked, typed in TYPED.items() if asked in text), "")
        text = text.replace(PLACEHOLDER, self.token)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.root / "opt" / "sluice",
            env=self.env,
            input=typed,
            text=True,
            capture_output=True,
            check=False,
            start_new_session=True,  # no terminal: who asks for a password reads what was typed
            timeout=120,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}\n{self.log()}"
        if shown := re.findall(r"sk-sluice-\S{20,}", done.stdout):
            self.token = shown[-1]
        return done.stdout

    def _read_unit(self, text: str) -> None:
        assert all(not line.endswith("\\") for line in text.splitlines())
        self._unit.read_string(text)
        service = self._unit["Service"]
        assert float(service["TimeoutStopSec"]) >= GRACE_S + STOP_SECS
        assert Path(service["ReadWritePaths"]).is_dir()

    def _tell(self, verb: str, unit: str) -> None:
        if verb != "start" and unit in self._running:
            assert processes.end(self._running.pop(unit), timeout=GRACE_S + STOP_SECS) == 0
        if verb == "stop":
            return
        command: list[str] = [self._nginx, "-c", str(self.root / "nginx.conf"), "-e", str(self.root / "nginx.log")]
        directory = self.root
        if unit == "sluice":
            command = self._unit["Service"]["ExecStart"].split()
            directory = Path(self._unit["Service"]["WorkingDirectory"])
        with (self.root / f"{unit}.log").open("ab") as output:
            self._running[unit] = processes.start(command, env=self.env, cwd=directory, output=output)
        assert processes.poll(lambda: self._answers(unit), timeout=90), self.log()

    def _answers(self, unit: str) -> bool:
        assert self._running[unit].poll() is None, self.log()
        try:
            if unit == "sluice":
                return plain.get(f"{self.url}/ready").status_code == 200
            return plain.get(f"http://127.0.0.1:{self.tls_port}").status_code == 400  # TLS is wanted there
        except httpx.TransportError:
            return False

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in self.root.glob("*.log"))

    def close(self) -> None:
        for process in self._running.values():
            processes.end(process, timeout=GRACE_S + STOP_SECS)


def is_left_out(name: str) -> bool:
    return name in LEFT_OUT or name.startswith(".")


def around(directory: Path, server: str) -> str:
    """The rest of an nginx's configuration, which a package brings."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    head = f"daemon off; master_process off; pid {directory}/pid; error_log {directory}/nginx.log; events {{ }}"
    return f"{head}\nhttp {{ access_log off; {paths}\n{server}\n}}\n"


def certify(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture
def host(services: Services, upstream: Upstream, nginx: str, tmp_path: Path) -> Iterator[Host]:
    database_url, redis = make_database("postgres"), SERVICES.redis()
    redis_url = redis.url if isinstance(redis, RedisServer) else redis
    made = Host(tmp_path, database_url, redis_url, upstream, nginx)
    try:
        yield made
    finally:
        made.close()
        if isinstance(redis, RedisServer):
            redis.stop()
        drop_database(database_url)


def status_of(host: Host, token: str) -> int:
    return plain.get(f"{host.url}/v1/models", headers={"authorization": f"Bearer {token}"}).status_code


def minted(host: Host) -> str:
    """Through the API, with the token that the settings have made."""
    settings = dotenv.bindings((host.root / "opt" / "sluice" / ".env").read_text(), {})
    headers = {"authorization": f"Bearer {settings['MANAGEMENT_TOKEN']}"}
    made = plain.post(f"{host.url}/api/keys", headers=headers, json={"name": "younger"})
    assert made.status_code == httpx.codes.CREATED, made.text
    return str(made.json()["key"])


def signs_in(host: Host, password: str) -> bool:
    with plain.client(base_url=host.url) as browser:
        browser.get("/admin/login/")
        form = {"username": "admin", "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        return bool(browser.post("/admin/login/?next=/admin/", data=form).status_code == 302)


def test_the_page_leads_to_a_server_and_through_its_life(host: Host, upstream: Upstream):
    host.follow("1. ")
    host.follow("2. ")
    host.follow("3. ")
    assert '"object"' in host.follow("4. ")[-1]
    assert dict(upstream.requests[-1].headers)["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert '"object"' in host.follow("5. ")[-1]
    assert signs_in(host, PASSWORD)

    first = host.token
    host.follow("A password, token or key is lost")
    assert (signs_in(host, PASSWORD), signs_in(host, NEW_PASSWORD)) == (False, True)
    assert (status_of(host, first), status_of(host, host.token)) == (401, 200)

    host.follow("Back up")
    in_the_backup = host.token
    younger = minted(host)
    assert status_of(host, younger) == 200
    host.follow("Restore")
    assert (status_of(host, younger), status_of(host, in_the_backup)) == (401, 200)

    host.follow("Upgrade, and back")
    assert status_of(host, in_the_backup) == 200

    told = "\n".join(host.follow("Watch"))
    names = set(re.findall(r"llm_proxy_\w+", PAGE))
    assert {name for name in names if f"# TYPE {name.removesuffix('_total')}" not in told} == set()


def test_what_stands_in_the_tables_is_understood():
    """It is for when it is needed, and is not run."""
    lines = [shlex.split(line) for line in re.findall(r"`manage\.py ([^`]+)`", PAGE)]
    assert len(lines) >= 3
    for command, *arguments in lines:
        load_command_class(get_commands()[command], command).create_parser("manage.py", command).parse_args(arguments)
