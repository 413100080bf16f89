"""Rotating and revoking keys in the admin. A page asks first, and shows their last use and today's requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods

from keys.admin.forms import RotationForm
from keys.models import VirtualKey, VirtualKeyQuerySet
from keys.models.virtual_key import IDS_IN_A_STATEMENT
from keys.spending import requests_today
from shown.asking import MOST_NAMED, Question, ask, is_answered, selection
from shown.words import counted, moment

COLUMNS = ("Key", "Token", "Project", "Last used", "Requests today (UTC)")


class KeyDeeds:
    """A mix-in before `ModelAdmin`: rotate or revoke one key on its page, or revoke many from the list."""

    def get_urls(self) -> list[URLPattern]:
        deeds: tuple[tuple[str, Callable[..., HttpResponse]], ...] = (
            ("rotate", self.rotate_view),
            ("revoke", self.revoke_view),
        )
        own = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(require_http_methods(["GET", "HEAD", "POST"])(view)),  # type: ignore[attr-defined]
                name=f"keys_virtualkey_{name}",
            )
            for name, view in deeds
        ]
        return own + super().get_urls()  # type: ignore[misc, no-any-return]

    def rotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        page: Any = self
        key = self._key(request, object_id)
        if why := page.why_closed(key):
            return self._redirect_with_message(request, key, why)
        about = ("rotate", key.pk, key.public_id)
        form = RotationForm(request.POST if is_answered(request, about) else None)
        if form.is_bound and form.is_valid():
            token = key.rotate(form.cleaned_data["grace_seconds"])
            page.log_change(request, key, "Rotated.")
            return self._redirect_with_message(request, key, token_message(key, token), messages.WARNING)
        rest = ""
        if key.previous_until is not None and key.previous_until > timezone.now():
            rest = f"The token before the last rotation, taken until {moment(key.previous_until)}, is refused at once."
        question = Question(
            title=f"Rotate the token of “{key}”?",
            consequence="The key gets a new token, which is shown once. "
            "Programs need it before the old token is refused.",
            columns=COLUMNS,
            rows=named([key]),
            more=rest,
            yes="Yes, rotate it",
            back=address(key),
            about=about,
            form=form,
        )
        return ask(self, request, question)

    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        page: Any = self
        key = self._key(request, object_id)
        if why := page.why_closed(key):
            return self._redirect_with_message(request, key, why)
        about = ("revoke", key.pk, key.public_id)
        if is_answered(request, about):
            key.revoke()
            page.log_change(request, key, "Revoked.")
            return self._redirect_with_message(request, key, f"Revoked key “{key}”.", messages.SUCCESS)
        question = Question(
            title=f"Revoke “{key}”, for good?",
            consequence="All requests with this key are refused from now on. "
            "A revoked key cannot be made to work again.",
            columns=COLUMNS,
            rows=named([key]),
            yes="Yes, revoke it",
            back=address(key),
            about=about,
        )
        return ask(self, request, question)

    @admin.action(description="Revoke selected keys, for good", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, keys: VirtualKeyQuerySet) -> HttpResponse | None:
        page: Any = self
        chosen = keys.order_by().filter(revoked_at__isnull=True)
        ids = sorted(chosen.values_list("pk", flat=True))
        if not ids:
            page.message_user(request, "All selected keys are revoked already.", messages.WARNING)
            return None
        about = ("revoke_selected", ids)
        if is_answered(request, about):
            # Only the keys that the page showed: a key that was minted since is not among them.
            parts = [ids[start : start + IDS_IN_A_STATEMENT] for start in range(0, len(ids), IDS_IN_A_STATEMENT)]
            number = sum(VirtualKey.objects.filter(pk__in=some).revoke() for some in parts)
            page.message_user(request, f"Revoked {counted(number, 'key')}.", messages.SUCCESS)
            return None
        latest = chosen.select_related("project").order_by(F("last_used_at").desc(nulls_last=True), "pk")[:MOST_NAMED]
        requests = sum(requests_today(ids).values())
        question = Question(
            title=f"Revoke {counted(len(ids), 'key')}, for good?",
            consequence="All requests with these keys are refused from now on. "
            "A revoked key cannot be made to work again.",
            columns=COLUMNS,
            rows=named(list(latest)),
            more=f"{'And ' + counted(len(ids) - MOST_NAMED, 'more key') + '. ' if len(ids) > MOST_NAMED else ''}"
            f"Today (UTC) {counted(requests, 'request')} came with them.",
            yes=f"Yes, revoke {counted(len(ids), 'key')}",
            back=request.get_full_path(),
            about=about,
            hidden=selection(request, "revoke_selected"),
        )
        return ask(self, request, question)

    def _key(self, request: HttpRequest, object_id: str) -> VirtualKey:
        page: Any = self
        key: VirtualKey | None = page.get_object(request, object_id) if object_id.isdecimal() else None
        if not page.has_change_permission(request):
            raise PermissionDenied
        if key is None:
            raise Http404
        return key

    def _redirect_with_message(
        self, request: HttpRequest, key: VirtualKey, text: str, level: int = messages.ERROR
    ) -> HttpResponseRedirect:
        page: Any = self
        page.message_user(request, text, level)
        return HttpResponseRedirect(address(key))


def address(key: VirtualKey) -> str:
    return reverse("admin:keys_virtualkey_change", args=[key.pk])


def named(keys: Sequence[VirtualKey]) -> list[tuple[str, ...]]:
    today = requests_today([key.pk for key in keys])
    return [
        (key.name, key.mask, key.project.name, moment(key.last_used_at), f"{today.get(key.pk, 0):,}") for key in keys
    ]


def token_message(key: VirtualKey, token: str) -> str:
    return format_html(
        'The token of key “{}”, shown only now: <code>{}</code> <button type="button" class="button" '
        'data-copies="previous">Copy</button><script src="{}"></script>',
        key.name,
        token,
        static("sluice/copy.js"),
    )
