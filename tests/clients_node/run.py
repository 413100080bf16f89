"""`python -m tests.clients_node.run`: an upstream and a Sluice, then Node's tests against them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kit.sluice import Sluice
from tests.kit.upstream import TOKENS, Received, Script, Upstream, chat_stream, default_answer

HERE = Path(__file__).parent


def answer(received: Received) -> Script:
    """As a provider would; the model `endless` streams until its reader goes."""
    if received.path.endswith("/chat/completions") and received.json().get("model") == "endless":
        return chat_stream(TOKENS * 1000, delay=0.02)
    return default_answer(received)


def install() -> int:
    """The pinned SDK, once."""
    if (HERE / "node_modules" / "openai").is_dir():
        return 0
    quiet = ["--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    return subprocess.run(["npm", "install", *quiet], cwd=HERE, check=False).returncode


def main() -> int:
    if code := install():
        print(f"npm install ended with {code}", file=sys.stderr)
        return code
    with Upstream() as upstream:
        upstream.script = answer
        with Sluice.start(upstream_url=upstream.url) as sluice:
            env = {**os.environ, "SLUICE_URL": sluice.url, "SLUICE_KEY": sluice.mint()}
            command = ["node", "--test", "--test-reporter=spec", "test.mjs"]
            done = subprocess.run(command, cwd=HERE, env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                print(done.stdout, done.stderr, sluice.log_text()[-4000:], sep="\n", file=sys.stderr)
                return done.returncode
            # The aborted stream must not go on upstream.
            endless = next(r for r in upstream.requests if b'"endless"' in r.body)
            if not endless.closed_by_peer.wait(2):
                print("the stream that the client aborted went on upstream", file=sys.stderr)
                return 1
            print("OpenAI's SDK for Node: all passed")
            return 0


if __name__ == "__main__":
    sys.exit(main())
