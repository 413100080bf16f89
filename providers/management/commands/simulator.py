"""`manage.py simulator`: the built-in provider as a server of its own."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers.simulator.server import BASE, Simulator
from providers.simulator.settings import problem_with

NUMBERS = {"tokens": int, "bytes": int, "delay_ms": float, "first_token_ms": float, "tokens_per_second": float}


class Command(BaseCommand):
    """Serves until SIGTERM or Ctrl-C. All options but host and port are defaults for the body's `simulate`."""

    help = "Serve a deterministic upstream that speaks OpenAI's API and fails on demand."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
        for name, kind in NUMBERS.items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
        parser.add_argument("--usage", help="openai, last, every, none or always")
        parser.add_argument("--fault", type=json.loads, help='JSON such as {"kind": "cut", "after": 40}')

    def handle(self, *args: Any, **options: Any) -> None:
        names = (*NUMBERS, "usage", "fault")
        defaults = {name: options[name] for name in names if options[name] is not None}
        if problem := problem_with(defaults):
            raise CommandError(problem)
        try:
            uvloop.run(serve(options["host"], options["port"], defaults, self.announce))
        except OSError as error:
            raise CommandError(f"Cannot listen on {options['host']}:{options['port']}: {error.strerror}") from None

    def announce(self, host: str, port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        self.stdout.write(f"simulator on http://{shown}:{port}{BASE}")
        self.stdout.flush()


async def serve(host: str, port: int, defaults: dict[str, Any], announce: Any) -> None:
    simulator = Simulator(defaults)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await simulator.listen(host, port)
    announce(host, server.sockets[0].getsockname()[1])
    await stop.wait()
    server.close()
    simulator.drop_connections()
