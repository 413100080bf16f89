"""`.env` files, read as python-dotenv reads them: https://saurabh-kumar.com/python-dotenv/#file-format

django-environ's own reader keeps quotes if blanks or a comment follow them. python-dotenv itself is not needed for
these few expressions, which are its grammar. Here a line that does not match it is an error; python-dotenv skips it.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

BINDING = re.compile(
    r"""
    (?:export[^\S\r\n]+)?
    (?:'(?P<quoted_name>[^']+)'|(?P<name>[^=\#\s]+))[^\S\r\n]*
    (?:(?P<equals>=)[^\S\r\n]*
      (?:'(?P<single>(?:\\'|[^'])*)'|"(?P<double>(?:\\"|[^"])*)"|(?P<plain>(?!['"])[^\r\n]*))
    )?
    (?:[^\S\r\n]*\#[^\r\n]*)?
    [^\S\r\n]*(?:\r\n|\n|\r|\Z)
    """,
    re.VERBOSE,
)
BLANKS_AND_COMMENTS = re.compile(r"(?:\s|\#[^\r\n]*(?:\r\n|\n|\r|\Z))*")
VARIABLE = re.compile(r"\$\{(?P<name>[^}:]*)(?::-(?P<default>[^}]*))?\}")
IN_DOUBLE = re.compile(r"\\[\\'\"abfnrtv]")
IN_SINGLE = re.compile(r"\\[\\']")
ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Unreadable(ValueError):
    """The text names the line, but not its content, which may be a secret."""


def load(path: Path, variables: MutableMapping[str, str]) -> None:
    """Set the file's variables that `variables` lacks or has blank. A missing file is no error. Raises `Unreadable`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeError) as error:
        raise Unreadable(f"it cannot be read ({getattr(error, 'strerror', None) or 'it is not UTF-8'})") from None
    for name, value in bindings(text, variables).items():
        if not variables.get(name, "").strip():
            variables[name] = value


def bindings(text: str, variables: MutableMapping[str, str] = os.environ) -> dict[str, str]:
    """Names and values, with `${NAME}` and `${NAME:-default}` replaced. Raises `Unreadable`."""
    text = text.removeprefix("\ufeff")
    values: dict[str, str] = {}

    def value_of(variable: re.Match[str]) -> str:
        name = variable["name"]
        return variables.get(name) or values.get(name) or variable["default"] or ""

    position = BLANKS_AND_COMMENTS.match(text).end()  # type: ignore[union-attr]  # it also matches an empty text
    while position < len(text):
        binding = BINDING.match(text, position)
        if binding is None:
            line = len(re.findall(r"\r\n|\n|\r", text[:position])) + 1
            raise Unreadable(f"line {line} cannot be read; write NAME=value, and close what is quoted")
        if binding["equals"]:
            values[binding["quoted_name"] or binding["name"]] = VARIABLE.sub(value_of, _value(binding))
        position = BLANKS_AND_COMMENTS.match(text, binding.end()).end()  # type: ignore[union-attr]
    return values


def _value(binding: re.Match[str]) -> str:
    if binding["single"] is not None:
        return IN_SINGLE.sub(lambda escape: escape[0][1], binding["single"])
    if binding["double"] is not None:
        return IN_DOUBLE.sub(lambda escape: ESCAPED.get(escape[0][1], escape[0][1]), binding["double"])
    return re.sub(r"\s+#.*", "", binding["plain"]).rstrip()
