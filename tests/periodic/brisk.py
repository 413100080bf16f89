"""Sluice's settings with a schedule of seconds, for servers under test."""

from config import settings

globals().update({name: value for name, value in vars(settings).items() if name.isupper()})

SCHEDULE = "tests.periodic.chores.SCHEDULE"
TASK_LEASE_SECS = 2
