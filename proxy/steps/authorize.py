"""Step 4: check that the project is active, its rules are kept, the request can be metered, the model is allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import Raw

from keys.access import ModelNotAllowed, check_project
from keys.records import KeyRecord
from keys.rules import OriginRefused, ParamUnreadable, Rules
from proxy.admission.metering import check_metered
from proxy.configuration.snapshot import Snapshot
from proxy.errors import BadRequest, Forbidden
from proxy.exchange import Exchange
from proxy.heavy.body import HeavyBody
from proxy.wire.multipart import FieldFinder, UnreadableForm

MODEL, FILE_ID = "model", "file_id"


def authorize(exchange: Exchange, snapshot: Snapshot) -> None:
    """Raises `InactiveProject`, `ModelNotAllowed`, `Forbidden`, `RuleBroken`."""
    key, project = exchange.key, exchange.project
    if key is not None or project is not None:
        check_project(project)
    rules = project.rules if project is not None else None
    if exchange.cors_origin and (rules is None or rules.origins is None):
        exchange.cors_origin = b""  # only another project allows it
    if rules is not None:
        check_head(exchange, rules)
    if not exchange.endpoint.metered or (not exchange.model and exchange.endpoint.reads_body):
        check_metered(exchange, snapshot)
    if key is not None and not key.takes_every_model:
        authorize_model(exchange, key)
    if rules is not None and rules.reads_params:
        check_params(exchange, rules)


def check_head(exchange: Exchange, rules: Rules) -> None:
    try:
        rules.check_head(exchange.method, exchange.path, exchange.head.headers)
    except OriginRefused:
        exchange.cors_origin = b""
        raise


def check_params(exchange: Exchange, rules: Rules) -> None:
    """Check the body's parameters. A body that cannot be read is refused. A form is checked while it is forwarded."""
    if exchange.endpoint.reads_body and not exchange.model and MODEL in rules.form_fields:
        raise ParamUnreadable  # a stored prompt or the provider chooses the model
    body = exchange.body
    if body is not None:
        members = body.members if not isinstance(body, HeavyBody) else checked_already(body, rules)
        rules.check_params(members, {"model": exchange.model} if exchange.model else {})
    elif exchange.passed_body or (exchange.passed_body is None and exchange.has_body and not exchange.is_form):
        raise ParamUnreadable


def checked_already(body: HeavyBody, rules: Rules) -> dict[str, Raw]:
    """The short members, which are left to check: the child has checked the long ones. Raises what it found."""
    if body.facts.unreadable_param:
        raise ParamUnreadable
    if body.facts.refused_param is not None:
        raise rules.refusal_of(body.facts.refused_param)
    return body.short_members()


def authorize_model(exchange: Exchange, key: KeyRecord) -> None:
    """For a key that is limited to some models: the model must be readable, and be one of them."""
    if exchange.model and not key.may_use(exchange.model):
        raise ModelNotAllowed(exchange.model)
    if exchange.body is not None:
        # Some servers ignore the case of names, so a second spelling could name a second model.
        spellings = [name for name in exchange.body.members if name.casefold() == "model"]
        if spellings and (spellings != ["model"] or not exchange.model):
            raise unreadable()
    elif exchange.passed_body is None:
        if exchange.has_body and not exchange.is_form:
            raise unreadable()
    elif exchange.passed_body:
        raise unreadable()


def unreadable() -> Forbidden:
    return Forbidden(
        "model_not_readable",
        "This API key is limited to some models, so the gateway must be able to read which one a request names: "
        "send a JSON object of at most MAX_PAYLOAD_BYTES, or a plain multipart form.",
    )


def two_models() -> Forbidden:
    return Forbidden(
        "endpoint_not_metered",
        "This form could be read as naming two models, so its cost cannot be known beforehand. Send a plain multipart "
        "form with one field `model`.",
    )


async def authorized_upload(exchange: Exchange, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Check the fields of a form while it is forwarded. A refusal ends the upload before the form is complete."""
    key = exchange.key if exchange.key is not None and not exchange.key.takes_every_model else None
    rules = exchange.project.rules if exchange.project is not None else None
    fields = rules.form_fields if rules is not None else frozenset()
    field = exchange.model_field if exchange.is_metered_form else None
    if key is not None or field is not None:
        fields |= {MODEL}
    kind = exchange.endpoint.one_of
    if kind is not None and kind.names_others:
        fields |= {FILE_ID}
    if not fields:
        async for piece in pieces:
            yield piece
        return
    finder = FieldFinder(fields)
    pending = b""
    try:
        async for piece in pieces:
            for name, value in finder.feed(piece):
                if name == FILE_ID and kind is not None:
                    raise BadRequest("body_not_readable", "Send the file's id as JSON, not in a form.", param=FILE_ID)
                if name == MODEL and key is not None and not key.may_use(value):
                    raise ModelNotAllowed(value)
                if name == MODEL and field is not None and value != field.value.decode("utf-8", "replace").strip():
                    raise two_models()
                if rules is not None:
                    rules.check_form_field(name, value)
            if pending:
                yield pending
            pending = piece  # the last piece waits until all is checked: without it the form is not complete
        finder.end()
    except UnreadableForm:
        raise (two_models() if field is not None else unreadable() if key is not None else ParamUnreadable()) from None
    if pending:
        yield pending
