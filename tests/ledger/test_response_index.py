"""X32: who made a response is found by an index, also where nobody made it."""

from __future__ import annotations

import pytest
from django.db import connection

from proxy.build import rows_of_responses


@pytest.mark.django_db
def test_an_unknown_response_is_looked_for_in_an_index():
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # an empty table is read whole, whatever indexes it has
    plan = rows_of_responses(["resp_nobody"]).explain()
    assert "response" in plan
    assert "SCAN usage_requestrecord" not in plan
    assert "Seq Scan" not in plan
    if connection.vendor == "sqlite":
        assert "USING INDEX request_by_response" in plan
