"""X11: an event is cut and cleaned in one place, and a database takes whatever comes out of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.dialects.base import Usage
from proxy.dialects.counts import ProviderUsage, read_usage
from tests.kit.events import event, ids, written_ids
from usage.audit.entry import AuditEntry
from usage.audit.keep import keep
from usage.event import RequestEvent
from usage.journal.record import encode, read, sealed
from usage.ledger.write import COLUMNS, write_events
from usage.models import RequestRecord
from usage.writable import LONGEST, MOST_COUNTED, make_line_writable, make_writable

ODD = st.sampled_from(["", "a", "\0", "\ud800", "\udfff", "\ud83d\ude00", "\n", "\\N", "\t", "\x7f", "\u2028"])
TEXT = st.lists(ODD, max_size=5).map("".join) | st.text(st.characters(codec=None), max_size=300) | st.just("x\0" * 500)
COUNT = st.none() | st.integers(-(2**80), 2**80)
COUNTS = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cache_write_tokens",
    "audio_tokens",
)
CLIENTS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("method", "path", "model", "model_served", "correlation_id", "response_id"), TEXT),
    **dict.fromkeys(COUNTS, st.none() | st.integers(0, MOST_COUNTED)),
    "tags": st.lists(TEXT, max_size=3).map(tuple),
    "ip": st.none() | st.sampled_from(["127.0.0.1", "::1", "fe80::1%eth0", "unix:", "no address", "1.2.3.4\0"]),
}
"""What clients and providers choose; counts are bounded where an answer is read."""

ANY = {
    **CLIENTS,
    **dict.fromkeys(COUNTS, COUNT),
    **dict.fromkeys(("outcome", "provider", "credential", "error", "cache", "usage_source", "price_source"), TEXT),
    **dict.fromkeys(("status", "attempts", "request_bytes", "response_bytes"), st.integers(-(2**70), 2**70)),
    "cost_picousd": COUNT,
}
"""What a line of an older version may have been written with."""


def is_kept_as(changes: dict[str, Any], mended: RequestEvent) -> None:
    """A database takes its row; on the way there it goes through the journal."""
    assert read(sealed(encode(mended))[:-1]) == mended
    with transaction.atomic():
        write_events([mended])
        found = RequestRecord.objects.get(pk=mended.id)
        transaction.set_rollback(True)
    assert (found.endpoint, found.model, found.correlation_id) == (mended.path, mended.model, mended.correlation_id)
    assert tuple(found.tags) == mended.tags


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=st.fixed_dictionaries({}, optional=CLIENTS))
@pytest.mark.django_db(transaction=True)
def test_what_clients_and_providers_choose_is_writable(changes: dict[str, Any]):
    is_kept_as(changes, make_writable(event(**changes)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=st.fixed_dictionaries({}, optional=ANY))
@pytest.mark.django_db(transaction=True)
def test_a_line_of_an_older_version_is_writable(changes: dict[str, Any]):
    is_kept_as(changes, make_line_writable(event(**changes)))


@given(changes=st.fixed_dictionaries({}, optional=ANY))
def test_mending_twice_changes_nothing_more(changes: dict[str, Any]):
    once = make_line_writable(event(id="req_1", **changes))
    assert make_line_writable(msgspec.structs.replace(once)) == once


TOLD = st.dictionaries(
    st.sampled_from([name for name in ProviderUsage.__struct_fields__ if not name.endswith("_details")]), COUNT
)
DETAILS = st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "audio_tokens"]), COUNT)


@given(told=TOLD, of_prompt=DETAILS, of_completion=DETAILS, adds_up=st.booleans())
def test_what_a_provider_counts_is_bounded_where_it_is_read(
    told: dict[str, Any], of_prompt: dict[str, Any], of_completion: dict[str, Any], adds_up: bool
):
    document = {**told, "prompt_tokens_details": of_prompt, "completion_tokens_details": of_completion}
    if adds_up:
        document["total_tokens"] = (told.get("prompt_tokens") or 0) + (told.get("completion_tokens") or 0)
    usage = read_usage(json.dumps(document).encode())
    counts = [] if usage is None else [getattr(usage, name) for name in Usage.__struct_fields__ if name != "source"]
    assert all(count is None or 0 <= count <= MOST_COUNTED for count in counts)


def test_what_is_fit_stays_as_it_was():
    fit = event(
        path="/v1/files/" + "ü" * 190, model="a\tb\n😀", correlation_id="c" * 128, response_id="r" * 128,
        tags=("a\n", "b" * 1_000), ip="2001:db8::1", prompt_tokens=MOST_COUNTED, completion_tokens=0,
    )  # fmt: skip
    assert make_line_writable(msgspec.structs.replace(fit)) == fit


def test_it_knows_how_long_each_column_is():
    names = {"endpoint": "path"}
    longest = {
        names.get(field.name, field.name): field.max_length
        for field in RequestRecord._meta.fields
        if field.get_internal_type() == "CharField" and field.name != "id"
    }
    assert longest == LONGEST
    assert set(LONGEST) < {*COLUMNS, "path"}


@pytest.mark.django_db(transaction=True)
def test_many_counts_beyond_belief_have_a_sum():
    most = [make_line_writable(event(prompt_tokens=2**53 - 1, completion_tokens=2**80)) for _ in range(1_500)]
    write_events(most)
    assert written_ids() == ids(most)


@pytest.mark.django_db(transaction=True)
def test_an_audit_entry_of_any_address_is_kept():
    keep([AuditEntry(actor_kind="anonymous", action="a\0" * 200, target="t\ud800" * 500, code="c" * 500)])
    kept = AuditEntry.objects.get()
    assert (len(kept.action), len(kept.target), len(kept.code)) == (64, 200, 64)
    assert connection.is_usable()
