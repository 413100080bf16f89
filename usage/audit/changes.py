"""Entries for changes of the configuration, made from Django's signals, so that no code can change it unnoticed.

The entry of a management request is written in the transaction of the change (`middleware.py`), any other at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.db import models

from usage.audit.acting import scope, signed
from usage.audit.entry import ActorKind, AuditEntry, Result
from usage.audit.keep import keep

APPS = frozenset({"keys", "providers", "auth"})
BESIDES = frozenset({"usage.priceoverride", "cache.cachepurge"})
"""Audited models of `usage` and `cache`. Their other tables are written by Sluice itself, about requests."""
LEFT_OUT = frozenset({"auth.permission", "providers.providerhealth"})
UNTOLD = frozenset({"updated_at", "created_at", "last_login", "last_used_at", "total_requests"})
SECRET = re.compile(r"(^|_)(password|secret|salt|hash|digest|encrypted|token|public_id|options|jti)(_|$)")
MASK = "•••"
NAMES = {"virtualkey": "key", "priceoverride": "price", "cachepurge": "purge"}
LONGEST_VALUE = 200
ONE_BY_ONE = 1000
"""If an action changes more rows, it gets one entry instead of one for each row."""

_BEFORE = "_audit_before"


def is_audited(model: type[models.Model]) -> bool:
    options = model._meta
    name = options.label_lower
    if model.__module__ == "__fake__":
        return False  # a migration's model: no person changes it, and the table of the audit log may not exist yet
    return (options.app_label in APPS or name in BESIDES) and name not in LEFT_OUT and not options.auto_created


def before_save(sender: type[models.Model], instance: models.Model, raw: bool = False, **_: Any) -> None:
    if is_audited(sender) and not raw and instance.pk is not None:
        setattr(instance, _BEFORE, sender._base_manager.filter(pk=instance.pk).values().first())


def after_save(
    sender: type[models.Model],
    instance: models.Model,
    created: bool,
    raw: bool = False,
    update_fields: Iterable[str] | None = None,
    **_: Any,
) -> None:
    if not is_audited(sender) or raw:
        return
    before = instance.__dict__.pop(_BEFORE, None) or {}
    wanted = None if update_fields is None else set(update_fields)
    changes: dict[str, Any] = {}
    for field in sender._meta.concrete_fields:
        if (
            field.primary_key
            or field.name in UNTOLD
            or (wanted is not None and not wanted & {field.name, field.attname})
        ):
            continue
        old, new = plain(before.get(field.attname)), plain(getattr(instance, field.attname))
        if old != new:
            is_secret = bool(SECRET.search(field.name)) or isinstance(field, models.BinaryField)
            changes[field.name] = [MASK, MASK] if is_secret else [shown(old), shown(new)]
    if created:
        record_change(
            instance, "create", {name: new for name, (_, new) in changes.items() if new not in (None, "", [], {})}
        )
    elif changes:
        record_change(instance, "rotate" if "secret_hash" in changes else "update", changes)


def after_delete(sender: type[models.Model], instance: models.Model, **_: Any) -> None:
    if is_audited(sender):
        record_change(instance, "delete", {})


def after_relation(instance: Any, action: str, model: type[models.Model], pk_set: Any, **_: Any) -> None:
    """Audit changes of many-to-many relations, such as the groups and permissions of users."""
    if action in ("post_add", "post_remove", "post_clear") and is_audited(type(instance)) and pk_set != set():
        record_change(instance, "update", {kind_of(model): {action.removeprefix("post_"): sorted(pk_set or ())}})


def after_action(sender: type[models.Model], action: str, ids: list[int], **_: Any) -> None:
    """Audit a query that changed many rows at once, for which Django sends no signals."""
    if not ids:
        return
    if len(ids) > ONE_BY_ONE:
        take([AuditEntry(action=action, target_kind=kind_of(sender), changes={"rows": len(ids)})])
        return
    for instance in sender._base_manager.filter(pk__in=ids):
        record_change(instance, action, {})


def after_login(user: Any, **_: Any) -> None:
    take(
        [AuditEntry(action="login", target_kind="user", target_id=str(user.pk), target=user.get_username()[:200])], user
    )


def after_logout(user: Any, **_: Any) -> None:
    if user is not None:
        take([AuditEntry(action="logout", target_kind="user", target_id=str(user.pk), target=str(user)[:200])], user)


def after_failed_login(credentials: dict[str, Any], **_: Any) -> None:
    """Audit a failed login. A name is kept only if a user has it: people type passwords into the wrong field."""
    from django.contrib.auth import get_user_model

    name = str(credentials.get("username", ""))[:150]
    user = get_user_model()._default_manager.filter(username=name).first()
    entry = signed(AuditEntry(action="login", target_kind="user", result=Result.REFUSED, code="login_failed"))
    if user is not None:
        entry.target_id, entry.target = str(user.pk), name
    current = scope.get()
    if current is not None:
        current.attempted.append(entry)
    else:
        keep([entry])


def record_change(instance: models.Model, action: str, changes: dict[str, Any]) -> None:
    entry = AuditEntry(
        action=action,
        target_kind=kind_of(type(instance)),
        target_id=str(instance.pk),
        target=name_of(instance),
        changes=changes,
    )
    take([entry])


def take(entries: list[AuditEntry], user: Any = None) -> None:
    for entry in entries:
        signed(entry)
        if user is not None:
            entry.actor_kind, entry.actor = ActorKind.USER, user.get_username()[:200]
    current = scope.get()
    if current is not None:
        current.done += entries
    else:
        keep(entries)


def kind_of(model: type[models.Model]) -> str:
    name = model._meta.model_name or ""
    return NAMES.get(name, name)


def name_of(instance: models.Model) -> str:
    """Return a name for people. That of a key includes its mask, because several keys may have one name."""
    mask = f" ({getattr(instance, 'mask', '')})" if hasattr(instance, "public_id") else ""
    return f"{str(instance)[: LONGEST_VALUE - len(mask)]}{mask}"


def plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def shown(value: Any) -> Any:
    """Shorten a value for the log. Long JSON is cut as text, and decimals are written without an exponent."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, list | dict) and len(text := str(value)) > LONGEST_VALUE:
        value = text
    return value[:LONGEST_VALUE] + "…" if isinstance(value, str) and len(value) > LONGEST_VALUE else value


def connect() -> None:
    """Connect to Django's signals. Called once, when the app is ready."""
    from django.contrib.auth import signals as auth

    for signal, receiver in (
        (models.signals.pre_save, before_save),
        (models.signals.post_save, after_save),
        (models.signals.post_delete, after_delete),
        (models.signals.m2m_changed, after_relation),
        (auth.user_logged_in, after_login),
        (auth.user_logged_out, after_logout),
        (auth.user_login_failed, after_failed_login),
    ):
        signal.connect(receiver, dispatch_uid=f"audit.{receiver.__name__}")
