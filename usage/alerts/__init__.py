"""Who is told when a budget runs out: at its soft threshold, and when nothing is left of it.

`look` finds what was reached, from the ledger's totals alone, and writes each down once (`alert.py`); `send` tells by
the channels that are set up (`channels/`). Both are called by the clock (`tasks.py`) and may run anywhere, as often as
one likes.
"""
