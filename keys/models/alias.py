"""Aliases of upstream credentials, as keys and projects name them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from keys.ports import UPSTREAM_ALIASES
from strict.names import unknown


class Aliased(models.Model):
    """Names the credential that its requests are paid with. Another app keeps those."""

    upstream_alias: Any

    class Meta:
        abstract = True

    def clean(self) -> None:
        super().clean()
        if self.upstream_alias and not self._is_known():
            known = UPSTREAM_ALIASES()()
            raise ValidationError({"upstream_alias": unknown(self.upstream_alias, sorted(known), "credential")})

    def _is_known(self) -> bool:
        """Also one that stood there before: whose credential was deleted may still be changed otherwise."""
        if self.upstream_alias in UPSTREAM_ALIASES()():
            return True
        rows: Any = type(self)._default_manager
        return bool(rows.filter(pk=self.pk, upstream_alias=self.upstream_alias).exists())
