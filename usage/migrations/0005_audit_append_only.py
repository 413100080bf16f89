from django.db import migrations

from usage.audit import guard


def put(apps, schema_editor):
    guard.put(schema_editor.connection)


def lift(apps, schema_editor):
    guard.lift(schema_editor.connection)


class Migration(migrations.Migration):

    dependencies = [
        ('usage', '0004_audit_log'),
    ]

    operations = [
        migrations.RunPython(put, lift),
    ]
