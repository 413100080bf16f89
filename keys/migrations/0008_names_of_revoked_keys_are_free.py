from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("keys", "0007_statistics_of_names")]

    operations = [
        migrations.RemoveConstraint(model_name="virtualkey", name="key_name_unique_in_project"),
        migrations.AddConstraint(
            model_name="virtualkey",
            constraint=models.UniqueConstraint(
                fields=["project", "name"],
                condition=models.Q(("revoked_at__isnull", True)),
                name="key_name_unique_in_project",
                violation_error_message="This project has a key of that name already.",
                violation_error_code="duplicate_name",
            ),
        ),
    ]
