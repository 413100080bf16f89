"""Loads Sluice's code as a started server has it, for forks that serve with settings of their own.

It remembers which of Django's settings were read while the code was loaded, and their values. A fork whose settings
have another value there starts as a new Python.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from typing import Any

import django
from django.conf import LazySettings, settings
from django.utils.functional import empty

SETTINGS = "config.settings"
MODULES = (
    "config.urls",
    "keys.limits.connection",
    "proxy.app",
    "proxy.server.protocol",
    "proxy.management.commands.serve",
    "proxy.server.supervisor",
    "usage.ledger_process",
)
READ_AGAIN = frozenset({"DATABASES", "LOGGING", "LOGGING_CONFIG"})
"""Settings that a fork reads again: the first because of `_forget`, the others in `django.setup()`."""
MISSING = object()


class Loaded:
    def __init__(self) -> None:
        """Load the code. Raises whatever an import raises."""
        read: set[str] = set()
        get = LazySettings.__getattr__

        def note_and_get(settings: LazySettings, name: str) -> Any:
            read.add(name)
            return get(settings, name)

        setattr(LazySettings, get.__name__, note_and_get)
        with tempfile.TemporaryDirectory() as directory:
            os.environ |= {"DATA_DIR": directory, "ENV_FILE": os.devnull, "DJANGO_SETTINGS_MODULE": SETTINGS}
            django.setup()
            for name in MODULES:
                importlib.import_module(name)
        setattr(LazySettings, get.__name__, get)
        self._was = {name: getattr(settings, name, MISSING) for name in read - READ_AGAIN}
        _forget()

    def fits(self) -> bool:
        """Whether the settings in this process's environment equal those that the code was loaded with."""
        if os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS) != SETTINGS:  # as manage.py does
            return False
        try:
            return all(getattr(settings, name, MISSING) == was for name, was in self._was.items())
        except Exception:
            return False  # the settings are wrong, and a new Python says why


def _forget() -> None:
    """Forget the settings, as if none had been read."""
    from django.db import connections

    settings._wrapped = empty
    for connection in connections.all(initialized_only=True):
        del connections[connection.alias]
    vars(connections).pop("settings", None)
    connections._settings = None  # type: ignore[attr-defined]
    del sys.modules[SETTINGS], sys.modules["config"].settings
