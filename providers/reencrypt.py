"""Write every stored secret under the first key of `ENCRYPTION_KEY`, while servers go on working.

Nothing is announced to them: they have the secrets decrypted in memory, and read the rows again by any listed key. Each
row is a transaction of its own, compared and set, so that nobody waits and what an operator changes meanwhile stays.
Rejected: one transaction with all rows locked, which would hold up every change until its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import transaction

from providers.changes import acted
from providers.models import Credential
from providers.vault import Undecryptable, renew


@dataclass
class Reencrypted:
    rewritten: int = 0
    """Those that were under another key than the first."""
    undecryptable: list[Credential] = field(default_factory=list)
    """No listed key decrypts them; they are as they were."""


def reencrypt() -> Reencrypted:
    """Doing it again does what is left. Raises `DatabaseError`; what was rewritten until then stays so."""
    done = Reencrypted()
    for credential in Credential.objects.order_by("pk"):
        try:
            done.rewritten += rewrite(credential)
        except Undecryptable:
            done.undecryptable.append(credential)
    return done


def rewrite(credential: Credential) -> bool:
    """Whether it had to be rewritten. Raises `Undecryptable`."""
    while (renewed := renew(credential.encrypted)) != credential.encrypted:
        with transaction.atomic():
            as_read = Credential.objects.filter(pk=credential.pk, encrypted=credential.encrypted)
            if as_read.update(encrypted=renewed):
                acted.send(sender=Credential, action="reencrypt", ids=[credential.pk])
                return True
        try:
            credential.refresh_from_db(fields=["encrypted"])
        except Credential.DoesNotExist:
            return False
    return False
