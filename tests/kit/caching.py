"""Questions for the response cache, and what its answers say of it."""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx

from tests.kit.management import minted, new_project
from tests.kit.sluice import Sluice

OPT_IN = {"cache-control": "max-age=60"}
serial = count()


def question() -> dict[str, Any]:
    """One that nobody has asked before."""
    return {"messages": [{"role": "user", "content": f"What is {next(serial)}?"}]}


def cache_of(answer: httpx.Response) -> str:
    """What `X-Cache` of a good answer says."""
    assert answer.status_code == 200, answer.text
    return answer.headers["x-cache"]


def key_of_project(sluice: Sluice, **project: Any) -> str:
    """A key of a new project whose policy is `on`."""
    return minted(sluice, project=new_project(sluice, **{"cache_policy": "on", **project}))[1]
