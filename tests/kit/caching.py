"""Questions for the response cache, and what its answers say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

import httpx

from tests.kit.management import minted, new_project
from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import MODEL, Received, Script, echo, responses_answer, responses_stream

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


def prompt() -> dict[str, Any]:
    """A question for the Responses API that nobody has asked before."""
    return {"input": f"What is {next(serial)}?"}


def respond(
    server: Sluice,
    key: str,
    rest: str = "",
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    **body: Any,
) -> httpx.Response:
    """Ask for a response, or with `rest` for something below it."""
    content = json.dumps({"model": MODEL, **body}).encode() if method == "POST" else None
    told = {"content-type": "application/json", **(headers or {})}
    return ask(server, key, path=f"/v1/responses{rest}", method=method, headers=told, content=content)


def make_response(received: Received) -> Script:
    """A response under a new id; what is asked of it afterwards is echoed."""
    if received.method != "POST" or not received.path.endswith("/responses"):
        return echo(received)
    make = responses_stream if received.json().get("stream") else responses_answer
    return make(model=received.json()["model"], response_id=f"resp_made{next(serial)}")


def id_in(answer: httpx.Response) -> str:
    """The id of a response, plain or streamed."""
    text = answer.text.rsplit("data: ", 1)[-1]
    document = json.loads(text)
    return str(document.get("response", document)["id"])
