"""The gate: `python -m tests.gate` runs all tests, what failed once more, and says what was unsteady."""
