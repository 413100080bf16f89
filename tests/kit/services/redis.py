"""A private Redis server that keeps nothing on disk."""

from __future__ import annotations

import signal
import subprocess

import redis

from tests.kit.services import packages, processes


class RedisServer:
    """A Redis server: `with RedisServer() as server:`. Each server under test gets its own, which a test may break."""

    def __init__(self) -> None:
        program = packages.find("redis-server")
        assert program, "packages.require() comes first"
        self.program = program
        self.port = processes.free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        """Start Redis without data, at the same port as before after `stop()`. Does nothing if it is running."""
        if self.process is not None:
            return self
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = processes.start([self.program, *options, "--loglevel", "warning"])
        if not processes.poll(self._answers, timeout=10):
            self.stop()
            raise RuntimeError("Redis did not start")
        return self

    def stop(self) -> None:
        """Kill Redis: connections break, and the data is lost."""
        if self.process is not None:
            processes.end(self.process, signal_number=signal.SIGKILL)
            self.process = None

    def freeze(self) -> None:
        """Stop the process: connections are still accepted, but nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"Redis ended at its start with code {self.process.returncode}")
        client = self.client()
        try:
            return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False
        finally:
            client.close()
