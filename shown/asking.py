"""A page that asks before something is done that cannot be undone, or that programs will feel.

GET asks, and POST of the page's form does it. The form carries a seal of what was asked about: where that is another by
then, the page asks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from shown.posted import sealed

SEAL = "_asked"
MOST_NAMED = 50
"""Of many that something is done to."""


@dataclass(frozen=True)
class Question:
    title: str
    consequence: str
    """What follows from a yes."""
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    """What it is done to, as far as it can be listed."""
    yes: str
    """The button's words."""
    back: str
    """Where a no leads to."""
    about: Any
    """What must still be so when it is done."""
    more: str = ""
    form: forms.Form | None = None
    hidden: Sequence[tuple[str, str]] = field(default_factory=tuple)


def is_answered(request: HttpRequest, about: Any) -> bool:
    """Whether this is the yes to just this question."""
    return request.method == "POST" and request.POST.get(SEAL) == sealed(about)


def selection(request: HttpRequest, action: str) -> list[tuple[str, str]]:
    """What a list's action was chosen for, to be sent again. Of a whole list one row stands for all."""
    across = request.POST.get("select_across", "0")
    rows = request.POST.getlist(ACTION_CHECKBOX_NAME)
    chosen = [(ACTION_CHECKBOX_NAME, row) for row in (rows[:1] if across == "1" else rows)]
    return [("action", action), ("select_across", across), *chosen]


def ask(page: Any, request: HttpRequest, question: Question) -> HttpResponse:
    """`page` is the `ModelAdmin` that asks."""
    context = {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "media": page.media,
        "title": question.title,
        "question": question,
        "asked_before": SEAL in request.POST and not is_answered(request, question.about),
        "hidden": [*question.hidden, (SEAL, sealed(question.about))],
    }
    request.current_app = page.admin_site.name
    return TemplateResponse(request, "admin/ask.html", context)
