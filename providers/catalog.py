"""What a process knows of the providers: an immutable picture of their rows, made for quick answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings

from providers.kinds import KINDS
from providers.kinds.base import Headers, Kind, header_lines
from providers.models import Credential, Provider
from providers.vault import Undecryptable

log = logging.getLogger("sluice.providers")

OnBad = Callable[[str, Exception], None]
"""Told what cannot be compiled, and why."""

RESOLVED_MODELS_KEPT = 4096
_CREDENTIAL = re.compile(rb"auth|key|token|secret|cookie")


class NoProvider(Exception):
    """No enabled provider has the model. Not worth a retry."""


class CredentialUnavailable(Exception):
    """The credential is not there or cannot be decrypted. Not worth a retry; an operator must mend it."""


class Origin(NamedTuple):
    """Where connections go, and what a pool of them is keyed by."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """One provider, with everything that can be worked out before a request."""

    id: int
    name: str
    kind: Kind
    origin: Origin | None
    """None: it answers in the process itself."""
    base_url: str
    host_header: bytes
    base_path: str
    credential_alias: str
    exact: Mapping[str, str]
    globs: tuple[tuple[str, str], ...]
    priority: int
    weight: int
    options: Mapping[str, Any]
    extra_headers: Headers
    asks_for_stream_usage: bool

    takes_every_model: bool
    label: bytes
    """Its name as a header's value."""

    @property
    def rank(self) -> tuple[int, bool]:
        return self.priority, self.takes_every_model

    def upstream_name(self, model: str) -> str | None:
        """The provider's name for a client's model; None when it has no such model."""
        if model in self.exact:
            return self.exact[model] or model
        for pattern, upstream in self.globs:
            if fnmatchcase(model, pattern):
                return upstream or model
        return model if self.takes_every_model else None


class Candidate(NamedTuple):
    provider: ProviderRecord
    model: str
    """The provider's name for what the client asked."""


class CredentialRecord(NamedTuple):
    """One credential; `secret` is None when it cannot be decrypted."""

    alias: str
    provider_id: int | None
    secret: str | None


class Access(NamedTuple):
    """How a provider is called: the credential, if any, and the headers that are the same for every call, as lines."""

    credential: CredentialRecord | None
    secret: bytes
    lines: bytes


@dataclass(frozen=True)
class Catalog:
    """All enabled providers in order of priority, and the credentials that they are called with."""

    providers: tuple[ProviderRecord, ...] = ()
    credentials: tuple[CredentialRecord, ...] = ()
    _by_place: dict[tuple[str, int | None], CredentialRecord] = field(init=False, default_factory=dict)
    _resolved: dict[str, tuple[Candidate, ...]] = field(init=False, default_factory=dict)

    _accesses: dict[tuple[int, str, str], Access] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_place.update({(record.alias, record.provider_id): record for record in self.credentials})

    @cached_property
    def closed(self) -> tuple[str, ...]:
        """Aliases of credentials that cannot be decrypted."""
        return tuple(sorted({record.alias for record in self.credentials if record.secret is None}))

    def candidates(self, model: str) -> tuple[Candidate, ...]:
        """Who has the model, the lowest priority number first, and in it who names the model. Raises `NoProvider`."""
        candidates = self._resolved.get(model)
        if candidates is None:
            candidates = tuple(
                Candidate(provider, upstream)
                for provider in self.providers
                if provider.weight and (upstream := provider.upstream_name(model)) is not None
            )
            # A model that nobody has is not remembered: clients could fill the memory with names.
            if candidates and len(self._resolved) < RESOLVED_MODELS_KEPT:
                self._resolved[model] = candidates
        if not candidates:
            raise NoProvider(model)
        return candidates

    def default(self) -> ProviderRecord:
        """Who gets what names no model: of the lowest priority, who takes every model first. Raises `NoProvider`."""
        serving = [provider for provider in self.providers if provider.weight]
        if not serving:
            raise NoProvider("")
        first = serving[0]
        return next((p for p in serving if p.priority == first.priority and p.takes_every_model), first)

    @cached_property
    def minds_models(self) -> bool:
        """Whether a model's name decides where a request goes, or what it is called there."""
        serving = [provider for provider in self.providers if provider.weight]
        return len(serving) > 1 or any(not p.takes_every_model or p.kind.addresses_models for p in serving)

    @cached_property
    def secrets(self) -> frozenset[bytes]:
        """All that must not be seen of it: the credentials, and headers of providers that carry one."""
        secrets = {credential.secret.encode() for credential in self.credentials if credential.secret}
        headers = (header for provider in self.providers for header in provider.extra_headers)
        return frozenset(secrets | {value for name, value in headers if _CREDENTIAL.search(name)})

    @cached_property
    def credential_headers(self) -> frozenset[bytes]:
        """The names of the headers that carry a credential, of all kinds and by what their options say."""
        own = {name for each in self.providers for name, _ in each.kind.auth_headers("", each.options)}
        extra = {name for each in self.providers for name, _ in each.extra_headers if _CREDENTIAL.search(name)}
        return frozenset(own | extra)

    def named(self, name: str) -> ProviderRecord | None:
        return next((provider for provider in self.providers if provider.name == name), None)

    def model_names(self) -> list[tuple[str, str]]:
        """Every exact client-side name with the provider that comes first for it, sorted."""
        names: dict[str, str] = {}
        for provider in self.providers:
            for name in provider.exact:
                names.setdefault(name, provider.name)
        return sorted(names.items())

    def credential_for(self, provider: ProviderRecord, *preferred: str) -> CredentialRecord | None:
        """The credential for a call: the first preferred alias that may go to this provider, else its own, else None.

        A preferred alias (a key's or project's) may go to a provider that it is bound to, or unbound to one that has
        a credential at all: so a secret for one vendor never travels to a server that was set up without any.
        Raises `CredentialUnavailable`.
        """
        for alias in preferred:
            if not alias:
                continue
            record = self._by_place.get((alias, provider.id))
            if record is None and provider.credential_alias:
                record = self._by_place.get((alias, None))
            if record is not None:
                return _usable(record)
            if provider.credential_alias and not any(alias == other for other, _ in self._by_place):
                raise CredentialUnavailable(f"There is no credential of alias {alias!r}.")
        if not provider.credential_alias:
            return None
        own = self._by_place.get((provider.credential_alias, provider.id)) or self._by_place.get(
            (provider.credential_alias, None)
        )
        if own is None:
            raise CredentialUnavailable(
                f"Provider {provider.name!r} asks for credential {provider.credential_alias!r}, which does not exist."
            )
        return _usable(own)

    def access(self, provider: ProviderRecord, key_alias: str, project_alias: str = "") -> Access:
        """How a key and a project with these aliases call the provider; worked out once. Raises as `credential_for`."""
        place = (provider.id, key_alias, project_alias)
        access = self._accesses.get(place)
        if access is None:
            credential = self.credential_for(provider, key_alias, project_alias)
            secret = credential.secret.encode() if credential is not None and credential.secret else b""
            access = self._accesses[place] = Access(credential, secret, call_lines(provider, credential))
        return access


def call_lines(provider: ProviderRecord, credential: CredentialRecord | None) -> bytes:
    """The headers that carry the credential, and the provider's own. Raises `CredentialUnavailable`."""
    headers: Headers = []
    if credential is not None and credential.secret is not None:
        headers += provider.kind.auth_headers(credential.secret, provider.options)
    try:
        return header_lines(headers + list(provider.extra_headers))
    except ValueError:
        raise CredentialUnavailable(
            f"The credential or a header of provider {provider.name!r} has a line break in it."
        ) from None


def _usable(record: CredentialRecord) -> CredentialRecord:
    if record.secret is None:
        raise CredentialUnavailable(f"Credential {record.alias!r} cannot be decrypted with the present ENCRYPTION_KEY.")
    return record


def choose(candidates: Iterable[Candidate], draw: float) -> Candidate:
    """One candidate of the lowest priority number, by weight. `draw` is a number from [0, 1).

    Who names the model goes before who takes every model: else a provider set up for one model would share it with
    whoever takes anything.
    """
    group: list[Candidate] = []
    total = 0
    for candidate in candidates:
        if group and candidate.provider.rank != group[0].provider.rank:
            break
        group.append(candidate)
        total += candidate.provider.weight
    if len(group) == 1:
        return group[0]
    mark = draw * total
    for candidate in group:
        mark -= candidate.provider.weight
        if mark < 0:
            return candidate
    return group[-1]


def log_bad(what: str, error: Exception) -> None:
    log.error("The row of %s cannot be used (%s).", what, type(error).__name__)


def load_catalog(environment_credentials: Mapping[str, str], on_bad: OnBad = log_bad) -> Catalog:
    """Read the enabled providers and all credentials. A credential in the database goes before the environment's.

    A provider that cannot be compiled is skipped, and told of.
    """
    credentials: dict[tuple[str, int | None], CredentialRecord] = {}
    for alias, secret in environment_credentials.items():
        credentials[alias, None] = CredentialRecord(alias, None, secret)
    for row in Credential.objects.all():
        credentials[row.alias, row.provider_id] = CredentialRecord(row.alias, row.provider_id, _secret_of(row))
    providers = Provider.objects.filter(is_enabled=True).order_by("priority", "id")
    records: list[ProviderRecord] = []
    for provider in providers:
        try:
            records.append(record_of(provider))
        except Exception as error:  # it must not keep what changes elsewhere from being heard
            on_bad(f"provider {provider.pk}", error)
    records.sort(key=lambda record: record.rank)
    catalog = Catalog(tuple(records), tuple(credentials.values()))
    if catalog.closed:
        log.error(
            "ENCRYPTION_KEY does not open the stored credentials %s. Put the installation's secrets.env back into "
            "DATA_DIR, or set the ENCRYPTION_KEY that they were stored under, and start again.",
            ", ".join(catalog.closed),
        )
    return catalog


def provider_names() -> set[str]:
    return set(Provider.objects.values_list("name", flat=True))


def upstream_aliases() -> set[str]:
    """Those of the environment and of the database."""
    return {*settings.UPSTREAM_CREDENTIALS, *Credential.objects.values_list("alias", flat=True)}


def price_address(provider: str, model: str) -> tuple[str, str, str] | None:
    """What prices are looked up by: kind, base URL, and the provider's own name for the model; None: no such provider.

    A model that the provider does not take keeps its name.
    """
    row = Provider.objects.filter(name=provider).first()
    if row is None:
        return None
    return row.kind, row.base_url, record_of(row).upstream_name(model) or model


def record_of(row: Provider) -> ProviderRecord:
    kind = KINDS[row.kind]
    parts = urlsplit(row.base_url)
    origin = None
    if parts.hostname:
        origin = Origin(parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    globs = {name: upstream for name, upstream in row.model_map.items() if any(c in name for c in "*?[")}
    return ProviderRecord(
        id=row.pk,
        name=row.name,
        kind=kind,
        origin=origin,
        base_url=row.base_url,
        host_header=parts.netloc.encode(),
        base_path=parts.path.rstrip("/"),
        credential_alias=row.credential_alias,
        exact={name: upstream for name, upstream in row.model_map.items() if name not in globs},
        globs=tuple(globs.items()),
        priority=row.priority,
        weight=row.weight,
        options=row.options,
        extra_headers=kind.extra_headers(row.options),
        takes_every_model=not row.model_map,
        label=row.name.encode(),
        asks_for_stream_usage=kind.asks_for_stream_usage and row.options.get("include_usage", True),
    )


def _secret_of(row: Credential) -> str | None:
    try:
        return row.secret
    except Undecryptable:
        return None
