"""Pages of the admin that write what a person changed, and tell what others changed meanwhile."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.db import models
from django.db.models import QuerySet
from django.forms import BaseModelFormSet, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from shown.merged_form import MergedForm, merged
from shown.money import plain

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class PlainDecimalField(forms.DecimalField):
    """Shows `0.00` where Python writes `0E-12`."""

    def prepare_value(self, value: Any) -> Any:
        return plain(value) if isinstance(value, Decimal) else value


class Merging:
    """A mix-in before `ModelAdmin`, for every class whose rows can be changed: see `merged_form`.

    A row is locked as it is read, and stays so until the request's transaction ends (`config/middleware.py`).
    """

    opts: Any
    formfield_overrides: Any = {models.DecimalField: {"form_class": PlainDecimalField}}  # noqa: RUF012 - as Django has it

    def why_closed(self, row: Any) -> str:
        """Why this row can be changed no longer, also by whoever may change others."""
        return ""

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)  # type: ignore[misc]
        if row is None or request.method in READING:
            return row
        match = request.resolver_match
        deletes = match is not None and str(match.url_name).endswith("_delete")
        rows: QuerySet[Any] = self.get_queryset(request)  # type: ignore[attr-defined]
        return rows.select_for_update(of=("self",), no_key=not deletes).filter(pk=row.pk).first()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change=change, **options)  # type: ignore[misc]
        return merged(form) if obj is not None and change else form

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if request.method == "POST" and object_id and self.has_change_permission(request):  # type: ignore[attr-defined]
            row = self.get_object(request, unquote(object_id))
            if row is not None and (why := self.why_closed(row)):
                self.tell(request, f"{why} Nothing of the form was saved.", messages.ERROR)
                return HttpResponseRedirect(request.get_full_path())
        return super().changeform_view(request, object_id, form_url, extra_context)  # type: ignore[misc, no-any-return]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The columns that the person changed; a class that has a way of its own keeps to `form.changed_data` too."""
        if not change:
            super().save_model(request, obj, form, change)  # type: ignore[misc]
            return
        columns = {field.name for field in self.opts.concrete_fields}
        changed = [name for name in form.changed_data if name in columns]
        if changed:
            moments = [field.name for field in self.opts.concrete_fields if getattr(field, "auto_now", False)]
            obj.save(update_fields=[*changed, *moments])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)  # type: ignore[misc]
        if isinstance(form, MergedForm) and form.merged_fields:
            labels = ", ".join(f"“{form.fields[name].label or name}”" for name in form.merged_fields)
            message = f"Others changed {labels} of “{form.instance}” while the form stood open; that was left as it is."
            self.tell(request, message, messages.WARNING)

    def get_changelist_form(self, request: HttpRequest, **options: Any) -> type[ModelForm[Any]]:
        return merged(super().get_changelist_form(request, **options))  # type: ignore[misc, no-any-return]

    def get_changelist(self, request: HttpRequest, **options: Any) -> Any:
        kind = super().get_changelist(request, **options)  # type: ignore[misc]
        return type(kind.__name__, (MatchedList, kind), {}) if self.list_editable else kind  # type: ignore[attr-defined]

    def _get_list_editable_queryset(self, request: HttpRequest, prefix: str) -> QuerySet[Any]:
        rows = super()._get_list_editable_queryset(request, prefix)  # type: ignore[misc]
        locked: QuerySet[Any] = rows.order_by("pk").select_for_update(of=("self",), no_key=True)
        sent = set(self._get_edited_object_pks(request, prefix))  # type: ignore[attr-defined]
        for pk in sorted(sent - {str(row.pk) for row in locked}):
            self.tell_gone(request, pk)
        return locked

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        if request.method not in READING:
            self.tell_gone(request, unquote(object_id))
        return super()._get_obj_does_not_exist_redirect(request, opts, object_id)  # type: ignore[misc, no-any-return]

    def tell_gone(self, request: HttpRequest, pk: str) -> None:
        noun = self.opts.verbose_name
        message = f"The {noun} with ID “{pk}” was deleted meanwhile. Nothing that you wrote for it was saved."
        self.tell(request, message, messages.ERROR)

    def tell(self, request: HttpRequest, text: str, level: int) -> None:
        self.message_user(request, text, level)  # type: ignore[attr-defined]


class MatchedList:
    """A mix-in before `ChangeList`: beside each form that was sent stands its row. The list's order may be another one
    by now, and a row may be gone.
    """

    _formset: BaseModelFormSet[Any, Any] | None = None

    @property
    def formset(self) -> BaseModelFormSet[Any, Any] | None:
        return self._formset

    @formset.setter
    def formset(self, formset: BaseModelFormSet[Any, Any] | None) -> None:
        self._formset = formset
        if formset is not None and formset.is_bound:
            formset.__dict__["forms"] = [form for form in formset.forms if form.instance.pk is not None]
            self.result_list = [form.instance for form in formset.forms]
