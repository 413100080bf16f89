"""Remove secrets from a body before it is kept: known secrets, and texts that look like secrets.

The known ones are the request's key, the providers' credentials and the installation's own secrets. They are found as
they are, with JSON escapes, percent-encoded, in base64 and in UTF-16, even if a body is cut off in the middle of one.
Other secrets are recognized by their shape (`Bearer …`, `sk-…`, a private key), or by the name before them
(`"api_key": …`, `password=…`). The pieces of a text in a stream are joined and searched as one text.

Redacting too much costs a word of a captured body, and too little costs a secret. So whatever is doubtful is redacted.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

MARK = b"[redacted]"
SHORTEST_SECRET = 8
"""Shorter credentials are not secrets: local servers are called with `x` or `none`."""

# No text makes these slow: repetitions are bounded or possessive (`++`), so there is no long backtracking.
_CORE = (
    rb"authorization|api[-_]?key|cookie|passw(?:or)?d|passphrase|secret(?:[-_]?(?:access)?[-_]?key)?|private[-_]?key"
    rb"|(?:access|refresh|id|auth|bearer|session)[-_]?token|credentials?"
)
_NAMES = rb"[a-z0-9_.-]{0,40}?(?:" + _CORE + rb")s?"
_NAMED = (
    # "name": "value", "name": ["value", …], "name": 12
    re.compile(
        rb'("(?:' + _NAMES + rb')"\s*:\s*)(?:"(?:[^"\\]|\\.)*+"?|\[[^\]]*+\]?|(?!null\b|[\s{])[^\s,}\]]++)',
        re.IGNORECASE | re.DOTALL,
    ),
    # The same inside a JSON string: \"name\": \"value\"
    re.compile(
        rb'((?P<quote>\\{1,32}")(?:' + _NAMES + rb")(?P=quote)\s*:\s*(?P=quote))(?:(?!(?<!\\)(?P=quote)).)*+",
        re.IGNORECASE | re.DOTALL,
    ),
    # name=value, name: value
    re.compile(
        rb"((?:" + _CORE + rb")\s{0,3}[:=]\s{0,3}(?:(?:bearer|basic|token)\s+)?)[^\s\"'\\,;&<>]{4,}+", re.IGNORECASE
    ),
    # A field of a multipart form
    re.compile(
        rb'(name="?(?:' + _NAMES + rb')"?[^\r\n]*+\r?\n(?:[^\r\n]++\r?\n){0,8}+\r?\n)[^\r\n]++',
        re.IGNORECASE,
    ),
)
_WORDS = tuple(
    word.encode()
    for name in (
        *("authorization", "apikey", "cookie", "passwd", "password", "passphrase", "secret", "credential"),
        *("api_key", "private_key", "privatekey"),
        *(f"{kind}_token" for kind in ("access", "refresh", "id", "auth", "bearer", "session")),
    )
    for word in {name, name.replace("_", "-"), name.replace("_", "")}
)
"""Every name that `_NAMES` matches contains one of these. Searching for them is a hundred times as fast."""

_ESCAPE = re.compile(rb"\\{1,32}u00([0-9a-fA-F]{2})|%([0-9a-fA-F]{2})|\\{1,32}(?=/)")
_SHAPES = tuple(
    (needle, re.compile(pattern, re.DOTALL))
    for needle, pattern in (
        (b"earer", rb"(?i:\b(bearer\s+))[A-Za-z0-9._~+/=-]{6,}+"),
        (b"asic ", rb"(?i:\b(basic\s+))(?=[A-Za-z]*[0-9=])[A-Za-z0-9+/]{8,}={0,2}"),
        (b"-", rb"\b()(?:sk|rk|pk)-[A-Za-z0-9_-]{8,}+"),
        (b"_", rb"\b()(?:gh[pousr]|github_pat|sk_live|rk_live|hf|glpat|npm)_[A-Za-z0-9_]{10,}+"),
        (b"xox", rb"\b()xox[abeoprs]-[A-Za-z0-9-]{8,}+"),
        (b"AIza", rb"\b()AIza[A-Za-z0-9_-]{20,}+"),
        (b"A", rb"\b()(?:AKIA|ASIA)[A-Z0-9]{12,}+"),
        (b"eyJ", rb"\b()eyJ[A-Za-z0-9_-]{8,2000}+\.[A-Za-z0-9_-]*+(?:\.[A-Za-z0-9_-]*+)?"),
        (b"PRIVATE KEY", rb"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
        (b"://", rb"([a-z][a-z0-9+.-]{0,20}://)[^\s/:@\"']*:[^\s/@\"']++(?=@)"),
    )
)
_PIECES = re.compile(
    rb'\n\r?\n|"(?:index|output_index)"\s*:\s*(\d+)'
    rb'|"(content|text|delta|arguments|refusal|reasoning_content|reasoning|thinking|partial_json|input|transcript)"\s*:\s*'
    rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)',
    re.DOTALL,
)
"""Matches the ends of a stream's frames, the indexes of texts, and the pieces that frames add to texts."""


class Redaction:
    """The redaction of an installation. `patterns` are the operator's own; their whole matches are removed."""

    def __init__(self, key_prefix: str, patterns: Iterable[re.Pattern[bytes]] = ()) -> None:
        self._key_prefix = key_prefix.encode()
        self._virtual_keys = re.compile(rb"()" + re.escape(key_prefix.encode()) + rb"[A-Za-z0-9_-]{4,}+")
        self._patterns = tuple(patterns)

    def redacted(self, body: bytes, secrets: Iterable[bytes], *, is_stream: bool = False) -> bytes:
        long_secrets = frozenset(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)
        if is_stream:
            body = self._without_pieces(body, long_secrets)
        for way in ways_of(long_secrets, body):
            body = way.sub(keep_what_leads, body)
        for search in self._looks(body):
            body = search.sub(keep_what_leads, body)
        for pattern in self._patterns:
            body = pattern.sub(MARK, body)
        return body

    def _looks(self, body: bytes) -> Iterator[re.Pattern[bytes]]:
        """Yield the expressions for texts that look like secrets, if they can match in this body."""
        if self._key_prefix in body:
            yield self._virtual_keys
        for needle, shape in _SHAPES:
            if needle in body:
                yield shape
        lowered = body.lower()
        if any(word in lowered for word in _WORDS):
            yield from _NAMED

    def _without_pieces(self, body: bytes, secrets: frozenset[bytes]) -> bytes:
        """Return a stream without the parts of its pieces that form a secret when they are joined."""
        cuts: list[tuple[int, int]] = []
        for spans in texts_of(body):
            text = b"".join(body[start:end] for start, end in spans)
            for start, end in self._hits(text, secrets):
                cuts += within(spans, start, end)
        out, at = [], 0
        for start, end in sorted(cuts):
            if start >= at:
                out += [body[at:start], MARK]
            at = max(at, end)
        return b"".join([*out, body[at:]])

    def _hits(self, text: bytes, secrets: frozenset[bytes]) -> Iterator[tuple[int, int]]:
        for search in (*ways_of(secrets, text), *self._looks(text)):
            for match in search.finditer(text):
                yield match.end(1), match.end()
        for pattern in self._patterns:
            for match in pattern.finditer(text):
                yield match.span()


def keep_what_leads(match: re.Match[bytes]) -> bytes:
    """Replace the value in a match. The name and the quotes are kept, so that JSON stays valid."""
    value = match[0][match.end(1) - match.start() :]
    if value == MARK:
        return match[0]
    if match[1].startswith(b'"') and match[1].rstrip().endswith(b":"):
        return match[1] + (b'["' + MARK + b'"]' if value.startswith(b"[") else b'"' + MARK + b'"')
    return match[1] + MARK


def texts_of(body: bytes) -> list[list[tuple[int, int]]]:
    """Return the positions of the pieces of each text in a stream."""
    texts: dict[tuple[bytes, bytes], list[tuple[int, int]]] = {}
    number = b""
    for match in _PIECES.finditer(body):
        if match[2] is not None:
            texts.setdefault((match[2], number), []).append(match.span(3))
        else:
            number = match[1] or b""
    return list(texts.values())


def within(spans: list[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of the body that contain the joined text from `start` to `end`."""
    at = 0
    for begin, stop in spans:
        length = stop - begin
        first, last = max(start - at, 0), min(end - at, length)
        if first < last:
            yield begin + first, begin + last
        at += length


def ways_of(secrets: frozenset[bytes], body: bytes) -> Iterator[re.Pattern[bytes]]:
    """Yield expressions for these secrets in all forms that this body contains, also for one that is cut at its end."""
    plain = _ESCAPE.sub(unescaped, body) if b"%" in body or b"\\u00" in body or b"\\/" in body else b""
    for secret in sorted(secrets, key=lambda each: (-len(each), each)):
        for way in written(secret):
            if way in body:
                yield re.compile(rb"()" + re.escape(way))
        if secret in plain:
            yield escaped(secret)
        for length in range(min(len(secret) - 1, len(body)), SHORTEST_SECRET - 1, -1):
            if body.endswith(secret[:length]):
                yield re.compile(rb"()" + re.escape(secret[:length]) + rb"\Z")
                break


def unescaped(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1] or match[2], 16)]) if match[1] or match[2] else b""


@lru_cache(maxsize=256)
def written(secret: bytes) -> tuple[bytes, ...]:
    """Return a secret as it is, in UTF-16, and in base64."""
    text = secret.decode("utf-8", "replace")
    ways = [secret, text.encode("utf-16-le"), text.encode("utf-16-be")]
    for shift in range(3):  # its offset within the groups of three bytes that base64 encodes
        coded = base64.b64encode(b"\0" * shift + secret)
        inner = coded[-(-shift * 8 // 6) : len(coded) - (4 if (len(secret) + shift) % 3 else 0)]
        if len(inner) >= SHORTEST_SECRET:
            ways += [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]
    return tuple(dict.fromkeys(ways))


def escaped(secret: bytes) -> re.Pattern[bytes]:
    """Return an expression in which each byte may be itself, escaped as in JSON, or percent-encoded."""
    ways = (rb"(?:\\{0,32}%b|\\{1,32}(?i:u00%02x)|(?i:%%%02x))" % (re.escape(bytes([b])), b, b) for b in secret)
    return re.compile(rb"()" + b"".join(ways))
