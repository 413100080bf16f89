"""Pages of the admin: what a superuser enters and confirms, and one row for each page."""

from __future__ import annotations

import re
from decimal import Decimal

from django.contrib import admin as django_admin
from django.contrib.auth.models import Group, User
from django.test import RequestFactory

from keys.models import Account, GlobalLimits, Team, Tier
from tests.kit.html_forms import filled
from tests.kit.rows import make_credential, make_key, make_project, make_provider
from usage.prices.override import PriceOverride


def key_form(in_project, **fields):
    empty = {"expires_at_0": "", "expires_at_1": "", "allowed_models": "", "rpm": "", "upstream_alias": "", "owner": ""}
    texts = {"metadata": "{}", "tags": "", "notes": "", "is_active": "on", "period": "total", "soft_threshold": "0.8"}
    return {"name": "k", "project": in_project.pk, **empty, **texts, **fields}


def confirmed(admin, address, sent=None, **changes):
    """The page that follows after a confirmation page was answered with yes."""
    page = admin.get(address) if sent is None else admin.post(address, sent)
    return admin.post(address, filled(page, "ask_form", **changes), follow=True)


def tokens_in(page):
    return re.findall(r"<code>(sk-sluice-\w+)</code>", page.content.decode())


def changeable():
    """All registered models whose rows a user with every permission can change: (model, page, request)."""
    request = RequestFactory().get("/admin/")
    request.user = User(is_superuser=True, is_active=True, is_staff=True)
    return [
        (model, page, request)
        for model, page in django_admin.site._registry.items()
        if page.has_change_permission(request)
    ]


def one_of_each():
    """Make one row of each model that can be changed. Returns them by model."""
    provider = make_provider("one", credential_alias="default", model_map={"a": "b", "c": ""}, options={})
    user = User.objects.create_user("somebody", email="a@example.org", first_name=" A ")
    user.groups.add(Group.objects.create(name="g"))
    GlobalLimits.current().change(rpm=9)
    team = Team.objects.create(name="t", notes="a\nb")
    team.members.add(user)
    made = [
        *(provider, make_credential(provider=provider), user, Group.objects.get(), GlobalLimits.objects.get(), team),
        *(Account.of(user), Tier.default(), make_key(notes="a\nb", owner=user, team=team)),
        make_project(allowed_params={"model": ["x"]}, allowed_origins=["*"], notes=" a\r\nb "),
        PriceOverride.objects.create(provider="one", model="m", input=Decimal("1.5"), output=Decimal(2)),
    ]
    return {type(row): row for row in made}
