"""The alias of an upstream credential, in keys and projects."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from keys.ports import UPSTREAM_ALIASES
from strict.names import unknown


class Aliased(models.Model):
    """A row that names the upstream credential for its requests. Another app has the credentials."""

    upstream_alias: Any

    class Meta:
        abstract = True

    def clean(self) -> None:
        super().clean()
        if self.upstream_alias and not self._is_alias_allowed():
            aliases = UPSTREAM_ALIASES()()
            raise ValidationError({"upstream_alias": unknown(self.upstream_alias, sorted(aliases), "credential")})

    def _is_alias_allowed(self) -> bool:
        """An alias that the row already has is allowed, so a row whose credential was deleted can still be changed."""
        if self.upstream_alias in UPSTREAM_ALIASES()():
            return True
        rows: Any = type(self)._default_manager
        return bool(rows.filter(pk=self.pk, upstream_alias=self.upstream_alias).exists())
