"""Whether a key may be used now. The order of the checks is part of the contract (F23)."""

from __future__ import annotations

from keys.records import KeyRecord, ProjectRecord
from keys.tokens import secret_matches


class KeyRefused(Exception):
    """A key that is refused. `code` names the reason; it can be a metric's label."""

    code: str
    explanation: str


class InvalidKey(KeyRefused):
    code = "invalid_api_key"
    explanation = "Incorrect API key provided. Check the key, or ask whoever runs this gateway for a new one."


class MissingKey(KeyRefused):
    code = "missing_api_key"
    explanation = (
        "You didn't provide an API key. Send it as 'Authorization: Bearer KEY', or in the header X-API-Key or api-key."
    )


class RevokedKey(KeyRefused):
    code = "key_revoked"
    explanation = "This API key was revoked. Ask whoever runs this gateway for a new one."


class InactiveKey(KeyRefused):
    code = "key_inactive"
    explanation = "This API key is inactive. Ask whoever runs this gateway to activate it."


class ExpiredKey(KeyRefused):
    code = "key_expired"
    explanation = "This API key has expired. Ask whoever runs this gateway for a new one."


class InactiveProject(KeyRefused):
    code = "project_inactive"
    explanation = "The project of this API key is inactive. Ask whoever runs this gateway to activate it."


class ModelNotAllowed(KeyRefused):
    code = "model_not_allowed"

    def __init__(self, model: str) -> None:
        self.explanation = f"This API key may not use the model {model!r}."
        super().__init__(self.explanation)


def check_secret(key: KeyRecord, secret: str) -> None:
    """Raises `InvalidKey`. Call it before `check_state`: only a client with the secret learns the state of the key."""
    if not secret_matches(secret, key.salt, key.secret_hash):
        raise InvalidKey


def check_state(key: KeyRecord, now: float) -> None:
    """Raises the `KeyRefused` that applies first: the token's grace is over, revoked, inactive, expired."""
    if key.grace_until is not None and key.grace_until <= now:
        raise InvalidKey  # it is the secret before the last rotation, and its grace is over
    if key.is_revoked:
        raise RevokedKey
    if not key.is_active:
        raise InactiveKey
    if key.expires_at is not None and key.expires_at <= now:
        raise ExpiredKey


def check_project(project: ProjectRecord | None) -> None:
    if project is None or not project.is_active:
        raise InactiveProject
