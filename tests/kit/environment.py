"""The environment from which tests read settings. It has nothing of the developer's shell and `.env`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cryptography.fernet import Fernet

from tests.kit.services import reaper

ROOT = Path(__file__).resolve().parents[2]

SECRET_KEY = "tests-secret-key-of-more-than-fifty-characters-0123456789"
ENCRYPTION_KEY = Fernet.generate_key().decode()
MANAGEMENT_TOKEN = "tests-management-token"
UPSTREAM_KEY = "sk-upstream-canary-3f9c1e"  # nobody but the upstream may ever see it

# What every program needs. All other variables are settings, or a server does not need them.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT", reaper.NAME)

SETTING = re.compile(r'(?:env\.\w+\(\s*|environ\.get\(|refuse\(\s*)"([A-Z][A-Z0-9_]*)"')


def server_environment(**settings: object) -> dict[str, str]:
    """A complete environment for `manage.py`, with these settings (see `setting_text`)."""
    return {
        **{name: os.environ[name] for name in KEPT if name in os.environ},
        "ENV_FILE": os.devnull,
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "*",
        "SECRET_KEY": SECRET_KEY,
        "ENCRYPTION_KEY": ENCRYPTION_KEY,
        "MANAGEMENT_TOKEN": MANAGEMENT_TOKEN,
        **{name: setting_text(value) for name, value in settings.items()},
    }


def isolate(**settings: object) -> None:
    """Prepare this process's environment for tests: remove all settings, and set these."""
    for name in list(os.environ):
        if name in _names_of_settings() or name.startswith(("OPENAI_", "DISPATCH_")):
            del os.environ[name]
    os.environ["ENV_FILE"] = os.devnull
    # Clients in tests connect to 127.0.0.1, and must not do so through a forward proxy.
    os.environ.update({"NO_PROXY": "*", "no_proxy": "*", "SECRET_KEY": SECRET_KEY, "ENCRYPTION_KEY": ENCRYPTION_KEY})
    os.environ.update({"MANAGEMENT_TOKEN": MANAGEMENT_TOKEN})
    os.environ.update({name: setting_text(value) for name, value in settings.items()})


def setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _names_of_settings() -> set[str]:
    """The names of all settings, found in the source of config/, so that the list is always complete."""
    return {name for path in (ROOT / "config").glob("*.py") for name in SETTING.findall(path.read_text())}
