"""How the settings of a row are changed."""

from __future__ import annotations

from typing import Any

from django.db import models


class Changing(models.Model):
    """A row whose settings people can change."""

    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True

    def change(self, **fields: Any) -> None:
        """Set these settings and write no other column, so that other writers' changes stay.

        Raises `ValidationError`.
        """
        for field, value in fields.items():
            setattr(self, field, value)
        self.full_clean()
        self.save(update_fields=[*fields, "updated_at"])
