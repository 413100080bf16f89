"""A real server under test, with its own process, database and data directory, and its own Redis if it has one."""

from __future__ import annotations

import json as jsonlib
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from openai import AsyncOpenAI, OpenAI
from prometheus_client.parser import text_string_to_metric_families

from tests.kit import plain
from tests.kit.databases import drop_database, make_database, query
from tests.kit.environment import MANAGEMENT_TOKEN, ROOT, UPSTREAM_KEY, server_environment
from tests.kit.services import SERVICES, RedisServer, processes

START_SECS = 90
STOP_SECS = 40
"""How long after its grace period a server may take to end: its ledger process has less of the CPU than all others."""
GRACE_SECS = 5
ALONE_AND_WITH_REDIS: dict[str, dict[str, Any]] = {"in the process": {}, "in Redis": {"redis": True}}
"""For `pytest.mark.server(each=ALONE_AND_WITH_REDIS)`: where the limits are."""
PORT_TAKEN = re.compile(r"address already in use|EADDRINUSE", re.IGNORECASE)


class Metrics(dict[str, float]):
    """Samples by their text, with sorted labels: `metrics['llm_proxy_requests_total{code="200"}']`."""

    @classmethod
    def parse(cls, text: str) -> Metrics:
        metrics = cls()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                metrics[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return metrics

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and these labels. They may have other labels too."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            value
            for written, value in self.items()
            if written.partition("{")[0] == name and all(pair in written for pair in wanted)
        )


class Sluice:
    """A server: `with Sluice.start(…) as server:`. `stop()` and `kill()` end it, and keep its state to look at."""

    def __init__(self, directory: Path, env: dict[str, str], options: list[str]) -> None:
        self.directory = directory
        self.env = env
        self.options = options
        self.database_url = env["DATABASE_URL"]
        self.redis_url = env["REDIS_URL"]
        self.redis: RedisServer | None = None
        """The server's own Redis, which a test may stop or freeze. None without Redis, or with `TEST_REDIS_URL`."""
        self.surface = env["SLUICE_SURFACE"]
        self.process: subprocess.Popen[bytes] | None = None
        self._log = directory / "log"
        self._held = ExitStack()

    @classmethod
    def start(
        cls,
        database: str = "sqlite",
        redis: bool | str = False,
        workers: int = 1,
        upstream_url: str | None = None,
        surface: str = "all",
        simulated: bool = False,
        **env: object,
    ) -> Sluice:
        """Start a server, and wait until it is ready. `simulated`: its provider is the built-in simulator.

        Give another server's `database_url` and `redis_url` as `database` and `redis` for two servers of one
        installation. `env` has settings: `REQUEST_TIMEOUT_SECS=2, VERIFY_SSL=False`. Raises `RuntimeError`.
        """
        with ExitStack() as held:
            directory = SERVICES.directory / f"server-{secrets.token_hex(4)}"
            directory.mkdir()
            held.callback(shutil.rmtree, directory, ignore_errors=True)
            url = database
            if "://" not in database:
                url = make_database(database)
                held.callback(drop_database, url)
            own_redis = SERVICES.redis() if redis is True else (redis or "")
            if isinstance(own_redis, RedisServer):
                held.callback(own_redis.stop)
            upstream = {"OPENAI_BASE_URL": upstream_url, "OPENAI_API_KEY": UPSTREAM_KEY} if upstream_url else {}
            settings: dict[str, object] = {
                "DATA_DIR": directory / "data",
                "TMPDIR": directory,  # so that temporary files of a killed server are removed with the directory
                "DATABASE_URL": url,
                "REDIS_URL": own_redis.url if isinstance(own_redis, RedisServer) else own_redis,
                "SLUICE_SURFACE": surface,
                "GRACE_SECS": GRACE_SECS,
                "LEDGER_NICENESS": 0,  # tests wait for rows, on machines that are busy with other tests
                **upstream,
                **env,
            }
            sluice = cls(directory, server_environment(**settings), ["--workers", str(workers), "--surface", surface])
            sluice.redis = own_redis if isinstance(own_redis, RedisServer) else None
            held.callback(sluice.kill)
            if simulated:
                sluice.manage("providers", "create", "--name", "simulator", "--kind", "simulator")
            sluice.launch()
            sluice._held = held.pop_all()
        return sluice

    def launch(self) -> None:
        """Start the process. After `stop()` or `kill()` it starts again with the same state and the same port."""
        for _ in range(3):
            self.port = getattr(self, "port", 0) or processes.free_port()
            with self._log.open("ab") as output:
                self.process = processes.start(self.command(), env=self.env, cwd=ROOT, output=output)
            deadline = time.monotonic() + START_SECS
            while self.process.poll() is None and time.monotonic() < deadline:
                if self._is_ready():
                    return
                time.sleep(0.02)
            code = self.process.poll()
            self.kill()
            if code is None or not PORT_TAKEN.search(self.log_text()):
                break
            self.port = 0
        how = f"was not ready within {START_SECS} s" if code is None else f"ended with {code}"
        raise RuntimeError(f"manage.py serve {how}. It wrote:\n{self.log_text()}")

    def command(self) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "manage.py", "serve", *address, *self.options]

    def stop(self, timeout: float | None = None) -> int:
        """Send SIGTERM, and wait for the end of the process. Returns its exit code."""
        assert self.process is not None
        return processes.end(self.process, timeout=timeout or float(self.env["GRACE_SECS"]) + STOP_SECS)

    def kill(self) -> None:
        """Send SIGKILL to the process and all its workers."""
        if self.process is not None:
            processes.sweep(self.process)
            self.process.wait(10)

    def close(self) -> None:
        """End the server, and remove its database and files."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.stop()
        finally:
            self._held.close()

    def __enter__(self) -> Sluice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what it can be asked ------------------------------------------------------------------------------
    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_text(self) -> str:
        """Everything that the server wrote to standard output and standard error."""
        return self._log.read_text(errors="replace")

    def manage(self, *args: str, json: bool = True, check: bool = True) -> Any:
        """Run `manage.py` in the server's environment. Returns the parsed output of `--json`, which is added.

        With `json=False` it returns the text; with `check=False` the finished process, whatever its exit code.
        """
        added = ["--json"] if json and "--json" not in args else []
        done = processes.run([sys.executable, "manage.py", *args, *added], cwd=ROOT, env=self.env)
        if not check:
            return done
        if done.returncode:
            raise RuntimeError(f"manage.py {' '.join(args)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return jsonlib.loads(done.stdout) if json else done.stdout

    def mint(self, name: str | None = None, **options: Any) -> str:
        """Create a key and return its token. `options` are fields of `POST /api/keys/`: `rpm=3, project=1`.

        A server with the surface `proxy` has no management API. `manage.py keys mint` creates the key then, and
        `options` are its flags: `rpm=3`, `expires_days=1`.
        """
        name = name or f"key-{secrets.token_hex(4)}"
        if self.surface != "proxy":
            answer = self.api("POST", "/api/keys/", json={"name": name, **options})
            if answer.status_code != httpx.codes.CREATED:
                raise RuntimeError(f"no key: {answer.status_code} {answer.text}\n{self.log_text()[-4000:]}")
            return str(answer.json()["key"])
        flags = [part for option, value in options.items() for part in (f"--{option.replace('_', '-')}", str(value))]
        return str(self.manage("keys", "mint", "--name", name, *flags)["key"])

    def api(self, method: str, path: str, json: Any = None, **options: Any) -> httpx.Response:
        """Call the management API, with its token."""
        headers = {"authorization": f"Bearer {MANAGEMENT_TOKEN}", **options.pop("headers", {})}
        return plain.request(method, self.url + path, json=json, headers=headers, **options)

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        """An HTTP client. It is closed with the server, if not before."""
        headers = {**({"authorization": f"Bearer {key}"} if key else {}), **options.pop("headers", {})}
        client = plain.client(base_url=self.url, headers=headers, **options)
        self._held.callback(client.close)
        return client

    def openai(self, key: str | None = None, **options: Any) -> OpenAI:
        """An OpenAI client. It is closed with the server, if not before."""
        client = OpenAI(api_key=key or "none", base_url=f"{self.url}/v1", **{"max_retries": 0, **options})
        self._held.callback(client.close)
        return client

    def async_openai(self, key: str | None = None, **options: Any) -> AsyncOpenAI:
        """An OpenAI client that the test closes: `async with sluice.async_openai(key) as client:`."""
        return AsyncOpenAI(api_key=key or "none", base_url=f"{self.url}/v1", **{"max_retries": 0, **options})

    def rows(self, expect: int | None = None, timeout: float = 20) -> list[dict[str, Any]]:
        """Wait until the ledger has `expect` rows or more. Returns all rows, the oldest first."""
        statement = "SELECT * FROM usage_requestrecord ORDER BY created_at, id"
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found[:] = query(self.database_url, statement)
            return len(found) >= (expect or 0)

        if not processes.poll(enough, timeout=timeout):
            raise AssertionError(f"{len(found)} rows after {timeout} s, not {expect}.\n{self.log_text()[-4000:]}")
        return [_typed(row) for row in found]

    def metrics(self) -> Metrics:
        answer = plain.get(f"{self.url}/metrics")
        answer.raise_for_status()
        return Metrics.parse(answer.text)

    def worker_pids(self) -> list[int]:
        """The processes that serve: the workers, or the server's own process if it has no workers."""
        assert self.process is not None
        # multiprocessing's resource tracker is a child too.
        commands = {child: told_of(child, "cmdline") for child in self._children("python")}
        return [child for child, command in commands.items() if "resource_tracker" not in command] or [self.process.pid]

    def ledger_pid(self) -> int:
        """The id of the ledger process."""
        found = processes.poll(lambda: self._children("sluice-ledger"), timeout=START_SECS)
        assert found, self.log_text()
        return int(found[0])

    def _children(self, name: str) -> list[int]:
        """The ids of the process's children whose names begin with this."""
        assert self.process is not None
        tasks = Path(f"/proc/{self.process.pid}/task")
        children = [
            int(child)
            for thread in tasks.glob("*")
            for child in told_of(self.process.pid, f"task/{thread.name}/children").split()
        ]
        return [child for child in children if told_of(child, "comm").startswith(name)]

    def _is_ready(self) -> bool:
        try:
            return plain.get(f"{self.url}/ready", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def told_of(pid: int, what: str) -> str:
    """The text of a file in `/proc` about a process; "" if it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the types that SQLite lacks, and with `cost_usd`."""
    if isinstance(row["created_at"], str):
        row["created_at"] = datetime.fromisoformat(row["created_at"]).replace(tzinfo=UTC)
    cost = row["cost_picousd"]
    row["cost_usd"] = None if cost is None else Decimal(cost).scaleb(-12)
    if isinstance(row["tags"], str):
        row["tags"] = jsonlib.loads(row["tags"])
    row["stream"] = bool(row["stream"])
    return row


StartSluice = Callable[..., Sluice]
