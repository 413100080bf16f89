"""The ways by which alerts are told: one small file each, over the contract in `base.py`."""

from usage.alerts.channels.base import Channel
from usage.alerts.channels.mail import MailChannel
from usage.alerts.channels.webhook import WebhookChannel

CHANNELS: dict[str, type[Channel]] = {"webhook": WebhookChannel, "email": MailChannel}


def channels_in_use() -> list[str]:
    """Those that the settings set up."""
    return [name for name, channel in CHANNELS.items() if channel.is_set_up()]
