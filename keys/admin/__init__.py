"""Pages of the admin, where Django looks for them."""

from keys.admin import accounts, keys

__all__ = ["accounts", "keys"]
