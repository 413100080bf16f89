"""The channels by which alerts are delivered. Each has a file, and implements the class in `base.py`."""

from usage.alerts.channels.base import Channel
from usage.alerts.channels.mail import MailChannel
from usage.alerts.channels.webhook import WebhookChannel

CHANNELS: dict[str, type[Channel]] = {"webhook": WebhookChannel, "email": MailChannel}


def channels_in_use() -> list[str]:
    """Return the names of the channels that are configured."""
    return [name for name, channel in CHANNELS.items() if channel.is_set_up()]
