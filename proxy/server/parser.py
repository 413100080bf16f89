"""Reads requests from the bytes of a client connection: checks heads and frames bodies.

httptools does the parsing. This module refuses what httptools accepts but the next reader could understand differently,
before it becomes a request.
"""

from __future__ import annotations

import re

import httptools

from providers.kinds.base import header_lines
from proxy.server.head import Head
from proxy.server.target import Place, place_of

MAX_HEAD_BYTES = 64 * 1024
LENGTH = b"content-length"
FRAMING = (b"connection", b"transfer-encoding")
_HOST = re.compile(rb"[A-Za-z0-9._~\[\]:-]*")


class RequestParser:
    """One for each connection. The connection is a subclass: it starts requests, takes their bodies, and refuses.

    What the requests of a connection have in common is computed for the first of them only.
    """

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._head: Head | None = None
        self._version = ""
        self._method, self._method_name = b"", ""
        self._place = Place(b"", b"", "", b"")
        self._length_at = 0
        self._head_bytes = 0
        self._in_head = True
        self._head_begun = False
        self._may_upgrade = self._wishes_upgrade = False
        self._replays_head = False
        self._broken = False
        """What still arrives on this connection is ignored: it cannot be trusted, or is not wanted any more."""

    # --- the subclass's part ----------------------------------------------------------------------------

    def _begin(self, version: str, place: Place, head: Head) -> None:
        """The head of a request is complete and valid."""
        raise NotImplementedError

    def on_body(self, body: bytes) -> None:
        raise NotImplementedError

    def _complete(self) -> None:
        """The last byte of the request has arrived."""
        raise NotImplementedError

    def _refuse(self, status: int, code: str, message: str) -> None:
        """What arrived is not a valid request: answer with this error."""
        raise NotImplementedError

    # --- requests to change the protocol ----------------------------------------------------------------

    def _parse_behind(self, position: int, data: bytes) -> None:
        """Parse what follows a head that asks for another protocol. httptools takes it for data of that protocol.
        Sluice never changes the protocol, so it is an ordinary body. Raises `HttpParserError`, `ValueError`.
        """
        while not self._broken:
            data = data[position:]
            self._parse_without_upgrade()
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                position = upgrade.args[0]

    def _parse_without_upgrade(self) -> None:
        """Give a new parser the framing headers of the same request, without Upgrade, which a server may ignore
        (RFC 9110, section 7.8).
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        headers = [header for header in self._headers if header[0] in FRAMING]
        if self._length is not None:
            headers.append((LENGTH, self._length))
        self.parser = httptools.HttpRequestParser(self)
        self._replays_head = True
        self.parser.feed_data(b"%s / HTTP/%s\r\n%s\r\n" % (method, version, header_lines(headers)))

    # --- called by httptools ----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._replays_head:
            return
        self._head_begun = True
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._length: bytes | None = None

    def on_url(self, url: bytes) -> None:
        if not self._replays_head:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer must not be taken for a header
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._replays_head:
            self._replays_head = self._may_upgrade = False
            return
        self._in_head = self._head_begun = False
        if self._broken:
            return
        if self._head_bytes > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            self._refuse_head()
            return
        headers, at = self._headers, self._length_at
        if at < len(headers) and headers[at][0] == LENGTH:
            self._length = headers.pop(at)[1]
        else:
            self._find_length()
        head, place = self._head, self._place
        version = self.parser.get_http_version()
        if head is None or head.headers != headers or version != self._version:
            head = Head(headers)
            if not self._is_addressed(head.fields, version):
                self._refuse(400, "invalid_http", "The request needs one Host header and a path as its target.")
                return
            if head.fields.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
                self._refuse(400, "invalid_http", "The only transfer coding is chunked.")
                return
            self._head, self._version = head, version
            self._wishes_upgrade = b"upgrade" in head.fields
        self._may_upgrade = self._wishes_upgrade
        method = self.parser.get_method()
        if method != self._method:
            if method == b"CONNECT":
                self._refuse(400, "upgrade_not_supported", "This server is no tunnel to others.")
                return
            self._method, self._method_name = method, method.decode("ascii")
        if place.url != self._url:
            new_place = place_of(self._url)
            if new_place is None:
                self._refuse(400, "invalid_http", "The request needs one Host header and a path as its target.")
                return
            self._place = place = new_place
        self._begin(version, place, head)

    def on_message_complete(self) -> None:
        if self._may_upgrade and self.parser.should_upgrade():
            return  # only the head is complete: see `_parse_behind`
        self._in_head = True
        self._url = b""
        self._head_bytes = 0
        self._complete()

    def _find_length(self) -> None:
        """Content-Length differs from request to request, so it is taken out before the headers are compared with
        the previous request's. It mostly stands at the same index.
        """
        for at, (name, value) in enumerate(self._headers):
            if name == LENGTH:
                self._length, self._length_at = value, at
                del self._headers[at]
                return

    def _is_addressed(self, fields: dict[bytes, bytes], version: str) -> bool:
        """Whether there is exactly one valid Host header (RFC 9112, section 3.2). HTTP/1.0 needs none."""
        host = fields.get(b"host")
        if host is None:
            return version == "1.0"
        if len(fields) != len(self._headers) and [name for name, _ in self._headers].count(b"host") > 1:
            return False
        return _HOST.fullmatch(host) is not None

    def _head_size(self) -> int:
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _refuse_head(self) -> None:
        self._refuse(431, "headers_too_large", f"The request's head is larger than {MAX_HEAD_BYTES:,} bytes.")
