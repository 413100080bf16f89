"""Prices that operators set for models. They replace list prices."""

from __future__ import annotations

from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, ClassVar, NamedTuple

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from strict.names import unknown
from usage.changes import changed
from usage.ports import PROVIDER_NAMES
from usage.prices.price import Price, Rates, picousd, rate

SOURCE = "override"
GLOB = frozenset("*?[")


class Override(NamedTuple):
    """A compiled override, for the data plane."""

    provider: str
    model: str
    valid_from: float
    """Unix seconds; minus infinity if it is always valid."""
    id: int
    price: Price

    def fits(self, provider: str, model: str) -> bool:
        if self.provider and self.provider != provider:
            return False
        return self.model == model or (not GLOB.isdisjoint(self.model) and fnmatchcase(model, self.model))

    def rank(self) -> tuple[bool, bool, int, float, int]:
        """The key by which overrides that fit are compared; the greatest is used.

        An override for one provider precedes one for any, a name precedes a glob, a longer glob precedes a shorter one,
        and a later start precedes an earlier one.
        """
        is_name = GLOB.isdisjoint(self.model)
        return bool(self.provider), is_name, len(self.model), self.valid_from, self.id


def per_million(help_text: str, *, optional: bool = True) -> models.DecimalField[Any, Any]:
    """Return a field in USD for a million tokens. Six decimals are exact in whole pico-dollars for a token."""
    return models.DecimalField(
        max_digits=12,
        decimal_places=6,
        null=optional,
        blank=optional,
        validators=[MinValueValidator(Decimal(0))],
        help_text=f"USD for a million tokens. {help_text}".strip(),
    )


class PriceOverride(models.Model):
    """The price of one model, or of all models whose names match a glob, at one provider or at all providers."""

    provider = models.CharField(max_length=64, blank=True, help_text="A provider's name. Blank: any provider.")
    model = models.CharField(max_length=200, help_text="The provider's own name for it, or a glob: gpt-4.1-*.")
    input = per_million("", optional=False)
    output = per_million("", optional=False)
    cached_input = per_million("Blank: as input.")
    cache_write = per_million("Blank: as input.")
    reasoning = per_million("Blank: as output.")
    audio_input = per_million("Blank: as input.")
    audio_output = per_million("Blank: as output.")
    per_request = models.DecimalField(
        max_digits=18,
        decimal_places=12,
        default=Decimal(0),
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text="USD for each request, beside its tokens.",
    )
    per_image = models.DecimalField(
        max_digits=18,
        decimal_places=12,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text="USD for each picture that is made, instead of its tokens. Blank: by tokens.",
    )
    valid_from = models.DateTimeField(null=True, blank=True, help_text="Blank: always.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "price"
        ordering: ClassVar = ["provider", "model", "valid_from"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["provider", "model", "valid_from"],
                name="price_unique_at_start",
                violation_error_message="There is a price of that provider, model and start already.",
                violation_error_code="duplicate_price",
            ),
            models.UniqueConstraint(
                fields=["provider", "model"],
                condition=models.Q(valid_from__isnull=True),
                name="price_unique",
                violation_error_message="There is a price of that provider and model already.",
                violation_error_code="duplicate_price",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} at {self.provider or 'any provider'}"

    def clean(self) -> None:
        if self.model != self.model.strip() or not self.model.isprintable():
            raise ValidationError({"model": "A model's name has no spaces around it and no control characters."})
        if self.provider and not self._has_provider():
            names = PROVIDER_NAMES()()
            raise ValidationError({"provider": unknown(self.provider, sorted(names), "provider")})

    def _has_provider(self) -> bool:
        """Whether the provider exists or is unchanged: a price of a deleted provider can still be edited."""
        if self.provider in PROVIDER_NAMES()():
            return True
        return PriceOverride.objects.filter(pk=self.pk, provider=self.provider).exists()

    def change(self, **fields: Any) -> None:
        """Set these fields, validate all fields, and save. Raises `ValidationError`."""
        for field, value in fields.items():
            setattr(self, field, value)
        self.full_clean()
        self.save()

    def compile(self) -> Override:
        def or_else(value: Decimal | None, other: Decimal) -> int | None:
            return rate(other if value is None else value)

        rates = Rates(
            input=rate(self.input),
            output=rate(self.output),
            cached=or_else(self.cached_input, self.input),
            cache_write=or_else(self.cache_write, self.input),
            reasoning=or_else(self.reasoning, self.output),
            audio_in=or_else(self.audio_input, self.input),
            audio_out=or_else(self.audio_output, self.output),
            picture_in=rate(self.input),
            picture_out=rate(self.output),
        )
        per_picture = None if self.per_image is None else picousd(self.per_image)
        price = Price(SOURCE, rates, per_request=picousd(self.per_request), per_picture=per_picture)
        valid_from = self.valid_from.timestamp() if self.valid_from else float("-inf")
        return Override(self.provider, self.model, valid_from, self.pk, price)


def announce(sender: type[models.Model], instance: models.Model, **_: Any) -> None:
    changed.send(sender=sender, ids=[instance.pk])


models.signals.post_save.connect(announce, sender=PriceOverride)
models.signals.post_delete.connect(announce, sender=PriceOverride)
