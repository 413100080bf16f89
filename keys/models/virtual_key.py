"""Virtual keys, with which programs authenticate. The query set mints keys and changes many at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import connections, models, transaction
from django.db.models import F, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from keys.changes import acted, changed
from keys.models.alias import Aliased
from keys.models.announcing import announced
from keys.models.changing import Changing
from keys.models.limited import Limited
from keys.models.project import Project
from keys.models.refusals import AlreadyRevoked, Unmintable
from keys.models.team import Team
from keys.models.validators import validate_alias, validate_object, validate_patterns, validate_strings
from keys.tokens import hash_secret, mask_token, new_salt, new_token, write_token

STATUSES = ("active", "inactive", "expired", "revoked")
"""The values of `status_at`."""

IDS_IN_A_STATEMENT = 10_000
"""SQLite takes 32,766 parameters, PostgreSQL 65,535."""
EXPIRIES_AT_ONCE = 1_000
MOST_GRACE_S = 30 * 86_400
SECRET_FIELDS = (
    *("public_id", "salt", "secret_hash"),
    *("previous_public_id", "previous_salt", "previous_hash", "previous_until"),
)


class VirtualKeyQuerySet(models.QuerySet["VirtualKey"]):
    def with_status(self, status: str, now: datetime) -> VirtualKeyQuerySet:
        """The keys whose `status_at(now)` is this status."""
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
        # Rows are locked in one order, so that two revocations of many keys cannot wait for each other in a circle.
        kept = self.filter(revoked_at__isnull=True).order_by("pk").select_for_update(of=("self",), no_key=True)
        ids = list(kept.values_list("pk", flat=True))
        for start in range(0, len(ids), IDS_IN_A_STATEMENT):
            some = ids[start : start + IDS_IN_A_STATEMENT]
            self.model.objects.filter(pk__in=some).update(revoked_at=now, updated_at=now)
        changed.send(sender=self.model, ids=ids)
        acted.send(sender=self.model, action="revoke", ids=ids)
        return len(ids)

    def record_expiry(self, now: datetime) -> int:
        """Record expired keys for the audit log, once for each. Returns how many were recorded.

        A key whose expiry was moved, and that has expired again, is recorded again.
        """
        unrecorded = Q(expiry_noted__isnull=True) | ~Q(expiry_noted=F("expires_at"))
        over = self.filter(unrecorded, expires_at__lte=now, revoked_at__isnull=True)
        count = 0
        while True:
            with transaction.atomic():
                expiries = dict(
                    over.select_for_update().order_by("pk").values_list("pk", "expires_at")[:EXPIRIES_AT_ONCE]
                )
                if not expiries:
                    return count
                self.model.objects.filter(pk__in=list(expiries)).update(expiry_noted=F("expires_at"))
                acted.send(sender=self.model, action="expire", ids=list(expiries))
                count += len(expiries)

    def mint(self, *, name: str, project: Project | None = None, **fields: Any) -> tuple[VirtualKey, str]:
        """Make a new key. Returns it and its token, which is shown only here. Fields left out get the defaults.

        Raises `Unmintable` if the project is inactive, and `ValidationError` if a field is not valid.
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
    """The limits of new keys that name none, from `KEY_DEFAULT_*`. An explicit None means no limit."""
    days = settings.KEY_DEFAULT_EXPIRES_DAYS
    return {
        "rpm": settings.KEY_DEFAULT_RPM,
        "tpm": settings.KEY_DEFAULT_TPM,
        "budget": settings.KEY_DEFAULT_BUDGET,
        "expires_at": timezone.now() + timedelta(days=days) if days else None,
    }


@announced
class VirtualKey(Aliased, Limited, Changing):
    """A credential for programs. Its secret is stored only as a salted hash."""

    name = models.CharField(max_length=100)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="keys")
    # An owner or team with keys cannot be deleted: their limits would be deleted with them.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="virtual_keys"
    )
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.PROTECT, related_name="keys")
    public_id = models.CharField(max_length=16, unique=True, editable=False)
    salt = models.BinaryField(editable=False)
    secret_hash = models.BinaryField(editable=False)
    # The token before the last rotation, while its grace lasts.
    previous_public_id = models.CharField(max_length=16, unique=True, null=True, editable=False)
    previous_salt = models.BinaryField(null=True, editable=False)
    previous_hash = models.BinaryField(null=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    is_active = models.BooleanField(default=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    expiry_noted = models.DateTimeField(null=True, editable=False)
    """The value of `expires_at` for which the audit log has an entry."""
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_patterns],
        help_text='Names or globs, such as ["gpt-4.1-*"]. Empty: every model.',
    )
    upstream_alias = models.CharField(
        max_length=64,
        blank=True,
        validators=[validate_alias],
        help_text="Alias of the upstream credential its requests use. Blank: the project's, else the provider's.",
    )
    metadata = models.JSONField(default=dict, blank=True, validators=[validate_object])
    tags = models.JSONField(default=list, blank=True, validators=[validate_strings])
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    total_requests = models.PositiveBigIntegerField(default=0, editable=False)

    objects = VirtualKeyQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["expires_at"], condition=models.Q(expires_at__isnull=False), name="key_by_expiry"),
        ]
        constraints: ClassVar = [
            *Limited.Meta.constraints,
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=models.Q(revoked_at__isnull=True),  # the name of a revoked key can be used again
                name="key_name_unique_in_project",
                violation_error_message="This project has a key of that name already.",
                violation_error_code="duplicate_name",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def mask(self) -> str:
        return mask_token(self.public_id, settings.KEY_PREFIX)

    @property
    def status(self) -> str:
        return self.status_at(timezone.now())

    def status_at(self, now: datetime) -> str:
        """`revoked`, `inactive` (the key or its owner), `expired` or `active`: the first that applies. This is the
        reason for which its requests are refused.
        """
        if self.revoked_at is not None:
            return "revoked"
        if not self.is_active or (self.owner is not None and not self.owner.is_active):
            return "inactive"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def change(self, **fields: Any) -> None:
        """Set these settings and write no other column, so that concurrent writes (a revocation, its use) stay.

        Raises `ValidationError`, and `AlreadyRevoked` because a revoked key cannot be changed.
        """
        if self.revoked_at is not None:
            raise AlreadyRevoked(f"Key {self.name!r} is revoked, for good; mint another one.")
        super().change(**fields)

    def revoke(self) -> None:
        """Refuse it from now on. This cannot be undone."""
        VirtualKey.objects.filter(pk=self.pk).revoke()
        self.refresh_from_db()

    def rotate(self, grace_s: int = 0) -> str:
        """Give it a new public id and secret, and return the new token.

        The old token is refused at once, or after `grace_s` seconds. A token that an earlier rotation gave a grace is
        refused from now on. Raises `AlreadyRevoked`.
        """
        if self.revoked_at is not None:
            raise AlreadyRevoked(f"Key {self.name!r} is revoked, for good; mint another one.")
        if grace_s:
            self.previous_public_id, self.previous_salt, self.previous_hash = (
                self.public_id,
                self.salt,
                self.secret_hash,
            )
            self.previous_until = timezone.now() + timedelta(seconds=grace_s)
        else:
            self.previous_public_id = self.previous_salt = self.previous_hash = self.previous_until = None
        token, salt = new_token(), new_salt()
        self.public_id, self.salt, self.secret_hash = token.public_id, salt, hash_secret(token.secret, salt)
        self.save(update_fields=[*SECRET_FIELDS, "updated_at"])
        return write_token(token, settings.KEY_PREFIX)
