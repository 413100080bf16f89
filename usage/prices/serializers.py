"""Prices in the management API: decimals as text, in USD for a million tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from strict.members import Strict
from usage.prices.override import PriceOverride


class PriceSerializer(Strict, serializers.ModelSerializer[PriceOverride]):
    class Meta:
        model = PriceOverride
        fields = (
            "id",
            "provider",
            "model",
            "input",
            "output",
            "cached_input",
            "cache_write",
            "reasoning",
            "audio_input",
            "audio_output",
            "per_request",
            "per_image",
            "valid_from",
            "created_at",
            "updated_at",
        )
        validators: ClassVar[list[Any]] = []  # the model finds duplicates, which are a conflict (409)

    def create(self, validated_data: dict[str, Any]) -> PriceOverride:
        return self.update(PriceOverride(), validated_data)

    def update(self, instance: PriceOverride, validated_data: dict[str, Any]) -> PriceOverride:
        instance.change(**validated_data)
        return instance


class EffectiveQuerySerializer(serializers.Serializer[Any]):
    provider = serializers.CharField(help_text="A provider's name.")
    model = serializers.CharField(max_length=200, help_text="As a client names it, or as the provider does.")


class RatesSerializer(serializers.Serializer[Any]):
    """Null: not known. Tokens of such a kind make the cost of a request unknown."""

    input = serializers.CharField(allow_null=True)
    output = serializers.CharField(allow_null=True)
    cached_input = serializers.CharField(allow_null=True)
    cache_write = serializers.CharField(allow_null=True)
    reasoning = serializers.CharField(allow_null=True)
    audio_input = serializers.CharField(allow_null=True)
    audio_output = serializers.CharField(allow_null=True)
    image_input = serializers.CharField(allow_null=True)
    image_output = serializers.CharField(allow_null=True)


class PriceTierSerializer(RatesSerializer):
    above_prompt_tokens = serializers.IntegerField(help_text="A longer prompt costs these prices, all of it.")


class EffectivePriceSerializer(RatesSerializer):
    provider = serializers.CharField()
    model = serializers.CharField()
    model_served = serializers.CharField(help_text="The provider's own name, which the price is looked up by.")
    price_source = serializers.ChoiceField(
        choices=["override", "genai-prices", "simulator", "unknown"], help_text="Where the price comes from."
    )
    per_request = serializers.CharField(allow_null=True)
    per_image = serializers.CharField(allow_null=True)
    per_million_characters = serializers.CharField(allow_null=True, help_text="Of a text that is read out.")
    per_minute = serializers.CharField(allow_null=True, help_text="Of sound that is heard.")
    tiers = PriceTierSerializer(many=True)
