"""The kinds of providers, by name."""

from providers.kinds.azure import Azure
from providers.kinds.base import Kind
from providers.kinds.custom import Custom
from providers.kinds.openai import OpenAI
from providers.kinds.simulator import Simulator

KINDS: dict[str, Kind] = {kind.name: kind for kind in (OpenAI(), Azure(), Custom(), Simulator())}
