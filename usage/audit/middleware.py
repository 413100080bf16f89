"""Two middlewares that audit every management request, over HTTP and in a local command.

The request's transaction is between them. Entries for changes are written inside it, so that no change is without its
entry. Entries for refusals are written outside, so that they are not rolled back.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

from usage.audit.acting import Scope, scope, signed
from usage.audit.bound import bound, now
from usage.audit.changes import kind_of
from usage.audit.entry import AuditEntry, Result
from usage.audit.keep import keep, keep_if_possible
from usage.masking import SHOWN_CHARS, without_tokens

GetResponse = Callable[[HttpRequest], HttpResponse]
AUDITED = ("/api/", "/admin/", "/v1/")
"""Under /v1/ Django serves only the endpoints for accounts: sign-up, login, and a user's own keys."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})
VERBS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete", "GET": "view", "HEAD": "view"}


def audit_attempts(get_response: GetResponse) -> GetResponse:
    """Write entries for refused and failed requests and failed logins, outside of the transaction."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(AUDITED):
            return get_response(request)
        current = Scope(request)
        token = scope.set(current)
        try:
            response = get_response(request)
            if response.status_code >= 400 and (request.method not in READING or response.status_code in (401, 403)):
                tell_refusal(current, response)
            keep_attempts(current.attempted)
        finally:
            scope.reset(token)
        response["X-Request-ID"] = current.request_id
        return response

    return middleware


def audit_changes(get_response: GetResponse) -> GetResponse:
    """Write entries for changes, inside the transaction. An API call that changed no row gets an entry for the call."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        current = scope.get()
        if current is None or response.status_code >= 400:
            return response
        if not current.done and request.method not in READING and request.path_info.startswith(("/api/", "/v1/")):
            current.done.append(attempt(request, response))
        for entry in current.done:
            entry.status_code = response.status_code
        keep(current.done)
        return response

    return middleware


def tell_refusal(current: Scope, response: HttpResponse) -> None:
    """Add an entry for a refused request, unless there is one: that of a failed login is more detailed."""
    if not current.attempted:
        current.attempted.append(attempt(current.request, response))
    for entry in current.attempted:
        entry.status_code = response.status_code


def attempt(request: HttpRequest, response: HttpResponse) -> AuditEntry:
    """Make an entry for the request itself, from its method and path."""
    action, kind, target_id, target = meaning_of(request)
    status = response.status_code
    data = getattr(response, "data", None)
    code = str(data.get("code", "")) if isinstance(data, dict) and isinstance(data.get("code", ""), str) else ""
    entry = AuditEntry(
        action=action,
        target_kind=kind,
        target_id=target_id,
        target=target,
        result=Result.OK if status < 400 else Result.REFUSED if status < 500 else Result.FAILED,
        code=code[:64],
        status_code=status,
    )
    return signed(entry)


def meaning_of(request: HttpRequest) -> tuple[str, str, str, str]:
    """Return the action, and the kind, id and name of the target, from the request's path.

    Tokens are masked, because a client may put one into the path.
    """
    method = request.method or ""
    action = VERBS.get(method, "other")
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return action, "", "", ""
    view = getattr(match.func, "cls", None)
    queryset = getattr(view, "queryset", None)
    if queryset is not None:
        named = (getattr(match.func, "actions", None) or {}).get(method.lower(), "")
        target_id = without_tokens(str(match.kwargs.get("pk", "")))
        if named and named not in ("list", "retrieve", "create", "update", "partial_update", "destroy"):
            action = named
        return action[:64], kind_of(queryset.model), target_id[:64], masked(str(match.kwargs.get("prefix", "")))
    if request.path_info.startswith("/v1/"):
        return match.url_name or action, "user" if match.url_name else "", "", ""
    # The admin's paths are /admin/app/model/id/action/.
    parts = [*without_tokens(request.path_info).strip("/").split("/"), "", "", ""]
    target_id = without_tokens(str(match.kwargs.get("object_id", "")))
    return action, parts[2][:64] or parts[1][:64], target_id[:64], ""


def masked(prefix: str) -> str:
    """Cut a text to what a key's mask shows, even if it is not a token of Sluice: it may be another secret."""
    shown = len(settings.KEY_PREFIX) + SHOWN_CHARS
    return prefix if len(prefix) <= shown else f"{prefix[:shown]}…"


def keep_attempts(entries: list[AuditEntry]) -> None:
    passing = [entry for entry in entries if bound.lets_pass(entry.code, settings.AUDIT_REFUSALS_PER_SECOND, now())]
    keep_if_possible([*bound.summary(now()), *passing])
