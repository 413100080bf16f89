"""Write entries to the database, and to the audit file once they are committed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import CharField

from usage.audit.entry import AuditEntry
from usage.audit.file import AuditFile
from usage.writable import as_text

log = logging.getLogger("sluice.audit")

TEXTS = [
    (field.name, field.max_length)
    for field in AuditEntry._meta.get_fields()
    if isinstance(field, CharField) and field.max_length is not None
]
"""The text columns and their lengths. A requested path may be longer, or contain characters that no database takes."""


def keep(entries: Sequence[AuditEntry]) -> None:
    """Write entries in the open transaction, if there is one, so that no change is without its entry.

    Raises `DatabaseError`.
    """
    if not entries or not settings.AUDIT_ENABLED:
        return
    for entry in entries:
        for name, most in TEXTS:
            setattr(entry, name, as_text(getattr(entry, name), most))
    with transaction.atomic():
        AuditEntry.objects.bulk_create(entries, batch_size=500)
        transaction.on_commit(lambda: write_lines(entries), robust=True)


def keep_if_possible(entries: Sequence[AuditEntry]) -> bool:
    """Write entries about what is over already. If the database is away, log it, and write the entries to the file.

    Returns whether the database took them.
    """
    try:
        keep(entries)
    except (DatabaseError, InterfaceError) as error:
        if not connection.in_atomic_block:
            connection.close()  # else a broken connection would be used again
        log.error("%d audit entries are in the audit file alone: %s", len(entries), type(error).__name__)
        write_lines(entries)
        return False
    return True


def write_lines(entries: Sequence[AuditEntry]) -> None:
    if not settings.AUDIT_FILE:
        return
    try:
        AuditFile(settings.AUDIT_FILE, settings.AUDIT_FILE_MAX_BYTES, settings.AUDIT_FILE_BACKUPS).append(entries)
    except OSError as error:
        log.error("The audit file does not take entries: %s", error)
