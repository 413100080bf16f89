"""Encrypt every stored secret with the first key of `ENCRYPTION_KEY`, while servers go on working.

The change feed gets no rows for this: servers have the secrets decrypted in memory, and can read a row under any listed
key. Each row has a transaction of its own, and is written only if it has not changed since it was read. So nothing
waits for a lock, and what an operator changes meanwhile stays. Rejected: one transaction with all rows locked, which
would hold up every change until its end.
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
    """How many were encrypted with another key than the first."""
    undecryptable: list[Credential] = field(default_factory=list)
    """The credentials that no listed key decrypts. They are unchanged."""


def reencrypt() -> Reencrypted:
    """Re-encrypt all credentials. A second call continues after a failure.

    Raises `DatabaseError`; the rows that were rewritten before it stay rewritten.
    """
    done = Reencrypted()
    for credential in Credential.objects.order_by("pk"):
        try:
            done.rewritten += rewrite(credential)
        except Undecryptable:
            done.undecryptable.append(credential)
    return done


def rewrite(credential: Credential) -> bool:
    """Re-encrypt one credential. Returns whether this call rewrote it. Raises `Undecryptable`."""
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
