"""Connections of commands to the management API: in their own process, or to another Sluice over HTTP."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.http import HttpRequest
from django.template.response import SimpleTemplateResponse
from django.urls import resolve
from django.utils.module_loading import import_string

from keys.api.management_token import LocalRequest

TIMEOUT_S = 30.0


class Refused(CommandError):
    """The command did nothing. The text gives the reason in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(printable(reason))


def printable(text: str) -> str:
    """One line without control characters, because names and answers are written by others."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


class Connection:
    """Calls a management API. Subclasses implement `exchange`."""

    def exchange(self, method: str, path: str, query: dict[str, Any], body: Any) -> tuple[int, bytes]:
        """The answer's status and body. Raises `Refused` if there is none."""
        raise NotImplementedError

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The document that `/api/<path>` returns; None if the body is empty. Raises `Refused`."""
        parameters = {name: value for name, value in query.items() if value is not None}
        status, raw = self.exchange(method, f"/api/{path}", parameters, body)
        try:
            document = json.loads(raw) if raw else None
        except ValueError:
            if status >= 500:
                raise Refused(f"The server failed (HTTP {status}); its log says why.") from None
            raise Refused(f"The answer (HTTP {status}) is not the management API's; check the address.") from None
        if status >= 400:
            raise Refused(_reason(document) or f"The answer (HTTP {status}) is not the management API's.")
        if status >= 300:
            raise Refused(f"The management API is not at this address: it redirects (HTTP {status}).")
        return document

    def everything(self, path: str, *, most: int | None = None, **query: Any) -> dict[str, Any]:
        """All pages of a list as one page. `most`: stop at this number of rows."""
        rows: list[Any] = []
        following: dict[str, Any] | None = {"page_size": min(500, most or 500), **query}
        while following is not None and (most is None or len(rows) < most):
            page = self.call("GET", path, **following)
            if not isinstance(page, dict) or "results" not in page:
                raise Refused("The answer is not the management API's; check the address.")
            rows += page["results"]
            following = dict(parse_qsl(urlsplit(page["next"]).query)) if page["next"] else None
        return {"next": None, "previous": None, "results": rows[:most]}

    def find(self, path: str, what: str, *, id: int | str | None, name: str | None, **query: Any) -> Any:  # noqa: A002
        """The only row with this id or name. Raises `Refused` if there is none, or more than one."""
        if id is not None:
            return self.call("GET", f"{path}/{id}")
        rows = self.everything(path, name=name, **query)["results"]
        if not rows:
            raise Refused(f"There is no {what} named {name!r}.")
        if len(rows) > 1:
            raise Refused(f"There are {len(rows)} of the name {name!r}; say which one with --id or --project.")
        return rows[0]


class Local(Connection):
    """Runs the API's views in this process, as the operator, with the same transactions and audit as over HTTP."""

    def exchange(self, method: str, path: str, query: dict[str, Any], body: Any) -> tuple[int, bytes]:
        raw = b"" if body is None else json.dumps(body).encode()
        request = LocalRequest(
            {
                "REQUEST_METHOD": method,
                "PATH_INFO": path,
                "QUERY_STRING": urlencode(query),
                "CONTENT_TYPE": "application/json",
                "CONTENT_LENGTH": str(len(raw)),
                "SERVER_NAME": "localhost",
                "SERVER_PORT": "80",
                "SERVER_PROTOCOL": "HTTP/1.1",
                "wsgi.url_scheme": "http",
                "wsgi.input": BytesIO(raw),
            }
        )
        match = resolve(path)

        def handle(request: HttpRequest) -> Any:
            return match.func(request, *match.args, **match.kwargs)

        for name in reversed(settings.LOCAL_MIDDLEWARE):
            handle = import_string(name)(handle)
        try:
            response = handle(request)
        except DatabaseError as error:
            raise Refused(f"The database refused it ({error}); is it migrated (manage.py migrate)?") from None
        if isinstance(response, SimpleTemplateResponse):
            response.render()
        return response.status_code, response.content


class Remote(Connection):
    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/").removesuffix("/api")
        if not token.isascii() or not token.isprintable():
            raise Refused("The token holds a character that no HTTP header can carry.")
        self.headers = {"Authorization": f"Bearer {token}"}

    def exchange(self, method: str, path: str, query: dict[str, Any], body: Any) -> tuple[int, bytes]:
        try:
            answer = httpx.request(
                method, self.url + path, params=query, json=body, headers=self.headers, timeout=TIMEOUT_S
            )
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise Refused(f"{self.url} cannot be reached: {str(error) or type(error).__name__}") from None
        return answer.status_code, answer.content


def _reason(problem: Any) -> str:
    """The message of an error of the management API; "" for other answers, such as those of a server in front of it."""
    detail = problem.get("detail") if isinstance(problem, dict) else None
    return detail if isinstance(detail, str) else ""
