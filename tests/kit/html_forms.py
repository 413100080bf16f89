"""Forms of HTML pages, filled as a browser does it: what is not changed is sent back as it was shown."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any


class _Forms(HTMLParser):
    """Parses the controls of the form with this id, or of all forms of a page."""

    def __init__(self, form_id: str | None) -> None:
        super().__init__()
        self.form_id, self.inside = form_id, form_id is None
        self.fields: dict[str, list[str]] = {}
        self.select = self.textarea = ""
        self.options: list[tuple[str, bool]] = []
        self.is_multiple = False
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "form" and self.form_id is not None:
            self.inside = given.get("id") == self.form_id
        if not self.inside or "disabled" in given:
            return
        name, kind = given.get("name", ""), given.get("type", "text")
        if tag == "input" and name and kind not in ("submit", "button", "file", "image"):
            if kind not in ("checkbox", "radio") or "checked" in given:
                default = "on" if kind == "checkbox" else ""
                value = given.get("value", default)
                self.fields.setdefault(name, []).append(value.replace("\n", "") if kind == "text" else value)
        elif tag == "select" and name:
            self.select, self.options, self.is_multiple = name, [], "multiple" in given
        elif tag == "option" and self.select:
            self.options.append((given.get("value", ""), "selected" in given))
        elif tag == "textarea" and name:
            self.textarea, self.text = name, ""

    def handle_data(self, data: str) -> None:
        if self.textarea:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self.form_id is not None:
            self.inside = False
        elif tag == "select" and self.select:
            chosen = [value for value, is_chosen in self.options if is_chosen]
            if not chosen and not self.is_multiple and self.options:
                chosen = [self.options[0][0]]
            if chosen:
                self.fields[self.select] = chosen
            self.select = ""
        elif tag == "textarea" and self.textarea:
            text = self.text.removeprefix("\r\n").removeprefix("\n") if self.text[:1] in "\r\n" else self.text
            self.fields[self.textarea] = ["\r\n".join(text.replace("\r\n", "\n").split("\n"))]
            self.textarea = ""


def fields_of(page: Any, form_id: str | None = None) -> dict[str, list[str]]:
    """What the form would send, by name, without its submit buttons."""
    forms = _Forms(form_id)
    forms.feed(page if isinstance(page, str) else page.content.decode())
    return forms.fields


def filled(page: Any, form_id: str | None = None, **changes: Any) -> dict[str, Any]:
    """The form's fields with these changes: a text, a list of texts, or None to leave the field out."""
    fields: dict[str, Any] = fields_of(page, form_id)
    for name, value in changes.items():
        if value is None:
            fields.pop(name, None)
        else:
            fields[name] = value
    return fields
