"""Forms that write what a person changed in them, and nothing else.

A form may stand open for hours, while others change what it shows. Its page carries a digest of each value that it
shows. When it comes back, a field that still is what was shown was not touched by the person: it keeps what is in force
by now. A field that the person changed, and others too, is an error that names the value in force; the form that shows
this error carries that value's digest, so that to send it again is a decision.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from django import forms
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from shown.posted import as_posted, digest, parts, sealed

MEMBER = "_shown"
LONGEST_TEXT = 500
MOST_VALUES_SHOWN = 20


class Masked(NamedTuple):
    """What stands behind a field that is written and never shown."""

    secret: str
    mask: str


class MergedForm:
    """A mix-in before a `ModelForm` that changes a row. Hold the row's lock from its reading to its writing."""

    instance: Any
    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.merged_fields: list[str] = []
        """What others changed meanwhile, and the person did not."""
        self._touched: set[str] = set()
        self._disputed: list[str] = []
        for field in self.fields.values():
            field.show_hidden_initial = False  # Django's own word of what was shown, for a few fields alone
        # `masked()`, where a form has it, tells by the fields' names what is written and never shown.
        self._masked: dict[str, Masked] = getattr(self, "masked", dict)() if self._is_there else {}
        self._in_force = {
            name: as_posted(field, self.add_prefix(name), self.get_initial_for_field(field, name))  # type: ignore[attr-defined]
            for name, field in self.fields.items()
            if not field.disabled
        }
        if self.is_bound and self._is_there:  # type: ignore[attr-defined]
            self._merge()

    @property
    def _is_there(self) -> bool:
        """Not so of a list's row that somebody deleted meanwhile."""
        return not self.instance._state.adding

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {
            name: sealed(self._masked[name].secret)
            if name in self._masked
            else digest(self.fields[name], self.add_prefix(name), data)  # type: ignore[attr-defined]
            for name, data in self._in_force.items()
        }

    @property
    def shown_member(self) -> SafeString:
        """For the page, inside of its form."""
        name = self.add_prefix(MEMBER)  # type: ignore[attr-defined]
        return format_html('<input type="hidden" name="{}" value="{}">', name, json.dumps(self._digests))

    def _merge(self) -> None:
        was_shown = self._read_member()
        data = self.data.copy()  # type: ignore[has-type]
        for name, now in self._digests.items():
            prefixed, field = self.add_prefix(name), self.fields[name]  # type: ignore[attr-defined]
            shown, sent = was_shown.get(name, now), digest(field, prefixed, data, self.files)  # type: ignore[attr-defined]
            if sent != (sealed("") if name in self._masked else shown):
                self._touched.add(name)
                if now not in (shown, sent):
                    self._disputed.append(name)
            elif now != shown and name not in self._masked:
                self.merged_fields.append(name)
                for part in parts(field.widget, prefixed):
                    data.setlist(part, self._in_force[name].getlist(part))
        self.data = data

    def _read_member(self) -> dict[str, str]:
        """Nothing where a program sends a form that no page showed it: such a form means what is in force."""
        try:
            digests = json.loads(self.data.get(self.add_prefix(MEMBER)) or "{}")  # type: ignore[attr-defined]
        except ValueError:
            digests = {}
        return (
            {name: text for name, text in digests.items() if isinstance(text, str)} if isinstance(digests, dict) else {}
        )

    @cached_property
    def changed_data(self) -> list[str]:
        if not self._is_there:
            return []
        return [name for name in super().changed_data if name in self._touched]  # type: ignore[misc]

    def full_clean(self) -> None:
        super().full_clean()  # type: ignore[misc]
        if self.is_bound and not self._is_there:  # type: ignore[attr-defined]
            self._errors = forms.utils.ErrorDict()
            self.cleaned_data: dict[str, Any] = {}

    def _clean_form(self) -> None:
        super()._clean_form()  # type: ignore[misc]
        for name in self._disputed:
            message = (
                f"Somebody else changed this while the form stood open. Now in force: {self._render_value(name)}. "
                "Save again to set what stands here, or write what is in force."
            )
            self.add_error(name, forms.ValidationError(message, code="changed_meanwhile"))  # type: ignore[attr-defined]

    def _save_m2m(self) -> None:
        """Only what was touched: members that were added meanwhile stay."""
        everything = self.cleaned_data
        self.cleaned_data = {name: value for name, value in everything.items() if name in self.changed_data}
        try:
            super()._save_m2m()  # type: ignore[misc]
        finally:
            self.cleaned_data = everything

    def _render_value(self, name: str) -> str:
        if name in self._masked:
            return self._masked[name].mask
        field, data = self.fields[name], self._in_force[name]
        texts = [text for _, values in data.lists() for text in values if text]
        if isinstance(field, forms.BooleanField):
            return "on" if texts else "off"
        if isinstance(field, forms.ModelChoiceField):
            assert field.queryset is not None
            rows = field.queryset.filter(**{f"{field.to_field_name or 'pk'}__in": texts})
            texts = [str(field.label_from_instance(row)) for row in rows]
        elif isinstance(field, forms.ChoiceField):
            labels = {str(value): str(label) for value, label in field.widget.choices}
            texts = [labels.get(text, text) for text in texts]
        more = f" and {len(texts) - MOST_VALUES_SHOWN} more" if len(texts) > MOST_VALUES_SHOWN else ""
        separator = " " if isinstance(field.widget, forms.MultiWidget) else ", "
        line = separator.join(texts[:MOST_VALUES_SHOWN]) + more
        return f"“{line[:LONGEST_TEXT]}{'…' if len(line) > LONGEST_TEXT else ''}”" if line else "nothing"


def merged(form: type[forms.ModelForm[Any]]) -> Any:
    return form if issubclass(form, MergedForm) else type(form.__name__, (MergedForm, form), {})
