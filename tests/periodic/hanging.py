"""As `brisk`, with a task that hangs."""

from tests.periodic import brisk

globals().update({name: value for name, value in vars(brisk).items() if name.isupper()})

SCHEDULE = "tests.periodic.chores.WITH_ONE_THAT_HANGS"
