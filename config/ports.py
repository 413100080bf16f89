"""Fills the ports: what the apps need of each other, since none of them imports another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from django.core.management.base import BaseCommand

import cache.ports
import keys.ports
import providers.ports
import strict.ports
import usage.ports
from cache.entry import Entry


class Ledger:
    """It imports the ledger only when it is asked, because a data plane never asks."""

    def spent_of(self, kind: str, ids: Collection[int], now: datetime) -> Mapping[int, int]:
        from config.spending import spent_of

        return spent_of(kind, ids, now)

    def usage_of_key(self, key_id: int, since: datetime) -> Sequence[keys.ports.ModelUsage]:
        from config.spending import usage_of_key

        return usage_of_key(key_id, since)

    def requests_of_keys(self, ids: Collection[int], now: datetime) -> Mapping[int, int]:
        from config.spending import requests_of_keys

        return requests_of_keys(ids, now)


def object_of(entry: Entry, path: str) -> bytes | None:
    from proxy.steps.other_form import object_of as form

    return form(entry, path)


def budgets_of(kind: str, idents: Collection[str], now: datetime) -> Sequence[usage.ports.Budget]:
    from config.spending import budgets_of as find

    return find(kind, idents, now)


def command_line(command: BaseCommand, columns: Sequence[str]) -> strict.ports.CommandLine:
    from keys.management.cli import ManagementCLI

    return ManagementCLI(command, tuple(columns))


def fill() -> None:
    """Fill the ports. Called when all apps are loaded."""
    from providers.catalog import price_address, provider_names, upstream_aliases
    from proxy.configuration.changes import current_version
    from proxy.wire.openai_error import error_body
    from usage.ledger.provider_traffic import latest_traffic

    cache.ports.OBJECT_OF.fill(object_of)
    strict.ports.COMMAND_LINE.fill(command_line)
    keys.ports.LEDGER.fill(Ledger())
    keys.ports.UPSTREAM_ALIASES.fill(upstream_aliases)
    keys.ports.OPENAI_ERROR.fill(error_body)
    providers.ports.CONFIGURATION_VERSION.fill(current_version)
    providers.ports.LATEST_TRAFFIC.fill(latest_traffic)
    usage.ports.BUDGETS_OF.fill(budgets_of)
    usage.ports.PROVIDER_NAMES.fill(provider_names)
    usage.ports.PRICE_ADDRESS.fill(price_address)
