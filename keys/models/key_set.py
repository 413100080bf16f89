"""What is done with many keys at once, and how one is made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connections, models, transaction
from django.db.models import F, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from keys.changes import acted, changed
from keys.models.project import Project
from keys.models.refusals import Unmintable
from keys.tokens import hash_secret, new_salt, new_token, write_token

if TYPE_CHECKING:
    from keys.models.virtual_key import VirtualKey

STATUSES = ("active", "inactive", "expired", "revoked")
"""What `status_at` may say."""

IDS_IN_A_STATEMENT = 10_000
"""SQLite takes 32,766 parameters, PostgreSQL 65,535."""
NOTED_AT_ONCE = 1_000


class VirtualKeyQuerySet(models.QuerySet["VirtualKey"]):
    def with_status(self, status: str, now: datetime) -> VirtualKeyQuerySet:
        """Those of which `status_at(now)` says so."""
        if status == "revoked":
            return self.filter(revoked_at__isnull=False)
        kept = self.filter(revoked_at__isnull=True)
        inactive = Q(is_active=False) | Q(owner__is_active=False)
        if status == "inactive":
            return kept.filter(inactive)
        in_use, over = kept.exclude(inactive), Q(expires_at__isnull=False, expires_at__lte=now)
        return in_use.filter(over) if status == "expired" else in_use.exclude(over)

    def tagged(self, tag: str) -> VirtualKeyQuerySet:
        if connections[self.db].vendor != "sqlite":
            return self.filter(tags__contains=[tag])
        # Django offers no `contains` on SQLite's JSON.
        one = "EXISTS (SELECT 1 FROM json_each(keys_virtualkey.tags) WHERE json_each.value = %s)"
        return self.filter(RawSQL(one, [tag], output_field=models.BooleanField()))  # noqa: S611 - the tag is a parameter

    @transaction.atomic
    def revoke(self) -> int:
        """Revoke all of them for good. Returns how many were not revoked before."""
        now = timezone.now()
        # In one order: two who revoke many never wait for each other in a circle.
        kept = self.filter(revoked_at__isnull=True).order_by("pk").select_for_update(of=("self",), no_key=True)
        ids = list(kept.values_list("pk", flat=True))
        for start in range(0, len(ids), IDS_IN_A_STATEMENT):
            some = ids[start : start + IDS_IN_A_STATEMENT]
            self.model.objects.filter(pk__in=some).update(revoked_at=now, updated_at=now)
        changed.send(sender=self.model, ids=ids)
        acted.send(sender=self.model, action="revoke", ids=ids)
        return len(ids)

    def note_expiry(self, now: datetime) -> int:
        """Note of each key whose time is over that it is, once. Returns of how many that was not noted before.

        A key that got more time, and that is over as well, is noted again.
        """
        unnoted = Q(expiry_noted__isnull=True) | ~Q(expiry_noted=F("expires_at"))
        over = self.filter(unnoted, expires_at__lte=now, revoked_at__isnull=True)
        noted = 0
        while True:
            with transaction.atomic():
                found = dict(over.select_for_update().order_by("pk").values_list("pk", "expires_at")[:NOTED_AT_ONCE])
                if not found:
                    return noted
                self.model.objects.filter(pk__in=list(found)).update(expiry_noted=F("expires_at"))
                acted.send(sender=self.model, action="expire", ids=list(found))
                noted += len(found)

    def mint(self, *, name: str, project: Project | None = None, **fields: Any) -> tuple[VirtualKey, str]:
        """A new key and its token, which is told here and never again. What is left out gets the default.

        Raises `Unmintable` when the project is inactive and `ValidationError` when a field does not fit.
        """
        project = project or Project.default()
        if not project.is_active:
            raise Unmintable(f"Project {project.name!r} is inactive; activate it first.")
        token, salt = new_token(), new_salt()
        key = self.model(
            name=name,
            project=project,
            public_id=token.public_id,
            salt=salt,
            secret_hash=hash_secret(token.secret, salt),
            **{**default_limits(), **fields},
        )
        key.full_clean()
        key.save(force_insert=True)
        return key, write_token(token, settings.KEY_PREFIX)


def default_limits() -> dict[str, Any]:
    """What new keys get where nothing is said, from `KEY_DEFAULT_*`. None that is said means none."""
    days = settings.KEY_DEFAULT_EXPIRES_DAYS
    return {
        "rpm": settings.KEY_DEFAULT_RPM,
        "tpm": settings.KEY_DEFAULT_TPM,
        "budget": settings.KEY_DEFAULT_BUDGET,
        "expires_at": timezone.now() + timedelta(days=days) if days else None,
    }
