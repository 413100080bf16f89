"""Sums of the ledger by the hour and the day: moved in the transactions that write its rows, so never behind it."""
