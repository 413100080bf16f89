"""Consumers of one host's spool: each gets every event at its own pace, and none holds up another."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tests.kit.journals import add, all_of, event, expected, ids, line, writing
from usage.journal.local_source import LocalSource
from usage.journal.segments import segments
from usage.journal.subscribers import DROPPED, PROGRESS, bound_backlogs


def test_each_consumer_gets_every_event_in_order_at_its_own_pace(tmp_path: Path) -> None:
    fast, slow = LocalSource(tmp_path, "fast"), LocalSource(tmp_path, "slow")
    with writing(tmp_path) as spool:
        add(spool, range(50))
        assert ids(all_of(fast)) == expected(*range(50))
        add(spool, range(50, 90))
        assert ids(all_of(fast)) == expected(*range(50, 90))
    assert ids(all_of(slow)) == expected(*range(90))
    assert all_of(fast) == []
    assert not segments(tmp_path / "fast")
    assert not segments(tmp_path / "slow")


def test_what_the_ledger_has_read_is_still_there_for_others(tmp_path: Path) -> None:
    source = LocalSource(tmp_path, "archive")
    with writing(tmp_path) as spool:
        add(spool, range(40))
        for segment in segments(tmp_path):  # as the ledger does
            segment.unlink()
        add(spool, range(40, 60))
        assert ids(all_of(source)) == expected(*range(60))


def test_a_new_consumer_gets_what_ends_from_now_on(tmp_path: Path) -> None:
    with writing(tmp_path, segment_bytes=10**6) as spool:
        add(spool, range(10))
        source = LocalSource(tmp_path, "late")
        assert all_of(source) == []
        add(spool, range(10, 15))
        assert ids(all_of(source)) == expected(*range(10, 15))


def test_what_was_not_done_with_comes_again_to_the_next_one(tmp_path: Path) -> None:
    source = LocalSource(tmp_path, "one")
    with writing(tmp_path) as spool:
        add(spool, range(30))
    taken = source.read(20)
    source.done([one for number, one in enumerate(taken) if number not in (4, 9)])
    source.close()
    again = ids(all_of(LocalSource(tmp_path, "one")))
    assert set(expected(4, 9, *range(20, 30))) <= set(again)
    assert again == sorted(set(again))
    assert not set(expected(*range(4))) & set(again)


def test_of_two_that_are_open_one_reads_and_the_other_takes_over(tmp_path: Path) -> None:
    first, second = LocalSource(tmp_path, "one"), LocalSource(tmp_path, "one")
    with writing(tmp_path) as spool:
        add(spool, range(10))
    assert second.read(5) == []
    assert second.backlog().events == 10
    first.done(first.read(5))
    first.close()
    assert ids(all_of(second)) == expected(*range(5, 10))


def test_a_consumer_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """A process of its own, killed in mid-work again and again; it prints what it is about to be done with."""
    program = (
        "import sys; from pathlib import Path\n"
        "from django.conf import settings; settings.configure()\n"
        "from usage.journal.local_source import LocalSource\n"
        f"source = LocalSource(Path({str(tmp_path)!r}), 'one')\n"
        "for _ in sys.stdin:\n"
        "    taken = source.read(3)\n"
        "    print(*(one.event.id for one in taken), flush=True)\n"
        "    source.done(taken)\n"
    )
    LocalSource(tmp_path, "one").close()
    with writing(tmp_path) as spool:
        add(spool, range(300))
    seen: list[str] = []
    for _ in range(4):
        with Popen([sys.executable, "-c", program], stdin=PIPE, stdout=PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for _ in range(15):
                process.stdin.write("go on\n")
                process.stdin.flush()
                seen += process.stdout.readline().split()
            process.kill()  # while it says that it is done
    assert len(seen) >= 4 * 15 * 3
    seen += ids(all_of(LocalSource(tmp_path, "one")))
    assert sorted(set(seen)) == expected(*range(300))


def test_damaged_lines_are_quarantined_and_hold_up_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = LocalSource(tmp_path, "one")
    edited = line(1).replace(b"POST", b"GETS")
    segment = tmp_path / "one" / "0000000000001-a.spool"
    segment.write_bytes(line(0) + edited + b"no event\n" + line(2) + line(3)[:-20])
    assert ids(all_of(source)) == expected(0, 2)
    quarantined = (tmp_path / "one" / "damaged.log").read_text()
    assert "GETS" in quarantined
    assert "no event" in quarantined
    assert "its writer did not finish it" in quarantined
    assert json.loads((tmp_path / "one" / PROGRESS).read_text())["set_aside"] == 3
    assert caplog.text.count("is quarantined") == 3
    assert not segment.exists()
    source.close()
    assert all_of(LocalSource(tmp_path, "one")) == []
    assert caplog.text.count("is quarantined") == 3


def test_beyond_its_bound_the_oldest_are_dropped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = LocalSource(tmp_path, "behind")
    with writing(tmp_path) as spool:
        add(spool, range(100))
        source.done(source.read(3))
        backlog = source.backlog()
        assert backlog.events == 97
        bound_backlogs(tmp_path, backlog.bytes // 2)
        kept = source.backlog()
        assert backlog.bytes // 2 - 2_500 < kept.bytes <= backlog.bytes // 2
    assert len(segments(tmp_path)) > len(segments(tmp_path / "behind")), "the ledger's own stay"
    found = ids(all_of(source))
    assert found == expected(*range(100 - len(found), 100))
    assert len(found) == kept.events
    assert json.loads((tmp_path / "behind" / DROPPED).read_text()) == {"events": 97 - kept.events}
    assert f"its oldest {97 - kept.events} events are dropped" in caplog.text
    bound_backlogs(tmp_path, 10**9)
    assert caplog.text.count("are dropped") == 1


def test_the_backlog_is_told_exactly(tmp_path: Path) -> None:
    source = LocalSource(tmp_path, "one")
    assert source.backlog() == (0, 0, None)
    with writing(tmp_path) as spool:
        add(spool, range(30))
        assert source.backlog() == (30, 30 * len(line(0)), event(0).at + 1)
        source.done(source.read(12))
        assert source.backlog() == (18, 18 * len(line(0)), event(12).at + 1)
        all_of(source)
        assert source.backlog() == (0, 0, None)


def test_an_unreadable_position_starts_anew(tmp_path: Path) -> None:
    source = LocalSource(tmp_path, "one")
    with writing(tmp_path) as spool:
        add(spool, range(3))
        source.done(source.read(2))
        source.close()
        (tmp_path / "one" / PROGRESS).write_text('{"read": {"x": -')
        assert ids(all_of(LocalSource(tmp_path, "one"))) == expected(0, 1, 2)


@pytest.mark.parametrize("name", ["ledger", "", "../x", "A", "a" * 65, "a.spool"])
def test_a_name_that_no_consumer_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a consumer"):
        LocalSource(tmp_path, name)
