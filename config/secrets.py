"""The secrets that a new installation makes for itself.

`SECRET_KEY` and `ENCRYPTION_KEY` come from the environment where it has them. Where it has not, they are made
once and kept in `DATA_DIR/secrets.env`, readable by the owner alone, so that the first start needs no editor.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

from config import dotenv
from config.environment import Environment


def ensure_secrets_file(path: Path) -> None:
    """Make the file unless it is there. Two processes that start at once agree on the first one's."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(
            "# Made by Sluice at its first start. Losing ENCRYPTION_KEY loses the stored provider credentials.\n"
            f"SECRET_KEY={secrets.token_urlsafe(48)}\n"
            f"ENCRYPTION_KEY={Fernet.generate_key().decode()}\n"
        )
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first: its secrets hold
    finally:
        draft.unlink()


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
