"""The model of captured bodies."""

from __future__ import annotations

from typing import Any

from django.db import models

from shown.bodies import readable


class RequestBodies(models.Model):
    """The bodies of one request. The id has no constraint, because the ledger's row may be written later."""

    id = models.CharField(max_length=40, primary_key=True, help_text="The request's.")
    created_at = models.DateTimeField(db_index=True, help_text="When the request came.")
    request = models.BinaryField(default=b"")
    request_type = models.CharField(max_length=100, blank=True, help_text="Its content type.")
    request_note = models.CharField(max_length=100, blank=True, help_text="Why not all of it is here.")
    answer = models.BinaryField(default=b"")
    answer_type = models.CharField(max_length=100, blank=True)
    answer_note = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name = "bodies of a request"
        verbose_name_plural = "bodies of requests"

    def __str__(self) -> str:
        return self.id

    def render(self, name: str) -> dict[str, Any]:
        """Return `request` or `answer` for people: as text if it is UTF-8, else in base64."""
        raw = bytes(getattr(self, name))
        return {
            "content_type": getattr(self, f"{name}_type"),
            "note": getattr(self, f"{name}_note"),
            **readable(raw, is_cut=bool(getattr(self, f"{name}_note"))),
        }
