"""The catalog: an immutable copy of the providers and credentials, compiled so that a request needs no query."""

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
"""Called with the name of a row that cannot be compiled, and the error."""

RESOLVED_MODELS_KEPT = 4096
_CREDENTIAL = re.compile(rb"auth|key|token|secret|cookie")


class NoProvider(Exception):
    """No enabled provider has the model. A retry does not help."""


class CredentialUnavailable(Exception):
    """The credential does not exist or cannot be used. A retry does not help; an operator must mend it."""


class Origin(NamedTuple):
    """The address of a provider's server. Connections are pooled by it."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """One provider, with everything that can be computed before a request."""

    id: int
    name: str
    kind: Kind
    origin: Origin | None
    """None: the provider is the simulator inside this process."""
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
    """The provider's name for the client's model."""


class CredentialRecord(NamedTuple):
    """One credential. `secret` is None if it cannot be decrypted."""

    alias: str
    provider_id: int | None
    secret: str | None


class Access(NamedTuple):
    """How a provider is called: the credential, if any, and the header lines that are the same for every call."""

    credential: CredentialRecord | None
    secret: bytes
    lines: bytes


@dataclass(frozen=True)
class Catalog:
    """All enabled providers, ordered by `rank`, and all credentials."""

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
        """The providers that have the model, the lowest priority number first.

        With the same priority, those whose model map matches come before those that take every model. Raises
        `NoProvider`.
        """
        candidates = self._resolved.get(model)
        if candidates is None:
            candidates = tuple(
                Candidate(provider, upstream)
                for provider in self.providers
                if provider.weight and (upstream := provider.upstream_name(model)) is not None
            )
            # A model that no provider has is not remembered: clients could fill the memory with names.
            if candidates and len(self._resolved) < RESOLVED_MODELS_KEPT:
                self._resolved[model] = candidates
        if not candidates:
            raise NoProvider(model)
        return candidates

    def default(self) -> ProviderRecord:
        """The provider for requests that name no model. Raises `NoProvider`.

        It is one with the lowest priority number, if possible one that takes every model.
        """
        serving = [provider for provider in self.providers if provider.weight]
        if not serving:
            raise NoProvider("")
        first = serving[0]
        return next((p for p in serving if p.priority == first.priority and p.takes_every_model), first)

    @cached_property
    def minds_models(self) -> bool:
        """Whether a request's model decides which provider it goes to, at which path, or under which name."""
        serving = [provider for provider in self.providers if provider.weight]
        return len(serving) > 1 or any(not p.takes_every_model or p.kind.addresses_models for p in serving)

    @cached_property
    def secrets(self) -> frozenset[bytes]:
        """The values that must never be shown: credentials, and the values of providers' headers that carry one."""
        secrets = {credential.secret.encode() for credential in self.credentials if credential.secret}
        headers = (header for provider in self.providers for header in provider.extra_headers)
        return frozenset(secrets | {value for name, value in headers if _CREDENTIAL.search(name)})

    @cached_property
    def credential_headers(self) -> frozenset[bytes]:
        """The names of all headers that carry a credential, by the providers' kinds and options."""
        own = {name for each in self.providers for name, _ in each.kind.auth_headers("", each.options)}
        extra = {name for each in self.providers for name, _ in each.extra_headers if _CREDENTIAL.search(name)}
        return frozenset(own | extra)

    def named(self, name: str) -> ProviderRecord | None:
        return next((provider for provider in self.providers if provider.name == name), None)

    def model_names(self) -> list[tuple[str, str]]:
        """Each exact client-side name of a model, with the name of the first provider that has it, sorted."""
        names: dict[str, str] = {}
        for provider in self.providers:
            for name in provider.exact:
                names.setdefault(name, provider.name)
        return sorted(names.items())

    def credential_for(self, provider: ProviderRecord, *preferred: str) -> CredentialRecord | None:
        """The credential for a call: the first preferred alias that may go to this provider, else its own, else None.

        The preferred aliases are those of the key and its project. A credential that is bound to a provider may go to
        that provider alone. An unbound credential may go to any provider that has a credential of its own. So a
        vendor's secret is never sent to a server that was set up without a credential. Raises `CredentialUnavailable`.
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

    def has(self, alias: str, provider: ProviderRecord) -> bool:
        """Whether a call to the provider can still be made with the credential of this alias; "" is none."""
        try:
            credential = self.access(provider, alias).credential
        except CredentialUnavailable:
            return False
        return alias == ("" if credential is None else credential.alias)

    def access(self, provider: ProviderRecord, key_alias: str, project_alias: str = "") -> Access:
        """How a key and a project with these aliases call the provider. The result is kept.

        Raises `CredentialUnavailable`.
        """
        place = (provider.id, key_alias, project_alias)
        access = self._accesses.get(place)
        if access is None:
            credential = self.credential_for(provider, key_alias, project_alias)
            secret = credential.secret.encode() if credential is not None and credential.secret else b""
            access = self._accesses[place] = Access(credential, secret, call_lines(provider, credential))
        return access


def call_lines(provider: ProviderRecord, credential: CredentialRecord | None) -> bytes:
    """The header lines that carry the credential, and the provider's extra headers. Raises `CredentialUnavailable`."""
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
    """One of the candidates of the first rank, chosen by weight. `draw` is a number from [0, 1).

    Providers that name the model rank before those that take every model. Otherwise a provider that was set up for one
    model would get only a share of the requests for it.
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
    """Read the enabled providers and all credentials. A credential in the database replaces the environment's.

    A provider that cannot be compiled is left out, and `on_bad` is called for it.
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
        except Exception as error:  # one bad row must not keep other changes from taking effect
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
    """The aliases of all credentials, in the environment and in the database."""
    return {*settings.UPSTREAM_CREDENTIALS, *Credential.objects.values_list("alias", flat=True)}


def price_address(provider: str, model: str) -> tuple[str, str, str] | None:
    """What a price is looked up by: the provider's kind and base URL, and its own name for the model.

    None if there is no such provider. A model that the provider does not have keeps its name.
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
