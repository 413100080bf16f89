"""Settings for sending: dispatchers for events, a webhook and a mail server for alerts."""

from __future__ import annotations

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

from config.environment import Environment


def dispatchers_from(env: Environment) -> tuple[Any, ...]:
    """The targets that `DISPATCH_TO` names."""
    entries = env.listed("DISPATCH_TO")
    if not entries:
        return ()
    from usage.dispatch.target import BadTarget, Target, named, target_from  # imported only if it is used

    targets: dict[str, Target] = {}
    for entry in entries:
        try:
            name, kind = named(entry)
            if name in targets:
                raise BadTarget("DISPATCH_TO", f"two dispatchers are named {name!r}; write name=kind")
            targets[name] = target_from(env.variables, name, kind)
        except BadTarget as error:
            env.refuse(error.variable, error.remedy)
    return tuple(targets.values())


def alert_webhook_from(env: Environment) -> tuple[str, str]:
    """Address and secret of the webhook; empty texts if there is none."""
    url, secret = env.url("ALERT_WEBHOOK_URL", "", ("http", "https")), env.text("ALERT_WEBHOOK_SECRET")
    if url:
        from usage.sending.signature import key_of

        try:
            key_of(secret)
        except ValueError as error:
            env.refuse("ALERT_WEBHOOK_SECRET", f"ALERT_WEBHOOK_URL needs one, to sign with; {error}")
    return url, secret


def mail_from(env: Environment) -> dict[str, Any]:
    """Django's settings for mail, from `EMAIL_URL` or from one variable each."""
    mail = {
        "EMAIL_HOST": env.text("EMAIL_HOST"),
        "EMAIL_PORT": env.integer("EMAIL_PORT", 0, most=65535),
        "EMAIL_HOST_USER": env.text("EMAIL_HOST_USER"),
        "EMAIL_HOST_PASSWORD": env.text("EMAIL_HOST_PASSWORD"),
        "EMAIL_USE_TLS": env.flag("EMAIL_USE_TLS", False),
        "EMAIL_USE_SSL": env.flag("EMAIL_USE_SSL", False),
    }
    if url := env.text("EMAIL_URL"):
        mail |= _from_url(env, url)
    if mail["EMAIL_USE_TLS"] and mail["EMAIL_USE_SSL"]:
        env.refuse("EMAIL_USE_SSL", "a server is spoken to with EMAIL_USE_TLS (STARTTLS) or EMAIL_USE_SSL, not both")
    usual = 465 if mail["EMAIL_USE_SSL"] else 587 if mail["EMAIL_USE_TLS"] else 25
    return {**mail, "EMAIL_PORT": mail["EMAIL_PORT"] or usual}


def _from_url(env: Environment, url: str) -> dict[str, Any]:
    remedy = "use smtp://user:password@host:25, smtp+tls://… (STARTTLS) or smtp+ssl://… (see docs/configuration.md)"
    try:
        parsed = environ.Env.email_url_config(url)
    except (ImproperlyConfigured, ValueError):
        env.refuse("EMAIL_URL", remedy)
        return {}
    if not str(parsed["EMAIL_BACKEND"]).endswith("smtp.EmailBackend") or not parsed["EMAIL_HOST"]:
        env.refuse("EMAIL_URL", remedy)
        return {}
    return {
        "EMAIL_HOST": parsed["EMAIL_HOST"],
        "EMAIL_PORT": parsed["EMAIL_PORT"] or 0,
        "EMAIL_HOST_USER": parsed["EMAIL_HOST_USER"] or "",
        "EMAIL_HOST_PASSWORD": parsed["EMAIL_HOST_PASSWORD"] or "",
        "EMAIL_USE_TLS": bool(parsed.get("EMAIL_USE_TLS")),
        "EMAIL_USE_SSL": bool(parsed.get("EMAIL_USE_SSL")),
    }


def addresses_from(env: Environment, mail: dict[str, Any]) -> list[str]:
    """The recipients of alerts. They need a mail server."""
    addresses = env.listed("ALERT_EMAIL_TO")
    for address in addresses:
        _check_address(env, "ALERT_EMAIL_TO", address)
    if addresses and not mail["EMAIL_HOST"]:
        env.refuse("ALERT_EMAIL_TO", "mail needs a server: set EMAIL_URL, or EMAIL_HOST and its like")
    return addresses


def sender_from(env: Environment) -> str:
    sender = env.text("EMAIL_FROM", "sluice@localhost")
    _check_address(env, "EMAIL_FROM", sender)
    return sender


def _check_address(env: Environment, name: str, address: str) -> None:
    try:
        validate_email(address)
    except ValidationError:
        env.refuse(name, f"{address!r} is no mail address; write name@example.org")
