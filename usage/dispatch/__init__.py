"""Finished requests for those who want to know of them: a file, a webhook, Lunary, Helicone, OpenTelemetry.

`base` is the contract of a dispatcher, and each has a file; `DISPATCHERS` finds them. `target` says where one sends to,
`delivery` takes events from the journal to it, `dead_letters` keeps what nobody wants, `book` counts.
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
