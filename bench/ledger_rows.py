"""Makes a ledger with very many rows in PostgreSQL, inside the server, and the totals that belong to them.

The rows are plausible. They are spread evenly over 90 days. A few keys have most of the requests. Each key asks for
four of the models, mostly for one of them, and some models are asked for by most keys. A model has one provider, and
another provider answers one in twenty of its requests. One key in five has one or two of 30 tags, and so have its
requests. Some models are hardly ever asked for. One fifteenth of the requests failed in one way or another. If key,
model and provider were drawn independently, as in no installation, there would be as many sums as requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg

from usage.ledger.partitions import TABLE, WEEK, create, partition_of, week_of

DAYS = 90
KEYS = 5_000
MODELS, MODELS_OF_A_KEY, PROVIDERS, TAGS = 40, 4, 6, 30
AT_ONCE = 250_000
EVER, SLOT_S = -1, 900
"""The same as in `usage.ledger.totals`, which cannot be imported without Django's settings."""

RARE_MODEL, NO_MODEL, RETIRED_MODEL = "rare-1", "there-is-none", "retired-1"
"""The models of one row in a hundred thousand; of no row; of one row in twenty, but of none in the last sixty days."""

RARE_STATUS = 418

# Each inner SELECT computes the columns that the next one needs. `random()` is drawn anew for each row. Project, owner
# and team are those of the key, as in the proxy.
ROWS = (
    """
INSERT INTO usage_requestrecord (
  id, created_at, key_id, project_id, user_id, team_id, method, endpoint, provider, credential, model, model_served,
  stream, status_code, outcome, error, cache, attempts, prompt_tokens, completion_tokens, cached_tokens,
  reasoning_tokens, usage_source, cost_picousd, price_source, ttft_ms, duration_ms, upstream_ms, request_bytes,
  response_bytes, ip, correlation_id, response_id, tags
)
SELECT
  'req_' || lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || 'be9c4be9c4'
         || lpad(to_hex(i), 8, '0'),
  at, key.id, key.project_id, key.owner_id, key.team_id, 'POST', endpoint,
  CASE WHEN reached THEN provider ELSE '' END, CASE WHEN reached THEN 'default' ELSE '' END,
  model, CASE WHEN reached THEN model || '-2026-04-14' ELSE '' END, i %% 3 = 0, status_code,
  CASE WHEN status_code = 200 THEN 'complete' WHEN status_code = 499 THEN 'client_closed'
       WHEN reached THEN 'upstream_error' ELSE 'refused' END,
  CASE WHEN status_code = 200 THEN '' WHEN reached THEN 'upstream_' || status_code ELSE 'rate_limit_exceeded' END,
  '', reached::int,
  CASE WHEN whole THEN 20 + floor(4000 * size ^ 3)::int END, CASE WHEN whole THEN 5 + floor(900 * size ^ 2)::int END,
  CASE WHEN whole THEN 0 END, CASE WHEN whole THEN 0 END, CASE WHEN whole THEN 'provider' ELSE '' END,
  CASE WHEN whole THEN floor(4000000000 * size)::bigint END, CASE WHEN whole THEN 'genai-prices' ELSE '' END,
  CASE WHEN reached THEN 200 + 800 * size END, 250 + 9000 * size, CASE WHEN reached THEN 249 + 9000 * size END,
  300 + floor(16000 * size ^ 3)::int, 400 + floor(4000 * size ^ 2)::int,
  ('10.0.' || i %% 7 || '.' || i %% 250)::inet,
  CASE WHEN i %% 10 = 0 THEN 'trace-' || md5('c' || i) ELSE '' END,
  CASE WHEN whole THEN 'chatcmpl-' || md5('r' || i) ELSE '' END,
  key.tags
FROM (
  SELECT *, status_code IN (200, 499, 502, 504, 418) AS reached, status_code = 200 AS whole,
    CASE WHEN draw_model < 0.00001 THEN '{rare}'
         WHEN draw_model > 0.95 AND at < %(retired)s THEN '{retired}'
         ELSE 'model-' || number END AS model,
    CASE WHEN draw_model < 0.00001 THEN 'rare'
         ELSE 'provider-' || (number + CASE WHEN i %% 20 = 7 THEN 3 ELSE 0 END) %% {providers} END AS provider
  FROM (
   SELECT *, floor({models} * ((hashint8(key_id * {of_a_key} + floor({of_a_key} * draw_model ^ 2)::int) & 65535)
                               / 65536.0) ^ 3)::int AS number
   FROM (
    SELECT i, %(start)s + %(days)s * interval '1 day' * (i::float8 / %(rows)s) AS at,
      random() AS draw_model, random() AS size,
      %(first_key)s + floor(%(keys)s * random() ^ 3)::int AS key_id,
      CASE WHEN i %% 12 = 0 THEN '/v1/embeddings' WHEN i %% 25 = 0 THEN '/v1/responses' ELSE '/v1/chat/completions' END
        AS endpoint,
      CASE floor(1000 * draw_status)::int / 5
        WHEN 0 THEN 502 WHEN 1 THEN 504 WHEN 2 THEN 400 WHEN 3 THEN 499 WHEN 4 THEN 499
        ELSE CASE WHEN draw_status > 0.96 THEN 429 WHEN draw_status BETWEEN 0.5 AND 0.50001 THEN {status} ELSE 200 END
        END AS status_code
    FROM (SELECT i, random() AS draw_status FROM generate_series(%(first)s::int, %(last)s::int) AS i) AS drawn
   ) AS chosen
  ) AS known
) AS row JOIN keys_virtualkey AS key ON key.id = row.key_id
ORDER BY i
""".replace("{rare}", RARE_MODEL)
    .replace("{retired}", RETIRED_MODEL)
    .replace("{status}", str(RARE_STATUS))
    .replace("{models}", str(MODELS))
    .replace("{of_a_key}", str(MODELS_OF_A_KEY))
    .replace("{providers}", str(PROVIDERS))
)

KEYS_OWN = f"""
UPDATE keys_virtualkey SET budget_picousd = 1000000000000000, period = 'month', tags = CASE
  WHEN id %% 10 = 0 THEN jsonb_build_array('tag-' || id / 5 %% {TAGS}, 'tag-' || (id / 5 + 1 + id / 50 %% 29) %% {TAGS})
  WHEN id %% 5 = 0 THEN jsonb_build_array('tag-' || id / 5 %% {TAGS})
  ELSE '[]' END
WHERE id >= %s
"""

TOTALS = """
INSERT INTO usage_scopetotal (kind, ident, slot, requests, cost_picousd)
SELECT '{kind}', {ident}, {slot}, count(*), coalesce(sum(cost_picousd), 0)
FROM usage_requestrecord WHERE {ident} IS NOT NULL AND outcome <> 'refused' GROUP BY 2, 3 ORDER BY 2, 3
"""
SCOPES = {"key": "key_id::text", "user": "user_id::text", "team": "team_id::text", "project": "project_id::text",
          "global": "'1'"}  # fmt: skip


def fill(url: str, rows: int, end: datetime, keys: int = KEYS) -> Iterator[int]:
    """Add rows and totals of the 90 days before `end`, for the newest `keys` keys. Yields how many rows there are."""
    start = end - timedelta(days=DAYS)
    with psycopg.connect(url, autocommit=True) as connection:
        make_weeks(connection, start, end)
        newest = connection.execute("SELECT max(id) FROM keys_virtualkey").fetchone()
        assert newest
        connection.execute(KEYS_OWN, [newest[0] - keys + 1])
        connection.execute("SELECT setseed(0.5)")
        parameters = {
            "start": start, "days": DAYS, "rows": rows, "keys": keys, "first_key": newest[0] - keys + 1,
            "retired": end - timedelta(days=60),
        }  # fmt: skip
        for first in range(0, rows, AT_ONCE):
            last = min(first + AT_ONCE, rows) - 1
            connection.execute(ROWS, {**parameters, "first": first, "last": last})
            yield last + 1
        for kind, ident in SCOPES.items():
            for slot in (str(EVER), f"floor(extract(epoch FROM created_at) / {SLOT_S})::int"):
                connection.execute(TOTALS.format(kind=kind, ident=ident, slot=slot))
        connection.execute("VACUUM ANALYZE")


def make_weeks(connection: psycopg.Connection, start: datetime, end: datetime) -> None:
    """Make the partitions of these weeks, as Sluice would have made them while time went by."""
    names = {name for (name,) in connection.execute(f"SELECT inhrelid::regclass::text FROM pg_inherits "
                                                    f"WHERE inhparent = '{TABLE}'::regclass")}  # fmt: skip
    week = week_of(start)
    while week <= end:
        if partition_of(week).name not in names:
            with connection.transaction(), connection.cursor() as cursor:
                create(cursor, partition_of(week))
        week += WEEK


def now() -> datetime:
    """The present time, cut to whole seconds. The ids of rows contain milliseconds."""
    return datetime.fromtimestamp(int(datetime.now(UTC).timestamp()), UTC)
