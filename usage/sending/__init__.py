"""How messages to other servers are signed, posted and retried.

`dispatch` (events) and `alerts` (budgets) use it. None of it runs while a request is handled.
"""
