"""The price of one model, compiled to whole numbers. So a cost is a few multiplications, exact, and never a float.

Money is in pico-dollars: 1 USD is 10**12 of them, and 1 USD for a million tokens is 10**6 for a token. So every price
with up to six decimals is exact. List prices with more decimals are first rounded to nine, which removes the noise of
binary fractions, and then rounded up to six.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from math import ceil
from typing import NamedTuple

from strict.units import PICO

MOST_PICOUSD = 2**63 - 1
"""The most that a row can hold: nine million dollars. If a request seems to cost more, its token counts are wrong."""

_MILLIONTH, _BILLIONTH = Decimal("0.000001"), Decimal("0.000000001")


class Rates(NamedTuple):
    """Pico-dollars for a token of each kind. None: not known. Tokens of such a kind make the whole cost unknown."""

    input: int | None
    output: int | None
    cached: int | None
    cache_write: int | None
    reasoning: int | None
    audio_in: int | None
    audio_out: int | None
    picture_in: int | None = None
    picture_out: int | None = None


class Units(NamedTuple):
    """Amounts of what some models charge for instead of tokens."""

    pictures: int = 0
    characters: int = 0
    seconds: float = 0.0


class Price:
    """The price of one model at one provider. It is made once and used for each request."""

    __slots__ = (
        *("_dearest", "base", "per_character", "per_picture", "per_request", "per_second", "source", "tiers"),
        *("window",),
    )

    def __init__(
        self,
        source: str,
        base: Rates,
        tiers: tuple[tuple[int, Rates], ...] = (),
        per_request: int = 0,
        window: int | None = None,
        *,
        per_picture: int | None = None,
        per_character: int | None = None,
        per_second: int | None = None,
    ) -> None:
        """`tiers` are (tokens, rates), the most tokens first. All tokens of a longer prompt than that cost these rates.

        `source` is a short text for the ledger row: where the price comes from. `window` is the size of the model's
        context in tokens, if it is known.
        """
        self.source, self.base, self.tiers, self.per_request = source, base, tiers, per_request
        self.window = window
        self.per_picture, self.per_character, self.per_second = per_picture, per_character, per_second
        self._dearest = dearest(base)

    def cost(
        self,
        prompt: int | None,
        completion: int | None,
        cached: int | None = None,
        reasoning: int | None = None,
        audio_in: int | None = None,
        audio_out: int | None = None,
        cache_write: int | None = None,
        picture_in: int | None = None,
        picture_out: int | None = None,
    ) -> int | None:
        """Return pico-dollars; None if the prompt's tokens or a rate that is needed are not known.

        `cached`, `cache_write`, `audio_in` and `picture_in` are parts of the prompt; `reasoning`, `audio_out` and
        `picture_out` are parts of the completion. No token is charged twice: if a provider counts more in the parts
        than in the whole, the parts that are charged last are cut.
        """
        if prompt is None:
            return None
        rates = self.base
        for start, tier in self.tiers:
            if prompt > start:
                rates = tier
                break
        text_in, text_out = prompt, completion or 0
        total = self.per_request
        try:
            if audio_in:
                text_in -= (part := min(audio_in, text_in))
                total += part * rates.audio_in  # type: ignore[operator]
            if picture_in:
                text_in -= (part := min(picture_in, text_in))
                total += part * rates.picture_in  # type: ignore[operator]
            if cached:
                text_in -= (part := min(cached, text_in))
                total += part * rates.cached  # type: ignore[operator]
            if cache_write:
                text_in -= (part := min(cache_write, text_in))
                total += part * rates.cache_write  # type: ignore[operator]
            if audio_out:
                text_out -= (part := min(audio_out, text_out))
                total += part * rates.audio_out  # type: ignore[operator]
            if picture_out:
                text_out -= (part := min(picture_out, text_out))
                total += part * rates.picture_out  # type: ignore[operator]
            if reasoning:
                text_out -= (part := min(reasoning, text_out))
                total += part * rates.reasoning  # type: ignore[operator]
            if text_in:
                total += text_in * rates.input  # type: ignore[operator]
            if text_out:
                total += text_out * rates.output  # type: ignore[operator]
        except TypeError:  # a rate that is needed is None
            return None
        return total if total <= MOST_PICOUSD else None

    def cost_of_units(self, units: Units) -> int | None:
        """Return pico-dollars by the unit; None if the model is priced by tokens, or the unit's price is not known."""
        total = self.per_request
        for rate, count in (
            (self.per_picture, units.pictures),
            (self.per_character, units.characters),
            (self.per_second, ceil(units.seconds)),
        ):
            if rate is not None and count:
                return min(total + rate * count, MOST_PICOUSD)
        return None

    def estimate(self, prompt: int, most_completion: int) -> int | None:
        """Return the most pico-dollars that so many tokens can cost, of whatever kind they are. For admission.

        The real prompt may be shorter, and then cost the rates of another tier. A cache makes tokens cheaper, and
        writing to it dearer. Audio and reasoning may cost more than text.
        """
        into, out = self._dearest
        for start, tier in self.tiers:
            if prompt > start:
                tier_into, tier_out = dearest(tier)
                into = None if into is None else max(into, tier_into or 0)
                out = None if out is None else max(out, tier_out or 0)
        if (prompt and into is None) or (most_completion and out is None):
            return None
        cost = self.per_request + prompt * (into or 0) + most_completion * (out or 0)
        return cost if cost < MOST_PICOUSD else MOST_PICOUSD


def dearest(rates: Rates) -> tuple[int | None, int | None]:
    """Return the highest rate for a token of the prompt, and for one of the completion."""
    into, out = rates.input, rates.output
    return (
        None
        if into is None
        else max(into, rates.cached or 0, rates.cache_write or 0, rates.audio_in or 0, rates.picture_in or 0),
        None if out is None else max(out, rates.reasoning or 0, rates.audio_out or 0, rates.picture_out or 0),
    )


def rate(usd_per_million: Decimal | None) -> int | None:
    """Convert USD for a million tokens to pico-dollars for a token."""
    if usd_per_million is None:
        return None
    exact = usd_per_million.quantize(_BILLIONTH, ROUND_HALF_EVEN).quantize(_MILLIONTH, ROUND_CEILING)
    return int(exact.scaleb(6))


def picousd(usd: Decimal) -> int:
    """Convert USD to pico-dollars, rounded up."""
    return int((usd * PICO).to_integral_value(ROUND_CEILING))


def usd(amount_picousd: int) -> Decimal:
    return Decimal(amount_picousd).scaleb(-12)


FREE = Price("simulator", Rates(0, 0, 0, 0, 0, 0, 0, 0, 0))
"""The price of the built-in simulator: it is known to cost nothing."""
