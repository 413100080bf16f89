"""Limits: what may be taken before a request is sent, and given back after."""

from keys.limits.base import LimitExceeded, Reservation, Standing

__all__ = ["LimitExceeded", "Reservation", "Standing"]
