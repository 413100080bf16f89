"""The models of providers, of upstream credentials, and of the providers' health."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models

from providers.changes import changed
from providers.kinds import KINDS
from providers.vault import Undecryptable, decrypt, encrypt

UNDECRYPTABLE_MASK = "(cannot be decrypted)"
MASKS = ("…", "•", "...", "***", UNDECRYPTABLE_MASK)
LONGEST_SECRET = 4096
DEFAULT_ALIAS = "default"

alias_validator = RegexValidator(
    r"^[a-z0-9_.-]+\Z", "Write the alias in lower-case letters, digits, dots, dashes and underscores."
)


def validate_base_url(value: str) -> None:
    """Accept an absolute http(s) URL without credential, query and fragment. Local addresses are allowed.

    Raises `ValidationError`.
    """
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise ValidationError(f"This is not a URL: {error}.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValidationError("Write a URL with its version prefix, such as https://api.openai.com/v1.")
    if parts.username or parts.password:
        raise ValidationError("Keep the credential out of the URL; store it as a credential.")
    if parts.query or parts.fragment or any(c.isspace() or not c.isascii() for c in value):
        raise ValidationError("The URL takes no query, fragment, spaces or non-ASCII characters.")


def validate_models(value: Any) -> None:
    """Accept an object from client-side name (or glob) to the provider's name. A blank value means the same name.

    Raises `ValidationError`.
    """
    if not isinstance(value, dict) or not all(
        isinstance(client, str) and client.strip() and isinstance(upstream, str) for client, upstream in value.items()
    ):
        raise ValidationError('Write an object such as {"fast": "gpt-4.1-mini", "gpt-4*": ""}.')


def validate_secret(value: str) -> None:
    """Accept a secret that a header can carry, and refuse a mask that was copied from a page.

    Raises `ValidationError`.
    """
    if any(mark in value for mark in MASKS) or not value.strip("*.xX "):
        raise ValidationError("This is a mask, not a secret; leave it out to keep the stored one.", code="masked")
    if not (value.isascii() and value.isprintable()):
        raise ValidationError("Write the secret in printable ASCII characters.", code="unprintable")
    if value != value.strip():
        raise ValidationError("The secret begins or ends with a space.", code="spaces")
    if len(value) > LONGEST_SECRET:
        raise ValidationError(f"The secret is longer than {LONGEST_SECRET} characters.", code="too_long")


class Credential(models.Model):
    """An upstream credential: a secret with an alias. If it is bound to a provider, it is sent to that one alone."""

    alias = models.CharField(max_length=64, validators=[alias_validator])
    provider = models.ForeignKey(
        "Provider",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="credentials",
        help_text="Blank: any provider that asks for this alias.",
    )
    encrypted = models.TextField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["alias"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["alias", "provider"],
                name="credential_alias_unique_at_provider",
                violation_error_message="This provider has a credential of that alias already.",
                violation_error_code="duplicate_alias",
            ),
            models.UniqueConstraint(
                fields=["alias"],
                condition=models.Q(provider__isnull=True),
                name="credential_alias_unique",
                violation_error_message="A credential of that alias exists already.",
                violation_error_code="duplicate_alias",
            ),
        ]

    def __str__(self) -> str:
        return self.alias

    @property
    def secret(self) -> str:
        """Raises `Undecryptable`."""
        return decrypt(self.encrypted)

    @secret.setter
    def secret(self, value: str) -> None:
        self.encrypted = encrypt(value)

    @property
    def mask(self) -> str:
        """What may be shown of the secret."""
        try:
            secret = self.secret
        except Undecryptable:
            return UNDECRYPTABLE_MASK
        return mask_secret(secret)

    @property
    def usable(self) -> bool:
        """False if `ENCRYPTION_KEY` no longer lists the key that the secret was encrypted under."""
        return self.mask != UNDECRYPTABLE_MASK

    def change(self, **fields: Any) -> None:
        """Set these fields (`secret` may be one), validate the row and save it. Raises `ValidationError`.

        Other columns are not written, so a secret that is re-encrypted meanwhile stays so.
        """
        for field, value in fields.items():
            setattr(self, field, value)
        self.full_clean()
        written = ["encrypted" if field == "secret" else field for field in fields]
        self.save(update_fields=[*written, "updated_at"] if self.pk else None)


def mask_secret(secret: str) -> str:
    return f"…{secret[-4:]}" if len(secret) >= 12 else "…"


def kind_choices() -> list[tuple[str, str]]:
    """The choices of `Provider.kind`. They are a function, so that a new kind needs no migration."""
    return [(kind, kind) for kind in KINDS]


class Provider(models.Model):
    """A service that runs models."""

    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[A-Za-z0-9_.-]+\Z", "Use letters, digits, dots, dashes and underscores.")],
    )
    kind = models.CharField(max_length=32, choices=kind_choices, default="openai")
    base_url = models.CharField(
        max_length=500,
        blank=True,
        validators=[validate_base_url],
        help_text="With its version prefix, such as https://api.openai.com/v1. Blank for the simulator.",
    )
    credential_alias = models.CharField(
        "credential",
        max_length=64,
        blank=True,
        validators=[alias_validator],
        help_text="Alias of the credential it is called with. Blank: none is sent.",
    )
    model_map = models.JSONField(
        "models",
        default=dict,
        blank=True,
        validators=[validate_models],
        help_text='Client-side name or glob to the provider\'s name, such as {"fast": "gpt-4.1-mini"}; '
        "a blank value keeps the name. Empty: every model.",
    )
    priority = models.PositiveSmallIntegerField(default=0, help_text="Lower goes first.")
    weight = models.PositiveIntegerField(
        default=100,
        validators=[MaxValueValidator(1_000_000)],
        help_text="Share of the requests among equal priorities. 0 sends it no new requests.",
    )
    is_enabled = models.BooleanField(default=True)
    options = models.JSONField(
        default=dict, blank=True, help_text="What its kind takes besides; see docs/configuration.md."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["priority", "name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Check what depends on the kind: whether it needs a base URL, and its options. Raises `ValidationError`."""
        kind = KINDS.get(self.kind)
        if kind is None:
            return
        if kind.needs_base_url and not self.base_url:
            raise ValidationError({"base_url": f"A provider of kind {self.kind} needs a base URL."})
        if problem := kind.problem_with(self.options):
            raise ValidationError({"options": problem})

    def change(self, *, secret: str | None = None, **fields: Any) -> None:
        """Set these fields, validate the row and save it. Raises `ValidationError`.

        A secret is stored as a credential that is bound to this provider. Other columns are not written, so what others
        change meanwhile stays.
        """
        if secret is not None and not fields.get("credential_alias", self.credential_alias):
            fields["credential_alias"] = DEFAULT_ALIAS
        for field, value in fields.items():
            setattr(self, field, value)
        self.full_clean()
        self.save(update_fields=[*fields, "updated_at"] if self.pk else None)
        if secret is not None:
            bound = self.credentials.filter(alias=self.credential_alias).first()
            (bound or Credential(alias=self.credential_alias, provider=self)).change(secret=secret)


class HealthStatus(models.TextChoices):
    OK = "ok"
    DOWN = "down"


class ProviderHealth(models.Model):
    """The latest finding about a provider (`providers.health`). A provider without a finding has no row."""

    provider = models.OneToOneField(Provider, primary_key=True, on_delete=models.CASCADE, related_name="health")
    status = models.CharField(max_length=8, choices=HealthStatus)
    latency_ms = models.FloatField(null=True)
    since = models.DateTimeField(help_text="When the status was last another one, or first known.")
    checked_at = models.DateTimeField()
    error = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"{self.status} since {self.since:%Y-%m-%d %H:%M}"


def announce(sender: type[models.Model], instance: models.Model, **_: Any) -> None:
    changed.send(sender=sender, ids=[instance.pk])


for model in (Provider, Credential):
    models.signals.post_save.connect(announce, sender=model)
    models.signals.post_delete.connect(announce, sender=model)
