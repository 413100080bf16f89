"""X94: connections are spread evenly over the workers, in bursts too, and none waits for a worker that hangs.

The bounds are wide: a worker that gets no processor for 50 ms is not waited for, and that happens on a busy machine.
What they tell apart is far away: 31 and 1, or none at all.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.kit.sluice import Sluice
from tests.kit.spread import connections, inodes_of, spread
from tests.kit.waiting import soon

WORKERS = 4

pytestmark = pytest.mark.server(redis=True, workers=WORKERS, upstream_url=None)
OK = b"HTTP/1.1 200 OK\r\n"


def connections_by_worker(server: Sluice, count: int) -> dict[int, int]:
    """How many connections each worker has, with so many more at once."""
    with connections(server.port, count) as answers:
        assert answers == [OK] * count
        return spread(server.port, server.worker_pids())


def all_have_some(server: Sluice) -> bool:
    counts = connections_by_worker(server, 2 * WORKERS)
    return len(counts) == WORKERS and all(counts.values())


def wait_for_all(server: Sluice) -> None:
    """Until every worker takes connections, and has none."""
    soon(lambda: all_have_some(server))
    soon(lambda: not inodes_of(server.port))


@pytest.mark.parametrize("count, least, most", [(32, 4, 14), (200, 30, 75)])
def test_a_burst_is_spread_evenly(server: Sluice, count: int, least: int, most: int):
    wait_for_all(server)
    for _ in range(3):
        counts = connections_by_worker(server, count)
        soon(lambda: not inodes_of(server.port))
        assert sum(counts.values()) == count
        assert all(least <= each <= most for each in counts.values()), counts


def test_bursts_beside_long_connections_are_spread_evenly_together_with_them(server: Sluice):
    wait_for_all(server)
    with connections(server.port, 32), connections(server.port, 1), connections(server.port, 32):
        counts = spread(server.port, server.worker_pids())
    assert sum(counts.values()) == 65
    assert all(8 <= each <= 26 for each in counts.values()), counts


def test_no_connection_waits_for_a_worker_that_hangs(server: Sluice):
    wait_for_all(server)
    hung, *others = server.worker_pids()
    os.kill(hung, signal.SIGSTOP)
    try:
        counts = connections_by_worker(server, 48)
    finally:
        os.kill(hung, signal.SIGCONT)
    assert counts[hung] == 0
    assert all(8 <= counts[pid] <= 26 for pid in others), counts
    wait_for_all(server)


def test_no_connection_is_lost_with_a_worker_that_died_and_the_next_one_takes_its_part(server: Sluice):
    wait_for_all(server)
    killed, *others = server.worker_pids()
    os.kill(killed, signal.SIGKILL)
    with connections(server.port, 48) as answers:  # while there are three
        assert answers == [OK] * 48
        assert min(spread(server.port, others).values()) >= 8
        soon(lambda: killed not in server.worker_pids() and len(server.worker_pids()) == WORKERS)
        soon(lambda: all_have_some(server))  # of eight more, the newcomer
    wait_for_all(server)


def test_a_second_server_on_the_port_is_refused_with_one_line(server: Sluice):
    done = server.manage("serve", "--port", str(server.port), "--workers", "4", json=False, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        f"CommandError: 127.0.0.1:{server.port} cannot be listened on (Address already in use): "
        "set HOST or PORT, or stop what is there."
    ]
