"""Whether a running server has requests in progress, and the memory that it takes."""

from __future__ import annotations

from pathlib import Path

from tests.kit.services import processes
from tests.kit.sluice import Sluice


def is_idle(sluice: Sluice, timeout: float = 5) -> bool:
    """Whether the server has no request in progress, now or within the timeout."""
    return bool(processes.poll(lambda: sluice.metrics()["llm_proxy_active_requests"] == 0, timeout=timeout))


def memory_kib(sluice: Sluice, field: str) -> int:
    """The sum of `VmRSS` or `VmHWM` (its peak) over all processes that serve, in KiB."""
    total = 0
    for pid in sluice.worker_pids():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return total
