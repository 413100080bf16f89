"""What a key refuses to have done to it."""

from __future__ import annotations


class Unmintable(Exception):
    """A key cannot be minted: its project is inactive."""


class AlreadyRevoked(Exception):
    """A revoked key stays as it is: nothing about it can be changed, least of all its secret."""
