"""Who may use the gateway, and how much: one file for each model."""

from keys.models.account import Account
from keys.models.global_limits import GlobalLimits
from keys.models.limited import COUNTS, LIMIT_FIELDS, Limited, Period
from keys.models.project import DEFAULT_PROJECT, Project
from keys.models.refusals import AlreadyRevoked, Unmintable
from keys.models.team import Team
from keys.models.tier import Compute, Tier
from keys.models.validators import validate_alias, validate_object, validate_patterns, validate_strings
from keys.models.virtual_key import MOST_GRACE_S, VirtualKey, VirtualKeyQuerySet, default_limits

__all__ = [
    "COUNTS",
    "DEFAULT_PROJECT",
    "LIMIT_FIELDS",
    "MOST_GRACE_S",
    "Account",
    "AlreadyRevoked",
    "Compute",
    "GlobalLimits",
    "Limited",
    "Period",
    "Project",
    "Team",
    "Tier",
    "Unmintable",
    "VirtualKey",
    "VirtualKeyQuerySet",
    "default_limits",
    "validate_alias",
    "validate_object",
    "validate_patterns",
    "validate_strings",
]
