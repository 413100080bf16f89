"""`manage.py bench`: measure how fast an OpenAI-compatible API answers, and what Sluice adds."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError, CommandParser

from proxy.bench.load import load
from proxy.bench.table import table
from proxy.bench.tally import Tally, overhead
from proxy.bench.target import Target, WrongURL, chat

DEFAULT_SECONDS = 10.0
MOST_SECONDS = 300.0
"""With `--requests` and without `--seconds`, a measurement ends after this time."""
MOST_CONCURRENCY = 10_000
MOST_REQUESTS = 10_000_000
ROUNDS = 5
"""With `--direct`, the two are asked in turn, so that other load on the machine affects both."""


class Command(BaseCommand):
    help = "Measure an OpenAI-compatible API: throughput, latency, time to first token, and what a gateway adds."
    requires_system_checks = ()  # it measures other servers, and needs nothing of this installation

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", required=True, help="Base URL with its version prefix: http://127.0.0.1:8000/v1")
        parser.add_argument("--key", default="", help="Sent as a bearer token.")
        parser.add_argument("--model", default="simulator")
        parser.add_argument("--direct", metavar="URL", help="What --url is compared with, such as its provider.")
        parser.add_argument("--direct-key", default="", metavar="KEY")
        parser.add_argument("--concurrency", type=_whole(MOST_CONCURRENCY), default=64, metavar="N")
        parser.add_argument("--requests", type=_whole(MOST_REQUESTS), metavar="N", help="For each of the two.")
        parser.add_argument(
            "--seconds", type=_above_zero, metavar="S", help="For each of the two: 10, or with --requests at most 300."
        )
        parser.add_argument("--timeout", type=_above_zero, default=60.0, metavar="S", help="For one request.")
        parser.add_argument("--stream", action="store_true")
        parser.add_argument("--tokens", type=_whole(200_000), metavar="N", help="Length of an answer.")
        parser.add_argument(
            "--tokens-per-second", type=_above_zero, metavar="R", help="Of a simulator's stream; others take no orders."
        )
        parser.add_argument("--insecure", action="store_true", help="Take any TLS certificate.")
        parser.add_argument("--json", action="store_true", help="Print one JSON document and nothing else.")

    def handle(self, **options: Any) -> None:
        report = uvloop.run(measure(**_measure_arguments(options)))
        self.stdout.write(json.dumps(report, indent=2) if options["json"] else table(report))
        sides = [side for side in (report["through"], report["direct"]) if side]
        if any(side["failed"] or not side["requests"] for side in sides):
            sys.exit(1)


async def measure(
    *, url: str, target: Target, direct_url: str | None, direct: Target | None, model: str, **bounds: Any
) -> dict[str, Any]:
    """Ask one target, or both in turn. Returns the report for `--json`."""
    through, beside = Tally(), Tally()
    if direct is None:
        through = await load(target, **bounds)
    else:
        requests, seconds = bounds.pop("requests"), bounds.pop("seconds")
        rounds = min(ROUNDS, requests or ROUNDS)
        for turn in range(rounds):
            share = None if requests is None else requests * (turn + 1) // rounds - requests * turn // rounds
            through.add(await load(target, requests=share, seconds=seconds / rounds, **bounds))
            beside.add(await load(direct, requests=share, seconds=seconds / rounds, **bounds))
    one = through.summary()
    other = beside.summary() if direct else None
    return {
        "url": url,
        "direct_url": direct_url,
        "model": model,
        "stream": target.stream,
        "concurrency": bounds["concurrency"],
        "through": one,
        "direct": other,
        "overhead": overhead(one, other) if other else None,
    }


def _measure_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `measure`, from the command line."""
    body = chat(
        options["model"],
        stream=options["stream"],
        tokens=options["tokens"],
        tokens_per_second=options["tokens_per_second"],
    )
    verify = not options["insecure"]
    url, direct_url = options["url"], options["direct"]
    try:
        target = Target.of(url, body, key=options["key"], verify=verify)
        direct = Target.of(direct_url, body, key=options["direct_key"], verify=verify) if direct_url else None
    except WrongURL as error:
        raise CommandError(f"{error}.", returncode=2) from None
    return {
        "url": url,
        "target": target,
        "direct_url": direct_url,
        "direct": direct,
        "model": options["model"],
        "concurrency": options["concurrency"],
        "requests": options["requests"],
        "seconds": options["seconds"] or (MOST_SECONDS if options["requests"] else DEFAULT_SECONDS),
        "timeout": options["timeout"],
    }


def _whole(most: int) -> Any:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 0 < int(text) <= most):
            raise argparse.ArgumentTypeError(f"use a number from 1 to {most:,}")
        return int(text)

    return parse


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 86_400:
        raise argparse.ArgumentTypeError("use a number above 0, up to 86,400")
    return number
