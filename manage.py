#!/usr/bin/env python
"""The door to every command: `python manage.py help` lists them."""

import os
import sys

from config.environment import ConfigurationError


def database_failure(error: Exception) -> str | None:
    """One line about a database that is not there, or is not Sluice's; None for any other failure."""
    from django.db import InterfaceError, OperationalError, ProgrammingError

    if not isinstance(error, OperationalError | InterfaceError | ProgrammingError):
        return None
    return f"sluice: the database (DATABASE_URL) does not answer, or not as it should: {' '.join(str(error).split())}"


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:
        line = database_failure(error)
        if line is None or "--traceback" in sys.argv:
            raise
        print(line, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
