"""The forms for keys and projects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from keys.models import LIMIT_FIELDS, Project, VirtualKey
from keys.ruled import RULES

if TYPE_CHECKING:
    KeyModelForm = forms.ModelForm[VirtualKey]
    ProjectModelForm = forms.ModelForm[Project]
else:
    KeyModelForm = ProjectModelForm = forms.ModelForm


DEFAULTED = {"capture_bodies", "foreign_ids", "cache_scope"}
NEVER_NULL = (*RULES, *DEFAULTED)


class ProjectForm(ProjectModelForm):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in DEFAULTED & set(self.fields):  # missing for people who may only look
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        """A cleared field means no rule. The columns cannot be null, so it gets its default."""
        cleaned = super().clean() or self.cleaned_data
        empty = Project()
        return {
            name: getattr(empty, name) if name in NEVER_NULL and value in (None, "") else value
            for name, value in cleaned.items()
        }


class TextsField(forms.CharField):
    """A list of texts, written with commas or line breaks between them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, widget=forms.Textarea(attrs={"rows": 2, "cols": 60}), **options)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [text.strip() for text in re.split(r"[,\n]", super().to_python(value) or "") if text.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))


class VirtualKeyForm(KeyModelForm):
    allowed_models = TextsField(
        help_text="Names or globs, with commas between them: gpt-4.1-*, o4-mini. Blank: all. A key with a list gets "
        "only what is metered, unless its project says otherwise."
    )
    tags = TextsField(help_text="With commas between them.")

    class Meta:
        model = VirtualKey
        fields: ClassVar = [
            "name",
            "project",
            "owner",
            "team",
            "is_active",
            "expires_at",
            "allowed_models",
            *LIMIT_FIELDS,
            "upstream_alias",
            "metadata",
            "tags",
            "notes",
        ]

    def validate_unique(self) -> None:
        """Check the unique name, too: Django skips a constraint if its condition has a field that the form lacks."""
        super().validate_unique()
        try:
            self.instance.validate_constraints(exclude=set(self.errors))
        except forms.ValidationError as error:
            self.add_error(None, error)

    def clean_metadata(self) -> Any:
        return self.cleaned_data["metadata"] or {}

    def clean_project(self) -> Project:
        project: Project = self.cleaned_data["project"]
        if not self.instance.pk and not project.is_active:
            raise forms.ValidationError("This project is inactive; activate it first.", code="project_inactive")
        return project


HOUR_S = 3_600
GRACES = (
    (HOUR_S, "1 hour longer"),
    (24 * HOUR_S, "1 day longer"),
    (7 * 24 * HOUR_S, "7 days longer"),
    (0, "not at all: programs that still send it are refused at once"),
)


class RotationForm(forms.Form):
    """The first choice is the default: programs have an hour to get the new token."""

    grace_seconds = forms.TypedChoiceField(
        label="The old token is taken",
        choices=GRACES,
        coerce=int,
        initial=HOUR_S,
        widget=forms.RadioSelect,
    )
