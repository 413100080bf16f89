"""Answers that break off, and a check of what row, totals and budget say after one."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.kit.accounts import Crew
from tests.kit.ledger import rows_of, totals_of
from tests.kit.sluice import Sluice
from tests.kit.spending import Got, post
from tests.kit.upstream import Action, Chunk, Head, Upstream, error_answer, frame, stream_head, usage_of
from tests.kit.upstream.answers import response_object
from tests.kit.waiting import soon

MODEL = "broken-model"
PRICE = {"input": "1", "output": "4"}
MESSAGES = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
STREAM = {**CHAT, "stream": True}
RESPONSES: dict[str, Any] = {"model": MODEL, "input": "hello", "stream": True}
CHAT_PATH, RESPONSES_PATH = "/v1/chat/completions", "/v1/responses"
PROMPT = -(-len(json.dumps(MESSAGES)) // 4)
"""The estimated prompt tokens of `CHAT`."""

PING = Chunk(b": still working\n\n")


def acts(*actions: Action) -> list[Action]:
    """A script. This helps the type checker where the actions have several types."""
    return list(actions)


def chunk(text: str | None, finish: str | None = None, **members: Any) -> Chunk:
    delta = {"role": "assistant", "content": ""} if text is None else {"content": text}
    return Chunk(frame({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **members}))


BEGUN: list[Action] = [stream_head(), chunk(None)]
HALF: list[Action] = [*BEGUN, *[chunk("abcd")] * 3]
COUNTED: list[Action] = [*BEGUN, *(chunk("abcd", usage=usage_of(20, n)) for n in (2, 4, 6))]
"""The stream of a provider that sends its counts with every chunk."""

JSON_HEAD = Head(200, {"content-type": "application/json", "content-length": "4000"})
EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": response_object("", model=MODEL, status="in_progress")},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "m"}},
    *({"type": "response.output_text.delta", "delta": "abcd"} for _ in range(3)),
]
HALF_RESPONSE: list[Action] = [stream_head(), *(Chunk(frame(event, event["type"])) for event in EVENTS)]

TOKENS_A_MINUTE = 100_000
LIMITS = {"budget": "1", "tpm": TOKENS_A_MINUTE}


class Charged(NamedTuple):
    """The tokens of prompt and completion, and the source of the counts."""

    prompt: int | None
    completion: int | None
    source: str

    @property
    def tokens(self) -> int:
        return (self.prompt or 0) + (self.completion or 0)

    @property
    def picousd(self) -> int:
        return (self.prompt or 0) * 1_000_000 + (self.completion or 0) * 4_000_000


NOTHING = Charged(None, None, "")


def estimated(prompt: int, completion: int) -> Charged:
    return Charged(prompt, completion, "estimated")


def check_charged(server: Sluice, upstream: Upstream, crew: Crew, charged: Charged, **expected: Any) -> None:
    """Check that the crew's one row says this, and that totals, budget and tokens per minute agree with it."""
    [row] = rows_of(server, crew, 1)
    assert {name: row[name] for name in expected} == expected
    assert Charged(row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == charged
    assert row["cost_picousd"] == charged.picousd
    totals = totals_of(server, crew)
    totals.pop("global")  # other tests spend from it too
    assert set(totals.values()) == {charged.picousd}
    assert crew.spent(server, "key") == charged.picousd
    # If the limits are in Redis, the settlement may arrive there a moment later than the row in the ledger.
    upstream.script = error_answer(400)
    soon(lambda: tokens_left(server, crew) == TOKENS_A_MINUTE - charged.tokens)


def tokens_left(server: Sluice, crew: Crew) -> int:
    """The tokens that are left in the key's minute, as the answer to a request says that the provider refuses."""
    refused: Got = post(server, crew.token, **CHAT, max_tokens=1)
    assert refused.status == 400, refused
    asked = -(-len(json.dumps(MESSAGES)) // 3) + 1
    return int(refused.headers["x-ratelimit-remaining-tokens"]) + asked
