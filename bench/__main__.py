"""Runs benchmarks: `python -m bench [NAME …] [--quick] [--json FILE]`. The names are those of `BENCHES`.

`make bench` runs all of them except `ledger`, which takes half an hour and twenty gigabytes, `scan`, which takes ten
minutes, `cache-rows`, which takes a minute and a half, and `against`, which compares this code with that of another
checkout (`--other DIR`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import machine
from bench.admission import admission
from bench.against import against
from bench.cache import cache
from bench.cache_rows import cache_rows
from bench.keys import keys
from bench.ledger import ledger
from bench.limits import limits
from bench.memory import growth, memory
from bench.relay import latency, relay
from bench.result import Result, table
from bench.scan import scan
from bench.servers import Servers, need_programs
from bench.spread import spreads
from bench.standstill import standstill
from bench.start import start
from bench.streams import streams
from bench.telling import telling
from bench.wrk import Failed
from tests.kit.services import Missing

BENCHES: dict[str, Callable[..., list[Result]]] = {
    "relay": relay,
    "latency": latency,
    "streams": streams,
    "memory": memory,
    "growth": growth,
    "start": start,
    "limits": limits,
    "admission": admission,
    "cache": cache,
    "telling": telling,
    "spread": spreads,
    "standstill": standstill,
    "keys": keys,
    "ledger": ledger,
    "cache-rows": cache_rows,
    "scan": scan,
    "against": against,
}
NAMED_ALONE = {"ledger", "cache-rows", "scan", "against"}
"""Benchmarks that run only if they are named: three take long, one needs another checkout."""
WITHOUT_PROGRAMS = {"ledger", "standstill"}
"""Benchmarks that need neither nginx nor wrk."""


def main() -> int:
    """The exit status: 0 if all was measured, even if numbers are not as wanted, because machines differ."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Sluice's benchmarks, on loopback.")
    parser.add_argument(
        "benches",
        nargs="*",
        metavar="bench",
        help=f"{', '.join(BENCHES)}; without a name all but ledger, cache-rows, scan, against",
    )
    parser.add_argument("--quick", action="store_true", help="under a minute, with rough numbers")
    parser.add_argument("--rows", type=int, default=0, metavar="N", help="of the ledger (10,000,000)")
    parser.add_argument("--other", type=Path, metavar="DIR", help="another checkout, which `against` compares")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.benches) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    if "against" in options.benches and not (options.other and (options.other / "manage.py").exists()):
        parser.error("against needs --other DIR, the directory of another checkout of Sluice")
    if sys.platform != "linux":
        parser.error("the benchmarks read /proc and pin processes to cores, which needs Linux")
    chosen = options.benches or [name for name in BENCHES if name not in NAMED_ALONE]
    try:
        if set(chosen) - WITHOUT_PROGRAMS:
            need_programs()
    except Missing as error:
        print(error, file=sys.stderr)
        return 3
    machine.settle_in()
    ground = machine.description()
    results: list[Result] = []
    more = {"ledger": {"rows": options.rows}, "against": {"other": options.other and options.other.resolve()}}
    failed = False
    for name in chosen:
        began = time.monotonic()
        try:
            with Servers() as servers:
                results += BENCHES[name](servers, quick=options.quick, **more.get(name, {}))
        except (Failed, RuntimeError) as error:
            failed = True
            print(f"{name}: {error}", file=sys.stderr)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(table(results))
    if options.json:
        document = {"quick": options.quick, "machine": ground, "results": [result.as_dict() for result in results]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
