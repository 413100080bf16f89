"""One try at one provider, and its result."""

from __future__ import annotations

from dataclasses import dataclass

from providers.catalog import Access, CredentialRecord, ProviderRecord

NO_ACCESS = Access(None, b"", b"")


@dataclass(slots=True, eq=False, repr=False)
class Attempt:
    """`aliases` name the preferred credentials, the most preferred first. Times are monotonic, in seconds."""

    provider: ProviderRecord
    model: str
    aliases: tuple[str, str]
    access: Access = NO_ACCESS
    """The credential and header lines for the call; `NO_ACCESS` until they are known."""
    asked_usage: bool = False
    """The provider was asked for the usage of its stream, by the client or by Sluice."""
    sent_at: float | None = None
    first_byte_at: float | None = None
    done_at: float | None = None
    """When the answer's last byte came."""
    status: int = 0
    error: str = ""
    """The code of the failure that ended it."""

    def again(self) -> Attempt:
        """A new attempt at the same provider, with the same model and access."""
        return Attempt(self.provider, self.model, self.aliases, self.access)

    @property
    def credential(self) -> CredentialRecord | None:
        return self.access.credential
