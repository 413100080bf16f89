"""Dispatchers send the events of the journal to other systems: a file, a webhook, Lunary, Helicone, OpenTelemetry.

`base` has the base class. Each kind of dispatcher has a file and an entry in `DISPATCHERS`. `target` reads where one
sends to, `delivery` takes events from the journal to it, `dead_letters` keeps refused events, and `book` keeps counts.
"""

from usage.dispatch.base import Dispatcher
from usage.dispatch.file import FileDispatcher
from usage.dispatch.helicone import HeliconeDispatcher
from usage.dispatch.lunary import LunaryDispatcher
from usage.dispatch.otlp import OTLPDispatcher
from usage.dispatch.webhook import WebhookDispatcher

DISPATCHERS: dict[str, type[Dispatcher]] = {
    "file": FileDispatcher,
    "webhook": WebhookDispatcher,
    "lunary": LunaryDispatcher,
    "helicone": HeliconeDispatcher,
    "otlp": OTLPDispatcher,
}
