"""One impatient server with small bounds for the module, and its key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.wire import LARGEST_BODY


@pytest.fixture(scope="module")
def strict(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    with Sluice.start(
        upstream_url=_upstream.url,
        HEADER_TIMEOUT_SECS=1,
        BODY_TIMEOUT_SECS=1,
        MAX_PAYLOAD_BYTES=LARGEST_BODY,
        MAX_UPLOAD_BYTES=LARGEST_BODY,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def key(strict: Sluice) -> str:
    return strict.mint()
