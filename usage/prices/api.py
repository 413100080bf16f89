"""Prices in the management API."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from shown.money import machine
from strict.resource import Resource
from usage.ports import PRICE_ADDRESS
from usage.prices.book import load_prices
from usage.prices.override import PriceOverride
from usage.prices.price import Price, Rates, usd
from usage.prices.serializers import EffectivePriceSerializer, EffectiveQuerySerializer, PriceSerializer

NAMES = (
    *("input", "output", "cached_input", "cache_write", "reasoning", "audio_input", "audio_output"),
    *("image_input", "image_output"),
)
"""The API's names of the rates, in the order of `Rates`."""

NOTHING = Price("unknown", Rates(*[None] * len(NAMES)))


class PriceFilters(filters.FilterSet):  # type: ignore[misc]
    provider = filters.CharFilter()
    model = filters.CharFilter()


class PriceViewSet(Resource, ModelViewSet[PriceOverride]):
    """Prices that operators set for models. They take precedence over the list prices of the genai-prices package."""

    noun = "price"
    queryset = PriceOverride.objects.all()
    serializer_class = PriceSerializer
    filterset_class = PriceFilters
    search_fields = ("provider", "model")
    query: ClassVar = {"effective": EffectiveQuerySerializer}
    seeking = ("effective",)

    @extend_schema(parameters=[EffectiveQuerySerializer], responses=EffectivePriceSerializer, filters=False)
    @action(detail=False, pagination_class=None)
    def effective(self, request: Request) -> Response:
        """The present price of a provider's model, and where it comes from. `unknown`: there is no price for it."""
        query = EffectiveQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        provider, model = query.validated_data["provider"], query.validated_data["model"]
        address = PRICE_ADDRESS()(provider, model)
        if address is None:
            raise NotFound(f"There is no provider {provider!r}.")
        kind, base_url, served = address
        price = load_prices([kind]).price_of(provider, kind, base_url, served, timezone.now().timestamp())
        return Response({"provider": provider, "model": model, "model_served": served, **render_price(price)})


def render_price(price: Price | None) -> dict[str, Any]:
    """Return a price for the API, as decimals in USD for a million tokens."""
    shown_price = price or NOTHING
    return {
        "price_source": shown_price.source,
        **rates_written(shown_price.base),
        "per_request": machine(usd(shown_price.per_request)) if price else None,
        "per_image": written_unit(shown_price.per_picture, 1),
        "per_million_characters": written_unit(shown_price.per_character, 1_000_000),
        "per_minute": written_unit(shown_price.per_second, 60),
        "tiers": [
            {"above_prompt_tokens": start, **rates_written(rates)} for start, rates in reversed(shown_price.tiers)
        ],
    }


def written_unit(amount_picousd: int | None, units: int) -> str | None:
    return None if amount_picousd is None else machine(usd(amount_picousd * units))


def rates_written(rates: Rates) -> dict[str, str | None]:
    return {
        name: None if rate is None else f"{usd(rate * 1_000_000):.6f}" for name, rate in zip(NAMES, rates, strict=True)
    }
