"""Starts the servers of a benchmark, all on loopback: nginx twice, the sender of streams, the sink, and Sluice.

They end with the `Servers` that started them, or with this process, however this process ends.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from string import Template
from typing import IO

import httpx

from bench import machine
from tests.kit.environment import ROOT, server_environment
from tests.kit.services import packages, processes

START_S = 30
RPM = 10_000_000
"""A limit that is counted but never reached: a key without a limit would skip the work."""
MODEL = "gpt-4.1-mini"
PROGRAM = ("manage.py",)
TEXT = "The gateway hands this answer on, byte for byte, and counts its tokens on the way. "

NGINX = Template("""
daemon off; master_process off; pid $directory/$name.pid; error_log $directory/$name.log crit;
worker_rlimit_nofile 20000;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 1000000000; default_type application/json;
  client_body_temp_path $directory/$name-body; proxy_temp_path $directory/$name-proxy;
  fastcgi_temp_path $directory/$name-fastcgi;
  uwsgi_temp_path $directory/$name-uwsgi; scgi_temp_path $directory/$name-scgi;
  $body
}
""")
ANSWERS = Template("server { listen 127.0.0.1:$port backlog=4096; location / { return 200 '$answer'; } }")
PASSES = Template("""
  upstream answers { server 127.0.0.1:$upstream; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:$port backlog=4096;
    location / { proxy_pass http://answers; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
""")


class Server:
    def __init__(self, process: subprocess.Popen[bytes], port: int, key: str = "") -> None:
        self.process = process
        self.port = port
        self.key = key

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """The CPU time of the server and its children, such as the ledger process."""
        return machine.cpu_seconds(self.pid)

    def exact_cpu_seconds(self) -> float:
        return machine.exact_cpu_seconds(self.pid)

    def memory(self) -> machine.Memory:
        return machine.memory(self.pid)


def need_programs() -> None:
    """Install nginx and wrk if they are missing, in the way of the tests. Raises `packages.Missing`."""
    packages.PACKAGES.update(nginx="nginx", wrk="wrk")
    packages.require(["nginx"])
    if packages.find("wrk") is None:
        try:
            packages.require(["wrk"])
        except packages.Missing:
            print("wrk is not here: the load comes from Python, which takes more of the other core.", file=sys.stderr)


class Servers:
    """Starts servers, and ends them at the end of the `with`. `root` is the checkout of which Sluice is started."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._stack = ExitStack()
        self.directory = processes.make_directory("bench")
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self._installation: tuple[Path, str] | None = None

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def nginx_answering(self) -> Server:
        """A provider that answers a chat completion of 600 bytes from memory."""
        port = processes.free_port()
        return self._nginx("upstream", port, ANSWERS.substitute(port=port, answer=completion(600)), machine.REST)

    def nginx_passing(self, upstream: Server) -> Server:
        port = processes.free_port()
        return self._nginx("proxy", port, PASSES.substitute(port=port, upstream=upstream.port), machine.TESTED)

    def sender(self) -> Server:
        """A provider that sends streams at any rate, and a plain answer (`bench/sender.py`)."""
        port = processes.free_port()
        server = self._start([sys.executable, "-m", "bench.sender", str(port)], port, machine.REST, "sender")
        _wait_for(server, "/v1/models")
        return server

    def simulator(self) -> Server:
        """The simulator, on the core of the providers. It sends a stream at once."""
        port = processes.free_port()
        command = [sys.executable, "manage.py", "simulator", "--port", str(port)]
        server = self._start(command, port, machine.REST, "simulator", self._environment(self.directory))
        _wait_for(server, "/v1/models")
        return server

    def sink(self) -> Server:
        """A provider that takes bodies of any size (`bench/sink.py`)."""
        port = processes.free_port()
        server = self._start([sys.executable, "-m", "bench.sink", str(port)], port, machine.REST, "sink")
        _wait_for(server, "/v1/models")
        return server

    def sluice(self, upstream: Server, program: Sequence[str] = PROGRAM, **settings: object) -> Server:
        """Start one worker with all that is on by default, and a key with a limit: ledger, metrics, request log."""
        template, key = self._installed()
        directory = self.directory / f"sluice-{processes.free_port()}"
        shutil.copytree(template, directory)
        server = self.sluice_in(directory, upstream, program, **settings)
        server.key = key
        return server

    def sluice_in(
        self, directory: Path, upstream: Server | None, program: Sequence[str] = PROGRAM, **settings: object
    ) -> Server:
        """Start one worker with this data directory, or with the database that the settings name."""
        port = processes.free_port()
        behind = {"OPENAI_BASE_URL": upstream.url, "OPENAI_API_KEY": "sk-bench"} if upstream else {}
        env = self._environment(directory, **behind, **settings)
        command = [sys.executable, *program, "serve", "--port", str(port), "--workers", "1"]
        server = self._start(command, port, machine.TESTED, "sluice", env)
        _wait_for(server, "/ready")
        return server

    def manage(self, directory: Path, *arguments: str, **settings: object) -> str:
        """Run a command of `manage.py` in this data directory. Returns what it printed."""
        return self._manage(self._environment(directory, **settings), *arguments)

    def end(self, server: Server) -> None:
        """End a server before the end of the `with`, to leave the core to the next one."""
        processes.end(server.process, timeout=30)

    def _installed(self) -> tuple[Path, str]:
        """A migrated data directory and the token of its one key, made once and copied."""
        if self._installation is None:
            directory = self.directory / "installation"
            directory.mkdir()
            env = self._environment(directory)
            self._manage(env, "migrate", "--verbosity", "0")
            minted = json.loads(self._manage(env, "keys", "mint", "--name", "bench", "--rpm", str(RPM), "--json"))
            self._installation = directory, minted["key"]
        return self._installation

    def _environment(self, directory: Path, **settings: object) -> dict[str, str]:
        return server_environment(DATA_DIR=directory, LOG_FILE=directory / "sluice.log", GRACE_SECS=2, **settings)

    def _nginx(self, name: str, port: int, body: str, cores: set[int]) -> Server:
        path = self.directory / f"{name}-{port}.conf"
        path.write_text(NGINX.substitute(directory=self.directory, name=f"{name}-{port}", body=body))
        command = [str(packages.find("nginx")), "-c", str(path), "-e", str(self.directory / f"{name}.log")]
        server = self._start(command, port, cores, name)
        _wait_for(server, "/")
        return server

    def _start(
        self, command: list[str], port: int, cores: set[int], name: str, env: dict[str, str] | None = None
    ) -> Server:
        output: IO[bytes] = self._stack.enter_context((self.directory / f"{name}-{port}.out").open("wb"))
        root = ROOT if env is None else self._root  # only Sluice has an environment; the rest belongs to the benchmark
        process = processes.start(command, env=env or server_environment(), cwd=root, output=output)
        self._stack.callback(processes.end, process, timeout=30)
        machine.pin(process.pid, cores)  # early enough: it has neither threads nor children yet, which inherit this
        return Server(process, port)

    def _manage(self, env: dict[str, str], *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self._root,
            env=env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"manage.py {arguments[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def completion(size: int) -> str:
    """A chat completion of exactly `size` bytes."""

    def encoded(text: str) -> str:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": 12, "completion_tokens": 60, "total_tokens": 72}
        head = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1_760_000_000, "model": MODEL}
        return json.dumps({**head, "choices": [choice], "usage": usage}, separators=(",", ":"))

    wanted = size - len(encoded(""))
    return encoded((TEXT * (wanted // len(TEXT) + 1))[:wanted])


def _wait_for(server: Server, path: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{server.port}{path}", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise RuntimeError(f"{server.process.args!r} did not start")
