"""The secrets that a new installation creates for itself.

`SECRET_KEY` and `ENCRYPTION_KEY` come from the environment. If they are not there, they are created once and kept in
`DATA_DIR/secrets.env`, readable only by the owner, so that the first start needs no editor.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet

from config import dotenv
from config.environment import Environment


def ensure_secrets_file(path: Path, has_encrypted: Callable[[], bool | None]) -> None:
    """Create the file unless it exists. Two processes that start at once both use the file of the first one.

    `has_encrypted`: whether the database has something that an ENCRYPTION_KEY encrypted; None if it does not answer.
    Unless it is False, no new key is made: it could decrypt nothing, and what is stored with it could not be read
    when the lost key is set again.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = "" if has_encrypted() is not False else encryption_key_line()
        _link(
            path,
            "# Made by Sluice at its first start. Losing ENCRYPTION_KEY loses the stored provider credentials.\n"
            f"SECRET_KEY={secrets.token_urlsafe(48)}\n{key}",
        )
    elif "ENCRYPTION_KEY=" not in (text := path.read_text()) and has_encrypted() is False:
        # Nothing is encrypted now, or the database did not answer when the file was created.
        draft = _draft(path, text + encryption_key_line())
        draft.replace(path)


def encryption_key_line() -> str:
    return f"ENCRYPTION_KEY={Fernet.generate_key().decode()}\n"


def _link(path: Path, text: str) -> None:
    draft = _draft(path, text)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first, and its secrets are used
    finally:
        draft.unlink()


def _draft(path: Path, text: str) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return draft


def load_dotenv(env: Environment, name: str, path: Path) -> None:
    """Load what the environment lacks from a file. A file that cannot be read is reported under `name`."""
    try:
        dotenv.load(path, os.environ)
    except dotenv.Unreadable as error:
        env.refuse(name, f"{path}: {error}")


def check_encryption_keys(env: Environment, keys: list[str]) -> None:
    """Check that each is a Fernet key: 32 bytes in URL-safe base64. The message for a wrong one does not show it."""
    for position, key in enumerate(keys, 1):
        try:
            Fernet(key)
        except ValueError:
            env.refuse(
                "ENCRYPTION_KEY",
                f"key {position} is not a Fernet key; make one with "
                "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'",
            )
