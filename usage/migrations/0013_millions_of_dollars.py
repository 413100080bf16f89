from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0012_request_bodies"),
    ]

    operations = [
        migrations.AddField(
            model_name="scopetotal",
            name="cost_millions",
            field=models.BigIntegerField(db_default=0, default=0, help_text="Of dollars."),
        ),
        migrations.AlterField(
            model_name="scopetotal",
            name="cost_picousd",
            field=models.BigIntegerField(default=0, help_text="What is not in `cost_millions`."),
        ),
    ]
