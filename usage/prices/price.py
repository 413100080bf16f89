"""One model's price, compiled into whole numbers: a cost is a few multiplications, exact, and never a float.

Inside, money is in pico-dollars: 1 USD is 10**12 of them, and 1 USD for a million tokens is 10**6 a token. So every
price with up to six decimals is exact. Of list prices with more, the noise of binary fractions is taken off at nine
decimals and the rest is rounded up.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from math import ceil
from typing import NamedTuple

from strict.units import PICO

MOST_PICOUSD = 2**63 - 1
"""What a row can hold: nine million dollars. A request that seems to cost more has counts that nobody can believe."""

_MILLIONTH, _BILLIONTH = Decimal("0.000001"), Decimal("0.000000001")


class Rates(NamedTuple):
    """Pico-dollars a token. Null: nobody knows what it costs; tokens of that kind make the whole cost unknown."""

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
    """What a price may be by instead of tokens."""

    pictures: int = 0
    characters: int = 0
    seconds: float = 0.0


class Price:
    """What one model costs at one provider. Made once, asked for each request."""

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
        """`tiers` are (tokens, rates), the most tokens first: a longer prompt than that costs these rates, all of it.

        `source` is short text for the row: where the price comes from. `window`: tokens that the model can take at a
        time, where that is known.
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
        """Pico-dollars; None where the prompt's tokens or a rate that is needed are not known.

        Cached, written, spoken and pictures' tokens are parts of the prompt, others of the completion; no token
        is charged twice, whatever a provider counts: where the parts are more than the whole, the later ones give way.
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
        """Pico-dollars by the unit; None: this is priced by tokens, or nobody knows the price of that unit."""
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
        """For admission: pico-dollars that so many tokens cost at most, whatever they turn out to be.

        A shorter prompt than the most may cost the rates of another tier; a cache makes it cheaper, or dearer by the
        writing; sound and reasoning may cost more than what is written and said.
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
    """The most that a token of a prompt costs, and one of a completion."""
    into, out = rates.input, rates.output
    return (
        None
        if into is None
        else max(into, rates.cached or 0, rates.cache_write or 0, rates.audio_in or 0, rates.picture_in or 0),
        None if out is None else max(out, rates.reasoning or 0, rates.audio_out or 0, rates.picture_out or 0),
    )


def rate(usd_per_million: Decimal | None) -> int | None:
    """Pico-dollars a token."""
    if usd_per_million is None:
        return None
    exact = usd_per_million.quantize(_BILLIONTH, ROUND_HALF_EVEN).quantize(_MILLIONTH, ROUND_CEILING)
    return int(exact.scaleb(6))


def picousd(usd: Decimal) -> int:
    """Rounded up to the pico-dollar, where there is less than one."""
    return int((usd * PICO).to_integral_value(ROUND_CEILING))


def usd(amount_picousd: int) -> Decimal:
    return Decimal(amount_picousd).scaleb(-12)


FREE = Price("simulator", Rates(0, 0, 0, 0, 0, 0, 0, 0, 0))
"""Of the built-in simulator: it costs nothing, and that is known."""
