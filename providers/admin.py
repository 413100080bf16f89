"""Providers and credentials in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from providers.forms import CredentialForm, ProviderForm, ProviderRowForm
from providers.health import health_of
from providers.models import Credential, Provider
from shown.merging import Merging
from shown.words import moment

if TYPE_CHECKING:
    ProviderModelAdmin = admin.ModelAdmin[Provider]
    CredentialModelAdmin = admin.ModelAdmin[Credential]
else:
    ProviderModelAdmin = CredentialModelAdmin = admin.ModelAdmin


def may_store_secrets(request: HttpRequest) -> bool:
    return request.user.has_perms(["providers.add_credential", "providers.change_credential"])


@admin.register(Provider)
class ProviderAdmin(Merging, ProviderModelAdmin):
    form = ProviderForm
    list_display = (
        "name",
        "kind",
        "base_url",
        "models_shown",
        "health_shown",
        "credential_alias",
        "is_enabled",
        "priority",
        "weight",
    )
    list_editable = ("is_enabled", "priority", "weight")
    list_filter = ("kind", "is_enabled", "health__status")
    list_select_related = ("health",)
    search_fields = ("name", "base_url")
    readonly_fields = ("health_shown", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "is_enabled", "health_shown")}),
        ("Credential", {"fields": ("credential_alias", "api_key")}),
        ("Models", {"fields": ("model_map",)}),
        ("Share of the requests", {"fields": (("priority", "weight"),)}),
        ("Options of its kind", {"fields": ("options",), "classes": ("collapse",)}),
        ("History", {"fields": ("created_at", "updated_at"), "classes": ("collapse",)}),
    )
    without_secret = tuple(
        (title, {"fields": ("credential_alias",)} if title == "Credential" else options) for title, options in fieldsets
    )

    @admin.display(description="models")
    def models_shown(self, provider: Provider) -> str:
        names = list(provider.model_map)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return ", ".join(names[:3]) + more or "every model"

    @admin.display(description="health", ordering="health__status")
    def health_shown(self, provider: Provider) -> str:
        health = health_of(provider)
        if health.since is None:
            return "never checked" if provider.is_enabled else "not checked"
        took = f", {health.latency_ms:.0f} ms" if health.latency_ms is not None else ""
        return f"{health.status} since {moment(health.since)}{took}. {health.error}".strip()

    def get_fieldsets(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        return self.fieldsets if may_store_secrets(request) else self.without_secret

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> Any:
        return super().get_changelist_form(request, form=ProviderRowForm, **kwargs)

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        fields = {field: form.cleaned_data[field] for field in form.changed_data if field != "api_key"}
        # The form reads `api_key` from the request even if `get_fieldsets` has left it off the page.
        secret = form.cleaned_data.get("api_key") if may_store_secrets(request) else None
        if not change or fields or secret:
            obj.change(secret=secret or None, **fields)


@admin.register(Credential)
class CredentialAdmin(Merging, CredentialModelAdmin):
    form = CredentialForm
    list_display = ("alias", "provider", "mask", "is_usable", "updated_at")
    list_filter = ("provider",)
    list_select_related = ("provider",)
    search_fields = ("alias", "provider__name")
    autocomplete_fields = ("provider",)
    readonly_fields = ("mask", "created_at", "updated_at")

    @admin.display(description="usable", boolean=True)
    def is_usable(self, credential: Credential) -> bool:
        return credential.usable

    def get_fieldsets(self, request: HttpRequest, obj: Credential | None = None) -> Any:
        write: tuple[Any, Any] = (None, {"fields": ("alias", "provider", "secret")})
        return (write, ("Stored", {"fields": self.readonly_fields})) if obj else (write,)

    def save_model(self, request: HttpRequest, obj: Credential, form: Any, change: bool) -> None:
        fields = {field: form.cleaned_data[field] for field in form.changed_data if form.cleaned_data[field] != ""}
        if fields:
            obj.change(**fields)
