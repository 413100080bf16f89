"""P1: whoever asks at once for more than is left gets no more than is left, on every scope and over all processes.

B is ten requests' cost. A request that names its largest output never passes B; one that names none may pass it by its
own cost, e. The rows, the totals, the API and the provider's own count agree to the last picodollar.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.accounts import new_crew
from tests.kit.fleet import fleet_of
from tests.kit.ledger import all_agree
from tests.kit.management import MODEL, set_price, usd
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.spending import BOUNDED, COST, OPEN, Books, post, until_exhausted
from tests.kit.upstream import Received, Script, Upstream, Wait, chat_answer, response_usage, responses_answer, usage_of
from tests.kit.waiting import let_a_second_pass, soon

BUDGET = 10 * COST
READING = "reading-model"
"""Its prompts cost as much as what it says."""
PARALLEL = 200
OWNED = ("key", "user", "team", "project")
Servers = list[Sluice]


class Dear(Books):
    """Each prompt is 5,984 tokens, and 16 are said: the second of them passes the budget."""

    each = BUDGET * 6 // 10

    def __call__(self, received: Received) -> Script:
        with self.lock:
            self.answered += 1
            self.owed += self.each
        read = self.each // 10**6 - 16
        if received.path.endswith("/responses"):
            return [Wait(self.takes_s), *responses_answer(usage=response_usage(read, 16))]
        return [Wait(self.takes_s), *chat_answer(usage=usage_of(read, 16))]


@pytest.fixture(scope="module")
def pair(services: Services, _upstream: Upstream) -> Iterator[Servers]:
    """Two instances of four workers each on one PostgreSQL and one Redis."""
    with fleet_of(_upstream) as fleet:
        set_price(fleet.first)
        yield fleet.servers


@pytest.fixture(scope="module")
def alone(sluice: Sluice) -> Servers:
    """One process on SQLite, without Redis."""
    set_price(sluice)
    set_price(sluice, READING, input="1")
    return [sluice]


@pytest.fixture(params=["alone", "pair"])
def servers(request: pytest.FixtureRequest) -> Servers:
    found: Servers = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("kind", OWNED)
def test_bounded_requests_spend_the_budget_and_not_a_picodollar_more(
    servers: Servers, upstream: Upstream, kind: str, stream: bool
):
    books = upstream.script = Books()
    budgets = {other: {"budget": usd(BUDGET if other == kind else 2 * BUDGET)} for other in OWNED}
    crew = new_crew(servers[0], **budgets)
    admitted = until_exhausted(servers, crew.token, first=PARALLEL, stream=stream, **BOUNDED)
    assert (admitted, books.answered, books.owed) == (10, 10, BUDGET)
    all_agree(servers[0], crew, books.owed, OWNED)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_requests_that_name_no_largest_output_pass_it_by_one_of_them_at_most(
    servers: Servers, upstream: Upstream, stream: bool
):
    """B is nine requests and a half."""
    books = upstream.script = Books()
    budget = BUDGET - COST // 2
    crew = new_crew(servers[0], **{kind: {"budget": usd(budget)} for kind in OWNED})
    until_exhausted(servers, crew.token, first=PARALLEL, stream=stream, **OPEN)
    assert budget <= books.owed < budget + COST
    all_agree(servers[0], crew, books.owed, OWNED)


def test_several_keys_of_one_project_share_its_budget(servers: Servers, upstream: Upstream):
    books = upstream.script = Books()
    crew = new_crew(servers[0], project={"budget": usd(BUDGET)})
    tokens = [crew.token, *(servers[0].mint(project=int(crew.ids["project"])) for _ in range(3))]
    for token in tokens:
        until_exhausted(servers, token, first=PARALLEL // 4, **BOUNDED)
    assert books.owed == BUDGET
    soon(lambda: crew.spent(servers[0], "project") >= BUDGET)
    assert crew.spent(servers[0], "project") == BUDGET


@pytest.mark.elapsed
def test_admission_counts_what_the_ledger_counts(servers: Servers, upstream: Upstream):
    """After all that ran together, exactly three more requests fit into a budget that is raised by three."""
    books = upstream.script = Books()
    crew = new_crew(servers[0], key={"budget": usd(100 * COST)})
    until_exhausted(servers, crew.token, first=PARALLEL, **BOUNDED)
    assert books.owed == 100 * COST
    all_agree(servers[0], crew, books.owed, ["key"])
    crew.limit(servers[0], "key", budget=usd(103 * COST))
    let_a_second_pass(time.monotonic())
    assert until_exhausted(servers, crew.token, first=PARALLEL, model=MODEL, max_tokens=1_000) == 3
    assert books.owed == 103 * COST


FIVEFOLD: dict[str, tuple[str, dict[str, Any]]] = {
    "choices": ("/v1/chat/completions", {"n": 5}),
    "the best of several": ("/v1/completions", {"best_of": 5}),
    "a list of prompts": ("/v1/completions", {"prompt": ["a", "b", "c", "d", "e"]}),
    "a list of prompts in tokens": ("/v1/completions", {"prompt": [[1, 2], [3], [4], [5], [6]]}),
    "choices for some prompts, the best of more": ("/v1/completions", {"prompt": ["a"], "n": 2, "best_of": 5}),
}


@pytest.mark.parametrize("what", FIVEFOLD)
def test_the_largest_output_is_that_of_all_answers_together(alone: Servers, upstream: Upstream, what: str):
    """Five answers of 200 tokens cost what one of a thousand does."""
    path, several = FIVEFOLD[what]
    books = upstream.script = Books()
    crew = new_crew(alone[0], key={"budget": usd(BUDGET)})
    asked = {"model": MODEL, "max_tokens": 200, "prompt": "a", **several}
    assert until_exhausted(alone, crew.token, first=40, path=path, **asked) == 10
    assert books.owed == BUDGET


def part(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, fields]}]}


UNSEEN: dict[str, tuple[str, dict[str, Any]]] = {
    "a picture": ("/v1/chat/completions", part(type="image_url", image_url={"url": "https://example.org/a.png"})),
    "speech": ("/v1/chat/completions", part(type="input_audio", input_audio={"data": "AAAA", "format": "wav"})),
    "a file": ("/v1/chat/completions", part(type="file", file={"file_data": "data:application/pdf;base64,AAAA"})),
    "a search": ("/v1/chat/completions", {"web_search_options": {}}),
    "what was said before": ("/v1/responses", {"input": "hi", "previous_response_id": "resp_upstream"}),
    "a tool that brings text": ("/v1/responses", {"input": "hi", "tools": [{"type": "web_search"}]}),
    "a text that is kept elsewhere": ("/v1/responses", {"prompt": {"id": "pmpt_1"}}),
    "five million letters": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a" * 5_000_000}]}),
}


@pytest.mark.parametrize("what", UNSEEN)
def test_a_request_whose_text_is_not_all_that_is_read_has_no_largest_cost(
    alone: Servers, upstream: Upstream, what: str
):
    """The provider reads 5,984 tokens that nobody here could see: such requests pass B by one of them at most."""
    path, unseen = UNSEEN[what]
    books = Dear()
    crew = new_crew(alone[0], key={"budget": usd(BUDGET)})
    if "previous_response_id" in unseen:
        maker = alone[0].mint(project=int(crew.ids["project"]))
        assert post(alone[0], maker, "/v1/responses", input="hi").status == 200
    upstream.script = books
    asked = {"model": READING, "max_tokens": 16, "max_output_tokens": 16, **unseen}
    until_exhausted(alone, crew.token, first=8, path=path, **asked)
    assert BUDGET <= books.owed < BUDGET + books.each
