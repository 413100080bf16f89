"""Teams, tiers, users and global limits in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html

from keys.admin.limits import LIMIT_FIELDSETS, CappedPaginator, InUseShown, SpendingShown
from keys.changes import changed
from keys.models import Account, GlobalLimits, Team, Tier
from shown.asking import MOST_NAMED, Question, ask, is_answered, selection
from shown.merging import Merging
from shown.words import counted, moment

if TYPE_CHECKING:
    TeamModelAdmin = admin.ModelAdmin[Team]
    TierModelAdmin = admin.ModelAdmin[Tier]
    AccountModelAdmin = admin.ModelAdmin[Account]
    GlobalModelAdmin = admin.ModelAdmin[GlobalLimits]
    DjangoUserAdmin = UserAdmin[User]
    DjangoGroupAdmin = GroupAdmin
else:
    DjangoUserAdmin, DjangoGroupAdmin = UserAdmin, GroupAdmin
    TeamModelAdmin = TierModelAdmin = AccountModelAdmin = GlobalModelAdmin = admin.ModelAdmin


@admin.register(Team)
class TeamAdmin(Merging, InUseShown, SpendingShown, TeamModelAdmin):
    list_display = ("name", "limits_shown", "created_at", "its_keys")
    search_fields = ("name", "notes")
    autocomplete_fields = ("members",)
    readonly_fields = ("spending", "created_at", "updated_at")
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("name", "members", "notes")}),
        *LIMIT_FIELDSETS,
        ("History", {"fields": ("created_at", "updated_at"), "classes": ("collapse",)}),
    )

    @admin.display(description="keys")
    def its_keys(self, team: Team) -> str:
        return format_html(
            '<a href="{}?team__id__exact={}">Keys</a>', reverse("admin:keys_virtualkey_changelist"), team.pk
        )


@admin.register(Tier)
class TierAdmin(Merging, TierModelAdmin):
    list_display = ("name", "daily_embeddings", "compute", "updated_at")
    list_filter = ("compute",)
    search_fields = ("name",)
    readonly_fields = ("created_at", "updated_at")


@admin.register(Account)
class AccountAdmin(Merging, SpendingShown, AccountModelAdmin):
    """A user's tier and limits. Users are created, deactivated and deleted on the pages of users."""

    list_display = ("user", "public_id", "tier", "user_active", "limits_shown", "its_keys")
    list_filter = ("tier", "user__is_active")
    list_select_related = ("user", "tier")
    search_fields = ("user__username", "user__email", "public_id")
    readonly_fields = ("user", "public_id", "spending", "created_at", "updated_at")
    paginator = CappedPaginator
    show_full_result_count = False
    actions = ("put_on_free", "put_on_paid")
    fieldsets = (
        (None, {"fields": ("user", "public_id", "tier")}),
        *LIMIT_FIELDSETS,
        ("History", {"fields": ("created_at", "updated_at"), "classes": ("collapse",)}),
    )

    @admin.display(description="active", boolean=True, ordering="user__is_active")
    def user_active(self, account: Account) -> bool:
        return account.user.is_active

    @admin.display(description="keys")
    def its_keys(self, account: Account) -> str:
        return format_html(
            '<a href="{}?owner__id__exact={}">Keys</a>', reverse("admin:keys_virtualkey_changelist"), account.pk
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        """Only together with the user: deleting a user asks for this permission, too."""
        match = request.resolver_match
        with_the_user = match is not None and str(match.url_name).startswith("auth_user")
        return with_the_user and super().has_delete_permission(request, obj)

    @admin.action(description="Put selected accounts on the tier “free”", permissions=["change"])
    def put_on_free(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        self._put_on("free", request, accounts)

    @admin.action(description="Put selected accounts on the tier “paid”", permissions=["change"])
    def put_on_paid(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        self._put_on("paid", request, accounts)

    def _put_on(self, name: str, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        tier = Tier.objects.filter(name=name).first()
        if tier is None:
            self.message_user(request, f"There is no tier {name!r}.", messages.ERROR)
            return
        ids = list(accounts.values_list("pk", flat=True))
        Account.objects.filter(pk__in=ids).update(tier=tier)
        changed.send(sender=Account, ids=ids)
        self.message_user(request, f"Put {counted(len(ids), 'account')} on the tier {name!r}.", messages.SUCCESS)


@admin.register(GlobalLimits)
class GlobalLimitsAdmin(Merging, SpendingShown, GlobalModelAdmin):
    """There is one row, so the list redirects to it."""

    readonly_fields = ("spending", "updated_at")
    fieldsets = (*LIMIT_FIELDSETS, ("History", {"fields": ("updated_at",), "classes": ("collapse",)}))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        row = GlobalLimits.current()
        if row._state.adding:
            return HttpResponseRedirect(reverse("admin:keys_globallimits_add"))
        return HttpResponseRedirect(reverse("admin:keys_globallimits_change", args=[row.pk]))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and GlobalLimits.current()._state.adding

    def has_delete_permission(self, request: HttpRequest, obj: GlobalLimits | None = None) -> bool:
        return False


class SluiceUserAdmin(Merging, InUseShown, DjangoUserAdmin):
    """Django's own page, with an action to deactivate users: those with keys cannot be deleted."""

    list_display = ("username", "email", "is_active", "is_staff", "last_login", "its_account")
    list_select_related = ("account",)
    actions = ("deactivate_selected",)
    show_full_result_count = False
    paginator = CappedPaginator

    @admin.action(description="Deactivate selected users: their keys are refused", permissions=["change"])
    def deactivate_selected(self, request: HttpRequest, users: QuerySet[User]) -> HttpResponse | None:
        chosen = users.filter(is_active=True).exclude(username=request.user.get_username())
        if not request.user.is_superuser:
            chosen = chosen.filter(is_staff=False)  # as in the API
        ids = sorted(chosen.order_by().values_list("pk", flat=True))
        about = ("deactivate_selected", ids)
        if ids and not is_answered(request, about):
            return ask(self, request, self._question(request, ids, about))
        User.objects.filter(pk__in=ids).update(is_active=False)
        changed.send(sender=Account, ids=ids)
        self.message_user(request, f"Deactivated {counted(len(ids), 'user')}.", messages.SUCCESS)
        return None

    def _question(self, request: HttpRequest, ids: list[int], about: object) -> Question:
        kept = Count("virtual_keys", filter=Q(virtual_keys__revoked_at__isnull=True))
        users = User.objects.filter(pk__in=ids[:MOST_NAMED]).annotate(its_keys=kept).order_by("username")
        users_text = counted(len(ids), "user")
        return Question(
            title=f"Deactivate {users_text}?",
            consequence="They can sign in no longer, and all requests with their keys are refused, until they are "
            "activated again.",
            columns=("User", "Last sign-in", "Keys"),
            rows=[(user.username, moment(user.last_login), f"{user.its_keys:,}") for user in users],
            more=f"And {counted(len(ids) - MOST_NAMED, 'more user')}." if len(ids) > MOST_NAMED else "",
            yes=f"Yes, deactivate {users_text}",
            back=request.get_full_path(),
            about=about,
            hidden=selection(request, "deactivate_selected"),
        )

    @admin.display(description="account")
    def its_account(self, user: User) -> str:
        account = getattr(user, "account", None)
        if account is None:
            return "-"
        return format_html('<a href="{}">{}</a>', reverse("admin:keys_account_change", args=[account.pk]), account)


class SluiceGroupAdmin(Merging, DjangoGroupAdmin):
    pass


admin.site.unregister([User, Group])
admin.site.register(User, SluiceUserAdmin)
admin.site.register(Group, SluiceGroupAdmin)
