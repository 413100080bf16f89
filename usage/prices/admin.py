"""Prices in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from shown.columns import dollars
from shown.merging import Merging
from usage.prices.override import PriceOverride

if TYPE_CHECKING:
    PriceModelAdmin = admin.ModelAdmin[PriceOverride]
else:
    PriceModelAdmin = admin.ModelAdmin


RATES = tuple(dollars(name, ordering=name) for name in ("input", "cached_input", "output", "per_request", "per_image"))


@admin.register(PriceOverride)
class PriceOverrideAdmin(Merging, PriceModelAdmin):
    list_display = ("model", "provider", *RATES, "valid_from", "updated_at")
    list_filter = ("provider",)
    search_fields = ("model", "provider")
    readonly_fields = ("created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("provider", "model", "valid_from")}),
        ("USD for a million tokens", {"fields": (("input", "output"), ("cached_input", "cache_write", "reasoning"))}),
        ("Audio", {"fields": (("audio_input", "audio_output"),)}),
        ("Besides", {"fields": (("per_request", "per_image"),)}),
        ("History", {"fields": readonly_fields}),
    )
