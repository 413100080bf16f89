"""Ids of requests: each is behind the one before it, whatever the clock does, and no two are the same."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from proxy.exchange import new_request_id
from tests.kit.environment import ROOT

MOMENTS = st.floats(min_value=1.5e9, max_value=4e9)


@given(st.lists(MOMENTS, min_size=2, max_size=50))
def test_they_grow_also_when_the_clock_jumps_back(moments: list[float]):
    ids = [new_request_id(moment) for moment in moments]
    assert ids == sorted(set(ids))
    assert all(len(id_) <= 40 for id_ in ids)


def test_processes_that_begin_as_copies_have_ids_of_their_own():
    program = (
        "import os\n"
        "from proxy.exchange import new_request_id\n"
        "new_request_id(4e9)\n"
        "is_copy = os.fork() == 0\n"
        "is_copy or os.wait()\n"  # one after the other, or their lines run into one another
        "print(new_request_id(4e9), flush=True)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    ids = told.stdout.split()
    assert len(ids) == len(set(ids)) == 2
