"""What a browser sends of a form's field that nobody touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.utils.crypto import salted_hmac
from django.utils.datastructures import MultiValueDict


def posted(widget: Any, name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Name and text of each part, as they come back from the page that shows `value`."""
    if isinstance(widget, RelatedFieldWidgetWrapper):
        yield from posted(widget.widget, name, value)
    elif isinstance(widget, forms.MultiWidget):
        values = value if isinstance(value, list | tuple) else widget.decompress(value)
        for part_name, part, its_value in zip(parts(widget, name), widget.widgets, values or (), strict=True):
            yield from posted(part, part_name, its_value)
    elif isinstance(widget, forms.CheckboxInput):
        if widget.check_test(value):
            yield name, "on"
    elif isinstance(widget, forms.SelectMultiple | forms.CheckboxSelectMultiple):
        yield from ((name, str(one)) for one in widget.format_value(value))
    elif isinstance(widget, forms.widgets.ChoiceWidget):
        chosen: Any = widget.format_value(value)
        yield name, str(next(iter(chosen), "") if isinstance(chosen, list) else chosen)
    else:
        shown = widget.format_value(value)
        yield name, "" if shown is None else str(shown)


def parts(widget: Any, name: str) -> list[str]:
    """The names under which it comes back."""
    if isinstance(widget, RelatedFieldWidgetWrapper):
        return parts(widget.widget, name)
    if isinstance(widget, forms.MultiWidget):
        return [name + suffix for suffix in widget.widgets_names]  # type: ignore[attr-defined] # missing in its stubs
    return [name]


def as_posted(field: forms.Field, name: str, value: Any) -> MultiValueDict[str, str]:
    data: MultiValueDict[str, str] = MultiValueDict()
    for part, text in posted(field.widget, name, field.prepare_value(value)):
        data.appendlist(part, text)
    return data


def digest(field: forms.Field, name: str, data: Any, files: Any = None) -> str:
    """The same for what a browser makes no difference between. Keyed, so that it tells nothing of the value."""
    return sealed(_plain(field.widget, field.widget.value_from_datadict(data, files or {}, name)))


def sealed(value: Any) -> str:
    return salted_hmac("shown.posted", json.dumps(value, default=str), algorithm="sha256").hexdigest()[:24]


def _plain(widget: Any, value: Any) -> Any:
    if isinstance(value, list | tuple):
        parts = [_plain(widget, one) for one in value]
        return parts if isinstance(widget, forms.MultiWidget) else sorted(parts, key=str)
    if isinstance(value, str):
        # Browsers write line ends their own way, and have none in a line.
        return (
            value.replace("\r\n", "\n")
            if isinstance(widget, forms.Textarea)
            else value.replace("\r", "").replace("\n", "")
        )
    return "" if value is None else value
