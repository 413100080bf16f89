"""How fast reports answer: `/api/usage` and related endpoints, on the ledger that `bench/ledger_rows.py` makes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from urllib.parse import quote

import httpx
import psycopg

from bench.keys import timed
from bench.ledger_rows import DAYS, KEYS, MODELS, TAGS
from bench.result import Result, slow
from bench.servers import Server
from tests.kit.environment import MANAGEMENT_TOKEN

MOST_MS = 1_000
BY = ("key", "user", "team", "project", "provider", "model", "tag")
PERIODS = ("hour", "day", "week", "month", "total")
ZONE = "time_zone=Europe/Berlin"
"""A zone that is never at UTC, so its days are added up from the sums of hours."""

SUMS = ("hour", "day", "hourmodel", "daymodel", "hourkind", "daykind")
Query = Callable[[random.Random], str]


def disk_of_sums(url: str, rows: float) -> Iterator[Result]:
    """How many sums there are for a row, and how much disk they take."""
    with psycopg.connect(url) as connection:
        total = 0.0
        for name in SUMS:
            table = f"usage_{name}rollup"
            row = connection.execute(f"SELECT count(*), pg_total_relation_size('{table}') FROM {table}").fetchone()
            assert row
            yield Result("ledger", f"sums for a row: {name}", row[0] / rows, "")
            total += row[1]
        yield Result("ledger", "disk for its share of the sums", total / rows, "bytes")


def reports(server: Server, url: str, end: datetime, samples: int) -> list[Result]:
    token = {"authorization": f"Bearer {MANAGEMENT_TOKEN}"}
    results = []
    with httpx.Client(base_url=server.root, headers=token, timeout=120, trust_env=False) as api:
        for name, query in queries(url, end).items():
            draw = random.Random(name)
            answers = [timed(api, query(draw)) for _ in range(samples)]
            results.append(slow("ledger", f"usage: {name}", [ms for _, ms in answers], at_most=MOST_MS))
    return results


def queries(url: str, end: datetime) -> dict[str, Query]:
    """The queries by name. Each sample has another span or another filter, if the query has a choice."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT max(id) FROM keys_virtualkey").fetchone()
        assert row
        key = row[0] - KEYS + 1

    def span(draw: random.Random, days: int) -> str:
        """A span of so many days that the ledger has. Its last day is drawn from the last week."""
        last = end - timedelta(days=draw.randrange(min(8, DAYS - days + 1)))
        since = last - timedelta(days=days - 1)
        return f"from={since:%Y-%m-%d}&to={quote((last + timedelta(days=1)).strftime('%Y-%m-%d'))}"

    def usage(*parts: str, days: int = 30, one: Callable[[random.Random], str] = lambda draw: "") -> Query:
        return lambda draw: "/api/usage?" + "&".join(filter(None, (*parts, one(draw), span(draw, days))))

    def spread(noun: str) -> Callable[[random.Random], str]:
        values: dict[str, Query] = {
            "key": lambda draw: f"{key + draw.randrange(KEYS)}",
            "busy key": lambda draw: f"{key + draw.randrange(5)}",
            "user": lambda draw: f"user-{draw.randint(1, 1000)}",
            "team": lambda draw: f"team-{draw.randint(1, 100)}",
            "project": lambda draw: f"project-{draw.randint(1, 50)}",
            "provider": lambda draw: f"provider-{draw.randrange(6)}",
            "model": lambda draw: f"model-{draw.randrange(MODELS)}",
            "tag": lambda draw: f"tag-{draw.randrange(TAGS)}",
        }
        return lambda draw: f"{noun.removeprefix('busy ')}={values[noun](draw)}"

    nouns = {"nothing": "", **{noun: noun for noun in BY}}
    by_name: dict[str, Query] = {}
    for name, noun in nouns.items():
        by = f"group_by={noun}"
        by_name[f"by {name}, 30 days"] = usage(by)
        by_name[f"by {name}, 90 days"] = usage(by, days=90)
        by_name[f"by {name}, a day by hour"] = usage(by, "period=hour", days=1)
        by_name[f"by {name}, 30 days by hour"] = usage(by, "period=hour")
        for period in ("week", "month", "total"):
            by_name[f"by {name}, 90 days by {period}"] = usage(by, f"period={period}", days=90)
        by_name[f"by {name}, Europe/Berlin, 30 days"] = usage(by, ZONE)
        by_name[f"by {name}, Europe/Berlin, 90 days in total"] = usage(by, ZONE, "period=total", days=90)
        by_name[f"by {name}, 500 lines"] = usage(by, "page_size=500", days=90)
    for pair in ("project,model", "key,model"):
        for period in ("day", "total"):
            by_name[f"by {pair}, 30 days by {period}"] = usage(f"group_by={pair}", f"period={period}")
        by_name[f"by {pair}, 90 days by month"] = usage(f"group_by={pair}", "period=month", days=90)
    for noun in ("busy key", "key", "user", "team", "project", "provider", "model", "tag"):
        by = "group_by=key" if noun == "model" else "group_by=model"
        by_name[f"of a {noun}, by {by[9:]}, 30 days"] = usage(by, one=spread(noun))
        by_name[f"of a {noun}, by {by[9:]}, 90 days in total"] = usage(by, "period=total", days=90, one=spread(noun))
    by_name["of a tag, by key, Europe/Berlin, 30 days"] = usage("group_by=key", ZONE, one=spread("tag"))
    by_name["gaps filled: by project, 30 days"] = usage("group_by=project", "fill=true")
    by_name["file: by key, 30 days in total, whole"] = usage("group_by=key", "period=total", "format=csv")
    by_name["file: by model, 30 days, whole"] = usage("group_by=model", "format=csv")
    by_name["file: by tag, 30 days, whole"] = usage("group_by=tag", "format=csv")
    by_name["budgets"] = lambda draw: "/api/usage/budgets"
    by_name["a busy key's own, 30 days"] = lambda draw: f"/api/keys/{key + draw.randrange(5)}/usage?days=30"
    by_name["a key's own, 30 days"] = lambda draw: f"/api/keys/{key + draw.randrange(KEYS)}/usage?days=30"
    return by_name
