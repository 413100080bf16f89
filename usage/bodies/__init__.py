"""What requests and answers said, for projects that have it kept: redacted, bounded, for a while, not in the ledger.

`keep` takes them from the event loop and writes them, `redact` takes secrets out, `unpack` reads compressed ones,
`prune` lets them go when their time is over.
"""

from usage.bodies.prune import prune_bodies

__all__ = ["prune_bodies"]
