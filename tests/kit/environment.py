"""The environment that settings are read from in tests, free of what the developer's shell and `.env` hold."""

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
UPSTREAM_KEY = "sk-upstream-canary-3f9c1e"  # must never be seen but by the upstream

# What a program needs to run at all. All else is a setting, or none of a server's business.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT", reaper.NAME)

SETTING = re.compile(r'(?:env\.\w+\(\s*|environ\.get\(|refuse\(\s*)"([A-Z][A-Z0-9_]*)"')


def server_environment(**settings: object) -> dict[str, str]:
    """A whole environment for `manage.py`, with these settings. True is written `true`."""
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
    """Make this process's environment fit for tests: no setting but these."""
    for name in list(os.environ):
        if name in _names_of_settings() or name.startswith(("OPENAI_", "DISPATCH_")):
            del os.environ[name]
    os.environ["ENV_FILE"] = os.devnull
    # Clients in tests talk to 127.0.0.1 and must not ask a proxy for it.
    os.environ.update({"NO_PROXY": "*", "no_proxy": "*", "SECRET_KEY": SECRET_KEY, "ENCRYPTION_KEY": ENCRYPTION_KEY})
    os.environ.update({"MANAGEMENT_TOKEN": MANAGEMENT_TOKEN})
    os.environ.update({name: setting_text(value) for name, value in settings.items()})


def setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _names_of_settings() -> set[str]:
    """As config/ reads them. Reading the text keeps this list from going stale."""
    return {name for path in (ROOT / "config").glob("*.py") for name in SETTING.findall(path.read_text())}
