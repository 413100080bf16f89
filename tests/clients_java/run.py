"""`python -m tests.clients_java.run`: an upstream and a Sluice, then the JDK's HTTP client against them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream

PROGRAM = Path(__file__).parent / "Client.java"
ASKED = 12


def main() -> int:
    with Upstream() as upstream, Sluice.start(upstream_url=upstream.url) as sluice:
        env = {**os.environ, "SLUICE_URL": sluice.url, "SLUICE_KEY": sluice.mint()}
        done = subprocess.run(["java", str(PROGRAM)], env=env, capture_output=True, text=True, check=False)
        if done.returncode or len(upstream.whole()) != ASKED:
            print(done.stdout, done.stderr, sluice.log_text()[-4000:], sep="\n", file=sys.stderr)
            print(f"{len(upstream.whole())} of {ASKED} requests reached the provider whole", file=sys.stderr)
            return 1
        print("The JDK's HTTP client: all passed")
        return 0


if __name__ == "__main__":
    sys.exit(main())
