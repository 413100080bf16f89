"""What was used, by whom and for what: answered from the sums by hour and day, never from the ledger."""
