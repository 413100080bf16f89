"""Errors of actions on keys."""

from __future__ import annotations


class Unmintable(Exception):
    """A key cannot be minted: its project is inactive."""


class AlreadyRevoked(Exception):
    """A revoked key cannot be changed, and its secret cannot be rotated."""
