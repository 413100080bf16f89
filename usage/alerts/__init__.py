"""Alerts: people are told when a budget reaches its soft threshold, and when it is used up.

`look` finds these budgets from the ledger's totals and writes an alert for each once (`alert.py`). `send` delivers
alerts by the channels that are configured (`channels/`). Both are periodic tasks (`tasks.py`), and may run in several
processes at once.
"""
