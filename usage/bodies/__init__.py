"""Captured bodies of requests and answers, for projects that have them kept: redacted, bounded, and for a limited time.

They are not in the ledger. `keep` takes them from the event loop and writes them, `redact` removes secrets, `unpack`
decompresses, and `prune` deletes old ones.
"""

from usage.bodies.prune import prune_bodies

__all__ = ["prune_bodies"]
