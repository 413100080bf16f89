"""One try at one provider: who is asked, and what became of it."""

from __future__ import annotations

from providers.catalog import Access, CredentialRecord, ProviderRecord

NO_ACCESS = Access(None, b"", b"")


class Attempt:
    """`aliases` name the credentials that the call prefers, the first one first. Times are monotonic, in seconds.

    What nothing has happened to yet is the class's own value, as in `Exchange`.
    """

    access = NO_ACCESS
    """How the provider is called; none was found while nothing is sent."""
    sent_at: float | None = None
    first_byte_at: float | None = None
    done_at: float | None = None
    """When the answer's last byte came."""
    status = 0
    error = ""
    """The code of the failure that ended it."""

    def __init__(self, provider: ProviderRecord, model: str, aliases: tuple[str, str]) -> None:
        self.provider, self.model, self.aliases = provider, model, aliases

    def again(self) -> Attempt:
        """The same at the same provider."""
        other = Attempt(self.provider, self.model, self.aliases)
        other.access = self.access
        return other

    @property
    def credential(self) -> CredentialRecord | None:
        return self.access.credential
