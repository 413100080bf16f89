"""The change feed: rows from which every process learns of a configuration change."""

from __future__ import annotations

from django.db import models


class ConfigChange(models.Model):
    """One changed row of the configuration. The newest id is the configuration's version.

    Rows are written in the transaction that makes the change, one transaction at a time (see `changes.py`). So once a
    reader has seen id n, no smaller id appears.
    """

    subject = models.CharField(max_length=32)
    object_id = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.id}: {self.subject} {self.object_id}"
