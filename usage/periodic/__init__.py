"""What happens by the clock: each task of one schedule, once for the whole installation.

Under Celery its beat says when. Where there is no broker, the process that writes the ledger does.
"""
