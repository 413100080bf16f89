"""Sums of the ledger by hour and day. They are updated in the ledger's transactions, so they are never behind it."""
