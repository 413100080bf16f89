"""The programs that tests need from the system. They are found, or installed as root, or one line asks for them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.services import reaper

# Program → Debian package.
PACKAGES = {"postgres": "postgresql", "initdb": "postgresql", "redis-server": "redis-server", "chromium": "chromium"}
PACKAGES["nginx"] = "nginx-light"

ALSO_CALLED = {"chromium": ("chromium-browser", "google-chrome", "google-chrome-stable")}

# Debian keeps PostgreSQL's programs out of PATH. `find` takes the newest version.
PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
    "/usr/sbin",  # Debian keeps servers here, and not every user's PATH has it
)


class Missing(Exception):
    """Programs are missing, and cannot be installed. The message is one line that says what to do."""


def find(program: str) -> Path | None:
    for name in (program, *ALSO_CALLED.get(program, ())):
        if found := shutil.which(name):
            return Path(found)
    root = Path("/")
    found_here = [path for place in PLACES for path in root.glob(f"{place[1:]}/{program}")]
    return max(found_here, key=_version, default=None)


def require(programs: Iterable[str]) -> None:
    """Make sure that these programs are here. Root installs missing ones with apt-get. Raises `Missing`."""
    missing = [program for program in programs if find(program) is None]
    if not missing:
        return
    packages = sorted({PACKAGES[program] for program in missing})
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"The tests need {', '.join(missing)}: install {' '.join(packages)}, then run them again.")
    try:
        with _one_at_a_time():
            if all(find(program) for program in missing):
                return  # another run has installed it
            _apt_get("update")
            _apt_get("install", "-y", "--no-install-recommends", *packages)
    except subprocess.CalledProcessError as error:
        last = (error.stdout.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise Missing(f"The tests need {' '.join(packages)}, and apt-get could not install it: {last}") from None
    if still := [program for program in missing if find(program) is None]:
        raise Missing(f"The tests need {', '.join(still)}; apt-get installed {' '.join(packages)} without it.")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait until no other run is installing. Runs at the same time need the same, and apt-get's lock does not wait."""
    with (Path(tempfile.gettempdir()) / "sluice-packages").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _apt_get(*arguments: str) -> None:
    subprocess.run(
        ["apt-get", "-q", *arguments],
        # Without our run's name: the reaper must not end a service that a package starts.
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", reaper.NAME: ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )


def _version(path: Path) -> int:
    digits = "".join(c for c in str(path.parent.parent.name) if c.isdigit())
    return int(digits or 0)
