"""Without them PostgreSQL takes every word for a rare one, and reads and sorts all keys for a page of a search for a
common one."""

from django.db import migrations

PUT = """
CREATE STATISTICS keys_virtualkey_upper_name ON (UPPER("name"::text)) FROM keys_virtualkey;
ANALYZE keys_virtualkey;
"""
LIFT = "DROP STATISTICS IF EXISTS keys_virtualkey_upper_name"


def put(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(PUT)


def lift(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(LIFT)


class Migration(migrations.Migration):

    dependencies = [
        ('keys', '0006_capture_bodies'),
    ]

    operations = [
        migrations.RunPython(put, lift),
    ]
