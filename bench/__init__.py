"""Sluice's benchmarks: `make bench`, or `python -m bench relay`. docs/benchmarks.md says what they measure and how."""
