"""X92: servers of two versions run on one database while hosts are upgraded, so what the ledger writes only ever grows:
the version before must be able to go on writing its rows.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader

FIRST_WITH_THIS_RULE = "0013"
"""Migrations of `usage` from here on; those before were made before anything was released."""

REFUSED = (
    operations.RemoveField,
    operations.RenameField,
    operations.DeleteModel,
    operations.RenameModel,
    operations.AlterModelTable,
    operations.AddConstraint,
    operations.AlterUniqueTogether,
)
WRITTEN = frozenset(
    {"requestrecord", "scopetotal", "journalposition", "tagset"}
    | {f"{span}{kind}rollup" for span in ("hour", "day") for kind in ("", "model", "kind")}
)


def breaks_the_version_before(operation: Any) -> bool:
    if getattr(operation, "model_name", getattr(operation, "name", "")).lower() not in WRITTEN:
        return False
    if isinstance(operation, operations.AddField):
        return not (operation.field.null or operation.field.has_db_default())
    return isinstance(operation, REFUSED)


def test_the_version_before_can_go_on_writing() -> None:
    loader = MigrationLoader(None)
    for (app, name), migration in loader.disk_migrations.items():
        if app == "usage" and name >= FIRST_WITH_THIS_RULE:
            broken = [operation for operation in migration.operations if breaks_the_version_before(operation)]
            assert not broken, f"{name}: rows of the version before would wait until its hosts are upgraded: {broken}"


@pytest.mark.parametrize(
    "broken",
    [
        operations.RemoveField("RequestRecord", "model"),
        operations.RenameField("ScopeTotal", "requests", "count"),
        operations.DeleteModel("HourRollup"),
    ],
)
def test_the_rule_finds_what_breaks(broken: Any) -> None:
    assert breaks_the_version_before(broken)
