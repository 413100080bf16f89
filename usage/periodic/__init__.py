"""Periodic tasks: each task of the schedule runs once for the whole installation.

With Celery, its beat starts them. Without a broker, the process that writes the ledger does.
"""
