"""The secrets that a new installation makes for itself.

`SECRET_KEY` and `ENCRYPTION_KEY` come from the environment where it has them. Where it has not, they are made
once and kept in `DATA_DIR/secrets.env`, readable by the owner alone, so that the first start needs no editor.
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
    """Make the file unless it is there. Two processes that start at once agree on the first one's.

    `has_encrypted`: whether the database has what an ENCRYPTION_KEY was used for, None where it does not say. Then no
    new one is made: it would open nothing, and what is stored later could not be opened with the lost one's return.
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
        # Nothing is encrypted any more, or the database did not answer when the file was made.
        draft = _draft(path, text + encryption_key_line())
        draft.replace(path)


def encryption_key_line() -> str:
    return f"ENCRYPTION_KEY={Fernet.generate_key().decode()}\n"


def _link(path: Path, text: str) -> None:
    draft = _draft(path, text)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first: its secrets hold
    finally:
        draft.unlink()


def _draft(path: Path, text: str) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return draft


def load_dotenv(env: Environment, name: str, path: Path) -> None:
    """What the file has, and the environment has not. A file that cannot be read is told under `name`."""
    try:
        dotenv.load(path, os.environ)
    except dotenv.Unreadable as error:
        env.refuse(name, f"{path}: {error}")


def check_encryption_keys(env: Environment, keys: list[str]) -> None:
    """Each is a Fernet key: 32 bytes in URL-safe base64. A wrong one is told of without showing it."""
    for position, key in enumerate(keys, 1):
        try:
            Fernet(key)
        except ValueError:
            env.refuse(
                "ENCRYPTION_KEY",
                f"key {position} is not a Fernet key; make one with "
                "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'",
            )
