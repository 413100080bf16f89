"""What is the same everywhere."""

PICO = 10**12
"""Picodollars in a dollar. Amounts are whole numbers of them."""

VERSION = "0.1.0"
"""Sluice's."""
