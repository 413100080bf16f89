"""What leaves for other people's servers by itself: how it is signed, posted, and tried again.

`dispatch` (events) and `alerts` (budgets) both send this way. None of it runs on the way of a request.
"""
