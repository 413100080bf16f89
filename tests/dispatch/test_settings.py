"""A wrong setting stops the start with a line for each: which, what it is, what to write; and no secret in it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from config.environment import Environment
from config.sending import addresses_from, alert_webhook_from, dispatchers_from, mail_from, sender_from
from tests.kit.environment import ROOT, server_environment
from tests.kit.services import SERVICES, processes

SECRET = "a-secret-of-the-tests-0123456789"


def read(**variables: str) -> tuple[Any, list[str]]:
    env = Environment(variables)
    return dispatchers_from(env), env.errors


def test_without_a_word_nobody_is_told():
    assert read() == ((), [])


def test_dispatchers_are_named_and_have_settings_by_their_names():
    targets, errors = read(
        DISPATCH_TO="file, hook-1=webhook, lunary, otlp",
        DISPATCH_FILE_MAX_BYTES="5000",
        DISPATCH_FILE_BACKUPS="0",
        DISPATCH_HOOK_1_URL="https://example.org/hook",
        DISPATCH_HOOK_1_SECRET=SECRET,
        DISPATCH_HOOK_1_HEADERS="X-Team=red, x-y=a=b",
        DISPATCH_LUNARY_KEY="k",
        DISPATCH_OTLP_URL="http://collector:4318",
    )
    assert errors == []
    file, hook, lunary, otlp = targets
    assert (file.name, file.max_bytes, file.backups) == ("file", 5000, 0)
    assert (hook.name, hook.kind, hook.secret) == ("hook-1", "webhook", SECRET)
    assert hook.headers == (("x-team", "red"), ("x-y", "a=b"))
    assert (lunary.url, lunary.api_key) == ("https://api.lunary.ai", "k")
    assert otlp.url == "http://collector:4318"


@pytest.mark.parametrize(
    "variables, line",
    [
        ({"DISPATCH_TO": "kafka"}, "DISPATCH_TO: there is no dispatcher 'kafka'; use file, webhook,"),
        ({"DISPATCH_TO": "Mine!=file"}, "DISPATCH_TO: a dispatcher's name has up to 32 of"),
        ({"DISPATCH_TO": "file,file"}, "DISPATCH_TO: two dispatchers are named 'file'"),
        ({"DISPATCH_TO": "webhook"}, "DISPATCH_WEBHOOK_URL: a dispatcher of kind webhook needs it"),
        ({"DISPATCH_TO": "helicone"}, "DISPATCH_HELICONE_KEY: a dispatcher of kind helicone needs it"),
        ({"DISPATCH_TO": "file", "DISPATCH_FILE_MAX_BYTES": "few"}, "DISPATCH_FILE_MAX_BYTES: 'few' does not fit"),
        (
            {"DISPATCH_TO": "otlp", "DISPATCH_OTLP_URL": "collector"},
            "DISPATCH_OTLP_URL: its value does not fit; use a URL",
        ),
        (
            {"DISPATCH_TO": "webhook", "DISPATCH_WEBHOOK_URL": "http://x", "DISPATCH_WEBHOOK_SECRET": "hunter2"},
            "DISPATCH_WEBHOOK_SECRET: its value does not fit; use at least 16 characters",
        ),
        (
            {"DISPATCH_TO": "lunary", "DISPATCH_LUNARY_KEY": "hunter2\u20ac"},
            "DISPATCH_LUNARY_KEY: its value does not fit; it has a character",
        ),
        (
            {"DISPATCH_TO": "otlp", "DISPATCH_OTLP_URL": "http://x", "DISPATCH_OTLP_HEADERS": "hunter2"},
            "DISPATCH_OTLP_HEADERS: its value does not fit; write name=value",
        ),
    ],
)
def test_a_wrong_dispatcher_is_told_in_one_line(variables: dict[str, str], line: str):
    targets, [error] = read(**variables)
    assert error.startswith(line)
    assert "\n" not in error
    assert "hunter2" not in error
    assert len(targets) < 2


@pytest.mark.parametrize(
    "variables, line",
    [
        ({"ALERT_WEBHOOK_URL": "ftp://x", "ALERT_WEBHOOK_SECRET": SECRET}, "ALERT_WEBHOOK_URL: its value does not fit"),
        ({"ALERT_WEBHOOK_URL": "https://x"}, "ALERT_WEBHOOK_SECRET: ALERT_WEBHOOK_URL needs one"),
        ({"ALERT_EMAIL_TO": "ops@example.org"}, "ALERT_EMAIL_TO: mail needs a server"),
        ({"ALERT_EMAIL_TO": "ops", "EMAIL_HOST": "mail"}, "ALERT_EMAIL_TO: 'ops' is no mail address"),
        ({"EMAIL_FROM": "Sluice\n"}, "EMAIL_FROM: 'Sluice' is no mail address"),
        ({"EMAIL_URL": "http://mail"}, "EMAIL_URL: use smtp://"),
        ({"EMAIL_URL": "smtp://hunter2@"}, "EMAIL_URL: use smtp://"),
        ({"EMAIL_URL": "consolemail://"}, "EMAIL_URL: use smtp://"),
        ({"EMAIL_URL": "smtp://mail:many"}, "EMAIL_URL: use smtp://"),
        ({"EMAIL_USE_TLS": "1", "EMAIL_USE_SSL": "1"}, "EMAIL_USE_SSL: a server is spoken to with"),
    ],
)
def test_a_wrong_way_for_alerts_is_told_in_one_line(variables: dict[str, str], line: str):
    env = Environment(variables)
    alert_webhook_from(env)
    mail = mail_from(env)
    sender_from(env)
    addresses_from(env, mail)
    [error] = env.errors
    assert error.startswith(line)
    assert "hunter2" not in error


@pytest.mark.parametrize(
    "url, expected",
    [
        ("smtp://mail", ("mail", 25, "", "", False, False)),
        ("smtp+tls://ann:p%40ss@mail", ("mail", 587, "ann", "p@ss", True, False)),
        ("smtp+ssl://mail", ("mail", 465, "", "", False, True)),
        ("smtp://mail:2525", ("mail", 2525, "", "", False, False)),
    ],
)
def test_a_mail_server_may_be_given_as_a_url(url: str, expected: tuple[Any, ...]):
    env = Environment({"EMAIL_URL": url})
    assert tuple(mail_from(env).values()) == expected
    assert env.errors == []


def test_the_start_is_refused_with_all_of_it_at_once():
    env = server_environment(
        DATA_DIR=SERVICES.directory / "refused", DISPATCH_TO="kafka,webhook", ALERT_EMAIL_TO="nobody"
    )
    done = processes.run([sys.executable, "manage.py", "check"], cwd=ROOT, env=env)
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("sluice: ")]
    assert [line.split(":")[1].strip() for line in told] == [
        "DISPATCH_TO", "DISPATCH_WEBHOOK_URL", "ALERT_EMAIL_TO", "ALERT_EMAIL_TO"
    ]  # fmt: skip
    assert "Traceback" not in done.stderr
