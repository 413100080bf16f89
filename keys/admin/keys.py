"""Projects and keys in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from keys.admin.deeds import KeyDeeds, token_message
from keys.admin.forms import ProjectForm, VirtualKeyForm
from keys.admin.limits import LIMIT_FIELDSETS, CappedPaginator, InUseShown, PaginatedList, SpendingShown
from keys.models import Project, VirtualKey, VirtualKeyQuerySet, default_limits
from keys.models.virtual_key import STATUSES
from keys.ruled import RULES
from shown.merging import Merging

MOST_MATCHES = 1_000
"""The most projects, and owners, that a search finds by name in order to find their keys."""

if TYPE_CHECKING:
    ProjectModelAdmin = admin.ModelAdmin[Project]
    KeyModelAdmin = admin.ModelAdmin[VirtualKey]
else:
    ProjectModelAdmin = KeyModelAdmin = admin.ModelAdmin


METERED_OR_REFUSED = """
<table>
<tr><th></th><th>Keys without a list of models and without a budget</th><th>Other keys</th></tr>
<tr><td>Metered: chat completions, completions, embeddings, responses (also in the background) and their compaction, the
    list of models</td>
    <td>pass</td><td>pass</td></tr>
<tr><td>Metered where the model has a price: images, speech, transcriptions</td><td>pass</td><td>pass</td></tr>
<tr><td>Free: reading and deleting what is stored, uploading files, conversations, moderations, cancelling</td>
    <td>pass</td><td>pass</td></tr>
<tr><td>Unmetered: requests without a model, batches, videos, fine-tuning, evals,
    assistants and their runs, realtime, and whatever Sluice does not know</td>
    <td>pass, unless “refuse”</td><td>403 endpoint_not_metered, unless “allow”</td></tr>
</table>
"""


@admin.register(Project)
class ProjectAdmin(Merging, InUseShown, SpendingShown, ProjectModelAdmin):
    form = ProjectForm
    list_display = ("name", "is_active", "upstream_alias", "limits_shown", "created_at", "its_keys")
    list_filter = ("is_active",)
    search_fields = ("name", "notes")
    readonly_fields = ("spending", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "is_active", "notes")}),
        *LIMIT_FIELDSETS,
        ("Metered or refused", {"fields": ("unmetered",), "description": METERED_OR_REFUSED}),
        ("Upstream", {"fields": ("upstream_alias", "foreign_ids")}),
        ("Rules for its requests", {"fields": RULES, "classes": ("collapse",)}),
        ("Response cache", {"fields": ("cache_policy", "cache_ttl_s", "cache_scope")}),
        ("What is kept", {"fields": ("capture_bodies",)}),
        ("History", {"fields": ("created_at", "updated_at")}),
    )

    @admin.display(description="keys")
    def its_keys(self, project: Project) -> str:
        return format_html(
            '<a href="{}?project__id__exact={}">Keys</a>', reverse("admin:keys_virtualkey_changelist"), project.pk
        )


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, status.capitalize()) for status in STATUSES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        assert isinstance(queryset, VirtualKeyQuerySet)
        status = self.value()
        return queryset.with_status(status, timezone.now()) if status else queryset


class InUseFilter(admin.RelatedFieldListFilter):
    """Offers only rows that some key refers to. It looks for one key of each; Django's `RelatedOnlyFieldListFilter`
    reads all keys for that.
    """

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        its_keys = model_admin.get_queryset(request).filter(**{field.name: OuterRef("pk")})
        ordering = self.field_admin_ordering(field, request, model_admin)
        return field.get_choices(include_blank=False, limit_choices_to=Q(Exists(its_keys)), ordering=ordering)


@admin.register(VirtualKey)
class VirtualKeyAdmin(KeyDeeds, Merging, SpendingShown, KeyModelAdmin):
    """Adding a key mints it. A token is shown once; later only its mask. Keys are revoked, not deleted."""

    form = VirtualKeyForm
    list_display = (
        *("name", "project", "owner", "team", "status", "mask", "limits_shown"),
        *("expires_at", "last_used_at", "total_requests"),
    )
    list_filter = (
        StatusFilter,
        ("project", InUseFilter),
        ("team", InUseFilter),
        "created_at",
    )
    list_select_related = ("project", "owner", "team")
    paginator = CappedPaginator
    search_fields = ("name", "project__name", "owner__username", "public_id__startswith")
    show_full_result_count = False
    autocomplete_fields = ("project", "owner", "team")
    actions = ("revoke_selected",)
    history_fields = (
        *("mask", "previous_until", "revoked_at"),
        *("created_at", "updated_at", "last_used_at", "total_requests"),
    )
    readonly_fields = ("status", "spending", *history_fields)
    fieldsets = (
        (None, {"fields": ("name", "project", "owner", "team", "is_active", "expires_at")}),
        ("May use", {"fields": ("allowed_models",)}),
        *LIMIT_FIELDSETS,
        ("Upstream", {"fields": ("upstream_alias",)}),
        ("Notes", {"fields": ("tags", "notes", "metadata")}),
    )
    history = ("History", {"fields": history_fields})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[PaginatedList]:
        return PaginatedList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[VirtualKey], search_term: str
    ) -> tuple[QuerySet[VirtualKey], bool]:
        """Search like `search_fields`, but by ids of projects and owners: a join of a million keys takes seconds."""
        for word in search_term.split():
            projects = list(Project.objects.filter(name__icontains=word).values_list("pk", flat=True)[:MOST_MATCHES])
            users = get_user_model()._default_manager.filter(username__icontains=word)
            owners = list(users.values_list("pk", flat=True)[:MOST_MATCHES])
            matches = Q(name__icontains=word) | Q(public_id__startswith=word)
            queryset = queryset.filter(matches | Q(project__in=projects) | Q(owner__in=owners))
        return queryset, False

    def get_fieldsets(self, request: HttpRequest, obj: VirtualKey | None = None) -> Any:
        """Show the state of a key in one word: the checkbox alone would say that a revoked key is active."""
        if obj is None:
            return self.fieldsets
        (title, options), *others = self.fieldsets
        switch = ("is_active",) if self.has_change_permission(request, obj) else ()
        fields = [name for name in options["fields"] if name != "is_active"]
        return ((title, {"fields": ("status", *fields, *switch)}), *others, self.history)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        default = Project.objects.filter(name="default").first()
        return {
            "project": default and default.pk,
            **default_limits(),
            **super().get_changeform_initial_data(request),
        }

    def has_change_permission(self, request: HttpRequest, obj: VirtualKey | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.revoked_at is None)

    def why_closed(self, row: VirtualKey) -> str:
        return f"Key “{row}” is revoked, for good." if row.revoked_at is not None else ""

    def has_delete_permission(self, request: HttpRequest, obj: VirtualKey | None = None) -> bool:
        return False  # the ledger refers to them

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Mint a new key here, because the admin's log and its redirect need the row that minting makes."""
        unsaved = super().save_form(request, form, change)
        if change:
            return unsaved
        key, token = VirtualKey.objects.mint(**form.cleaned_data)
        self.message_user(request, token_message(key, token), messages.WARNING)
        return key

    def save_model(self, request: HttpRequest, obj: VirtualKey, form: Any, change: bool) -> None:
        if change and form.changed_data:
            obj.change(**{field: form.cleaned_data[field] for field in form.changed_data})
