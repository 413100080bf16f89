from django.conf import settings
from django.db import migrations

from keys.models.account import new_public_id

TIERS = [("free", 1000, "byok"), ("paid", 50_000, "local")]


def make(apps, schema_editor):
    """The tiers that exist from the start, and an account for each user of before."""
    tier = apps.get_model("keys", "Tier")
    account = apps.get_model("keys", "Account")
    user = apps.get_model(settings.AUTH_USER_MODEL)
    for name, daily, compute in TIERS:
        tier.objects.get_or_create(name=name, defaults={"daily_embeddings": daily, "compute": compute})
    free = tier.objects.get(name="free")
    without = user.objects.filter(account__isnull=True).values_list("pk", flat=True)
    account.objects.bulk_create(
        [account(user_id=pk, tier=free, public_id=new_public_id()) for pk in without], batch_size=500
    )


class Migration(migrations.Migration):

    dependencies = [
        ("keys", "0002_limits_teams_accounts"),
    ]

    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
