from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from usage.ledger import partitions


@pytest.fixture
def weekly(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PostgreSQL, with no partition but the default one; afterwards as before. Waits for locks are short."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL alone has partitions; run with TEST_DATABASE=postgres")
    monkeypatch.setattr(partitions, "PAUSE_S", 0.01)
    before = partitions.partitions()
    for partition in before:
        partitions.drop(partition.name)
    yield
    for partition in partitions.partitions():
        partitions.drop(partition.name)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {partitions.TABLE}")
    for partition in before:
        partitions.make(partition)
