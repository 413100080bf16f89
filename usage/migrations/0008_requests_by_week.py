"""On PostgreSQL the requests' table becomes one of weekly partitions; its rows move. Elsewhere only indexes change."""

from datetime import UTC, datetime

from django.db import migrations, models

from usage.ids import EPOCH, MS, PREFIX
from usage.ledger.partitions import DEFAULT, TABLE, WEEK, WEEKS_AHEAD, create, partition_of, week_of

OLD = f"{TABLE}_old"
LIKE_OLD = f"LIKE {OLD} INCLUDING DEFAULTS INCLUDING CONSTRAINTS"


def partition(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        indexes = set_aside(cursor)
        # Ids are in order of time byte by byte; a language's order of letters and digits may be another one.
        cursor.execute(f'ALTER TABLE {OLD} ALTER COLUMN id TYPE varchar(40) COLLATE "C"')
        cursor.execute(f"CREATE TABLE {TABLE} ({LIKE_OLD}) PARTITION BY RANGE (id)")
        for week in weeks(cursor):
            create(cursor, partition_of(week))
        cursor.execute(f"CREATE TABLE {DEFAULT} PARTITION OF {TABLE} DEFAULT")
        take_over(cursor, indexes)


def unpartition(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        indexes = set_aside(cursor)
        cursor.execute(f"CREATE TABLE {TABLE} ({LIKE_OLD})")
        cursor.execute(f'ALTER TABLE {TABLE} ALTER COLUMN id TYPE varchar(40) COLLATE "default"')
        take_over(cursor, indexes)
        cursor.execute(f"CREATE INDEX {TABLE}_id_like ON {TABLE} (id varchar_pattern_ops)")


def set_aside(cursor):
    """Rename the table and take its indexes away. Returns the statements that make them, without the primary key's, and
    without that for LIKE, which Django gives a text that is a key: in the order of bytes it is the same once more.
    """
    cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
    cursor.execute(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass AND NOT indisprimary", [TABLE]
    )
    indexes = [
        statement.replace(" ON ONLY ", " ON ") for (statement,) in cursor.fetchall() if "varchar_pattern_ops" not in statement
    ]
    cursor.execute(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass AND NOT indisprimary", [TABLE]
    )
    for (name,) in cursor.fetchall():
        cursor.execute(f"DROP INDEX {name}")
    cursor.execute("SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'", [TABLE])
    cursor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT {cursor.fetchone()[0]}")
    cursor.execute(f'ALTER TABLE {TABLE} RENAME TO {OLD}')
    return indexes


def take_over(cursor, indexes):
    """Rows, then indexes: the other way round takes three times as long."""
    cursor.execute(f"INSERT INTO {TABLE} SELECT * FROM {OLD}")
    cursor.execute(f"DROP TABLE {OLD}")
    cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_pkey PRIMARY KEY (id)")
    for statement in indexes:
        cursor.execute(statement)
    cursor.execute(f"ANALYZE {TABLE}")


def weeks(cursor):
    """Those that have rows, and those that will have some next."""
    cursor.execute(
        f"SELECT DISTINCT ('x' || substr(id, 5, 12))::bit(48)::bigint / %s FROM {OLD} WHERE id ~ '^{PREFIX}[0-9a-f]{{12}}'",
        [24 * 3600 * 1000],
    )
    now = datetime.now(UTC)
    ahead = {week_of(now) + number * WEEK for number in range(WEEKS_AHEAD + 1)}
    had = {week_of(EPOCH + day * 24 * 3600 * 1000 * MS) for (day,) in cursor.fetchall() if day < 2_900_000}
    return sorted(ahead | had)


def summarize(apps, schema_editor):
    """What each few hundred rows hold, in two bytes a row: steps (`usage/ledger/walk.py`) skip those without what is looked for."""
    if schema_editor.connection.vendor == "postgresql":
        columns = "model text_bloom_ops, provider text_bloom_ops, team_id int8_bloom_ops"
        schema_editor.execute(
            f"CREATE INDEX request_summary ON {TABLE} USING brin ({columns}) WITH (pages_per_range = 32)"
        )


def unsummarize(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX request_summary")


class Migration(migrations.Migration):

    dependencies = [
        ('usage', '0007_totals_and_teams'),
    ]

    operations = [
        migrations.AlterField(
            model_name='requestrecord',
            name='created_at',
            field=models.DateTimeField(),
        ),
        migrations.RunPython(partition, unpartition),
        migrations.AddIndex(
            model_name='requestrecord',
            index=models.Index(condition=models.Q(('status_code', 200), _negated=True), fields=['status_code', '-id'], name='request_by_status'),
        ),
        migrations.AddIndex(
            model_name='requestrecord',
            index=models.Index(condition=models.Q(('outcome', 'complete'), _negated=True), fields=['outcome', '-id'], name='request_by_outcome'),
        ),
        migrations.RunPython(summarize, unsummarize),
    ]
