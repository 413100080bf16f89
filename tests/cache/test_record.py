"""What is recorded passes unchanged, and takes no more memory than it may."""

from __future__ import annotations

import asyncio

import pytest

from cache.record import RecordedAnswer, RecordingRoom


class Pieces:
    """An answer of these pieces."""

    status = 200
    headers = ((b"content-type", b"text/plain"), (b"set-cookie", b"a=b"))

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.is_aborted = False

    async def comes_by(self, deadline: float) -> bool:
        return True

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def put_back(self, data: bytes) -> None:
        raise AssertionError("what is put back stays with the recorder")

    def rest(self) -> bytes | None:
        rest, self.pieces = b"".join(self.pieces), []
        return rest

    def abort(self) -> None:
        self.is_aborted = True


def recorded(*pieces: bytes, most: int = 100, room: RecordingRoom | None = None) -> RecordedAnswer:
    return RecordedAnswer(Pieces(*pieces), most, room or RecordingRoom(1000))  # type: ignore[arg-type]


def read_all(answer: RecordedAnswer) -> bytes:
    async def read() -> bytes:
        whole = b""
        while piece := await answer.read():
            whole += piece
        return whole

    return asyncio.run(read())


def texts(answer: RecordedAnswer) -> list[bytes] | None:
    return None if answer.pieces is None else [text for _, text in answer.pieces]


def test_pieces_are_kept_when_the_end_has_come():
    answer = recorded(b"a", b"bc")
    assert asyncio.run(answer.read()) == b"a"
    assert answer.pieces is None
    assert read_all(answer) == b"bc"
    assert texts(answer) == [b"a", b"bc"]
    assert answer.kept_headers == [(b"content-type", b"text/plain")]


def test_what_is_put_back_is_recorded_once():
    answer = recorded(b"a", b"b")
    answer.put_back(asyncio.run(answer.read()))
    assert read_all(answer) == b"ab"
    assert texts(answer) == [b"a", b"b"]
    other = recorded(b"a", b"b")
    other.put_back(asyncio.run(other.read()))
    assert other.rest() == b"ab"
    assert texts(other) == [b"a", b"b"]


@pytest.mark.parametrize("size, is_kept", [(100, True), (101, False)])
def test_what_is_too_large_passes_and_is_not_kept(size: int, is_kept: bool):
    answer = recorded(b"x" * (size - 1), b"y")
    assert len(read_all(answer)) == size
    assert (answer.pieces is not None) is is_kept


def test_all_together_take_no_more_than_there_is_room():
    room = RecordingRoom(150)
    first, second = (recorded(b"x" * 100, room=room) for _ in range(2))
    assert [len(read_all(each)) for each in (first, second)] == [100, 100]
    assert (first.pieces is not None, second.pieces, room.used_bytes) == (True, None, 100)
    for each in (first, second, first):
        each.abort()
    assert room.used_bytes == 0
    assert read_all(third := recorded(b"x" * 100, room=room))
    assert third.pieces is not None
