"""Projects: groups of keys."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from keys.models.alias import Aliased
from keys.models.announcing import announced
from keys.models.changing import Changing
from keys.models.limited import Limited
from keys.models.validators import validate_alias
from keys.ruled import Ruled

DEFAULT_PROJECT = "default"
OFF = "off"
CAPTURES = (
    (OFF, "off"),
    ("errors", "of requests that do not end complete"),
    ("all", "of all requests"),
)

CACHE_OFF, CACHE_ON, CACHE_OPT_IN = "off", "on", "opt_in"
CACHE_POLICIES = (
    (CACHE_OFF, "off"),
    (CACHE_ON, "on"),
    (CACHE_OPT_IN, "for requests that ask for it"),
)
CACHE_SCOPES = (
    ("project", "the project's keys"),
    ("key", "the same key"),
    ("shared", "all projects that share"),
)
MOST_CACHE_TTL_S = 366 * 86_400

ALLOW, REFUSE = "allow", "refuse"
UNMETERED = ((ALLOW, "allow"), (REFUSE, "refuse"))
FOREIGN_IDS = ((REFUSE, "refuse"), (ALLOW, "allow"))


@announced
class Project(Aliased, Limited, Ruled, Changing):
    """A group of keys that share settings, limits and a budget. An inactive one refuses requests and new keys."""

    name = models.CharField(max_length=100, unique=True)
    is_active = models.BooleanField(default=True)
    upstream_alias = models.CharField(
        max_length=64,
        blank=True,
        validators=[validate_alias],
        help_text="Alias of the upstream credential its requests use. Blank: the provider's own.",
    )
    capture_bodies = models.CharField(
        max_length=8,
        choices=CAPTURES,
        default=OFF,
        help_text="Which requests and answers are kept, redacted, for BODY_RETENTION_DAYS.",
    )
    unmetered = models.CharField(
        "unmetered requests",
        max_length=8,
        choices=UNMETERED,
        null=True,
        blank=True,
        help_text=(
            "Requests whose model or cost Sluice cannot know. Blank: refused for keys with a list of models or a "
            "budget (their own, their owner's, team's, project's or the gateway's). Allow: none is; refuse: all are."
        ),
    )
    foreign_ids = models.CharField(
        max_length=8,
        choices=FOREIGN_IDS,
        default=REFUSE,
        db_default=REFUSE,
        help_text=(
            "Files, batches, vector stores and whatever else a provider keeps, that no project made through Sluice. "
            "Refuse: they are not there for its keys; allow: they are. What another project made never is."
        ),
    )
    cache_policy = models.CharField(
        max_length=8,
        choices=CACHE_POLICIES,
        null=True,
        blank=True,
        help_text=(
            "Whether an answer that is stored answers the same request again. Opt in: where the request has "
            "Cache-Control: public or max-age=N. Blank: as HTTP_CACHE_DEFAULT_POLICY says."
        ),
    )
    cache_ttl_s = models.PositiveIntegerField(
        "cache TTL",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_CACHE_TTL_S)],
        help_text="Seconds for which an answer is stored. Blank: HTTP_CACHE_DEFAULT_TTL.",
    )
    cache_scope = models.CharField(
        max_length=8,
        choices=CACHE_SCOPES,
        default="project",
        db_default="project",
        help_text="Whose requests a stored answer may answer. Share only what every such project may see.",
    )
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [*Limited.Meta.constraints]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def default(cls) -> Project:
        """The project of keys that name none, and of anonymous requests. It is created when it is first needed."""
        return cls.objects.get_or_create(name=DEFAULT_PROJECT)[0]

    @classmethod
    def find(cls, name_or_id: str | int) -> Project:
        """By name, else by number, so that a project named `7` is still found. Raises `Project.DoesNotExist`."""
        if isinstance(name_or_id, str) and (named := cls.objects.filter(name=name_or_id).first()):
            return named
        if not str(name_or_id).isdecimal() or len(str(name_or_id)) > 18:
            raise cls.DoesNotExist
        return cls.objects.get(pk=int(name_or_id))
