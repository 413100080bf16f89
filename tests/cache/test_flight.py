"""What is recorded passes unchanged to all who read it, and takes no more memory than it may."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.flight import Flight, FlightReader, RecordingRoom
from proxy.upstream.connection import ConnectionFailed


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


def flight_of(*pieces: bytes, most: int = 100, room: RecordingRoom | None = None) -> Flight:
    return Flight(Pieces(*pieces), most, room or RecordingRoom(1000))  # type: ignore[arg-type]


async def read(reader: FlightReader) -> bytes:
    whole = b""
    while piece := await reader.read():
        whole += piece
    return whole


def read_all(flight: Flight) -> bytes:
    return asyncio.run(read(flight.first_reader))


def texts(flight: Flight) -> list[bytes] | None:
    return None if flight.pieces is None else [text for _, text in flight.pieces]


def test_pieces_are_kept_when_the_end_has_come():
    flight = flight_of(b"a", b"bc")
    assert asyncio.run(flight.first_reader.read()) == b"a"
    assert flight.pieces is None
    assert read_all(flight) == b"bc"
    assert texts(flight) == [b"a", b"bc"]
    assert flight.kept_headers == [(b"content-type", b"text/plain")]


def test_what_is_put_back_is_recorded_once():
    flight = flight_of(b"a", b"b")
    reader = flight.first_reader
    reader.put_back(asyncio.run(reader.read()))
    assert read_all(flight) == b"ab"
    assert texts(flight) == [b"a", b"b"]
    flight = flight_of(b"a", b"b")
    reader = flight.first_reader
    reader.put_back(asyncio.run(reader.read()))
    assert reader.rest() == b"ab"
    assert texts(flight) == [b"a", b"b"]


@pytest.mark.parametrize("size, is_kept", [(100, True), (101, False)])
def test_what_is_too_large_passes_and_is_not_kept(size: int, is_kept: bool):
    flight = flight_of(b"x" * (size - 1), b"y")
    assert len(read_all(flight)) == size
    assert (flight.pieces is not None) is is_kept


def test_all_together_take_no_more_than_there_is_room():
    room = RecordingRoom(150)
    first, second = (flight_of(b"x" * 100, room=room) for _ in range(2))
    readers = [each.first_reader for each in (first, second)]
    assert [len(read_all(each)) for each in (first, second)] == [100, 100]
    assert (first.pieces is not None, second.pieces, room.used_bytes) == (True, None, 100)
    for each in (*readers, readers[0]):
        each.abort()
    assert room.used_bytes == 0
    assert read_all(third := flight_of(b"x" * 100, room=room))
    assert third.pieces is not None


# --- several readers ---------------------------------------------------------------------------------------


class Live:
    """An answer whose pieces come when the test says so. An exception among them is raised; b"" is the end."""

    status = 200
    headers = ((b"content-type", b"text/plain"),)

    def __init__(self) -> None:
        self.coming: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.is_aborted = False

    def come(self, *pieces: bytes | Exception) -> None:
        for piece in pieces:
            self.coming.put_nowait(piece)

    async def comes_by(self, deadline: float) -> bool:
        while self.coming.empty():
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(0.001)
        return True

    async def read(self) -> bytes:
        piece = await self.coming.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    def rest(self) -> bytes | None:
        return None

    def abort(self) -> None:
        self.is_aborted = True


def live(most: int = 100, room: RecordingRoom | None = None) -> tuple[Live, Flight]:
    source = Live()
    return source, Flight(source, most, room or RecordingRoom(1000))  # type: ignore[arg-type]


def joined(flight: Flight) -> FlightReader:
    reader = flight.join()
    assert reader is not None
    return reader


def bounded(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        async def within() -> None:
            async with asyncio.timeout(30):
                await test()

        asyncio.run(within())

    return run


@bounded
async def test_who_joins_gets_all_from_the_first_piece_on():
    source, flight = live()
    source.come(b"a", b"b")
    first = flight.first_reader
    assert await first.read() == b"a"
    second = joined(flight)
    source.come(b"c", b"")
    assert [await read(each) for each in (first, second)] == [b"bc", b"abc"]
    third = joined(flight)
    assert third.rest() == b"abc"
    assert texts(flight) == [b"a", b"b", b"c"]
    for reader in (first, second):
        reader.abort()
    assert not source.is_aborted
    assert third.rest() == b""
    third.abort()
    assert source.is_aborted


@bounded
async def test_who_joins_while_the_first_waits_for_a_piece_takes_nothing_from_it():
    source, flight = live()
    first = asyncio.create_task(read(flight.first_reader))
    await asyncio.sleep(0)
    second = asyncio.create_task(read(joined(flight)))
    await asyncio.sleep(0)
    source.come(b"a", b"b", b"")
    assert await first == await second == b"ab"


@bounded
async def test_a_reader_that_does_not_read_holds_nobody_up():
    source, flight = live()
    first, second = flight.first_reader, joined(flight)
    source.come(b"a", b"b", b"")
    assert await read(second) == b"ab"
    assert await read(first) == b"ab"


@bounded
async def test_the_first_may_leave_even_as_it_waits():
    source, flight = live()
    waiting = asyncio.create_task(flight.first_reader.read())
    await asyncio.sleep(0)
    second = joined(flight)
    first = flight.first_reader
    waiting.cancel()
    await asyncio.wait({waiting})
    first.abort()
    source.come(b"a", b"")
    assert await read(second) == b"a"
    assert not source.is_aborted
    second.abort()
    assert source.is_aborted


@bounded
async def test_a_failure_is_raised_for_each_and_after_what_came_before():
    source, flight = live()
    readers = [flight.first_reader, joined(flight), joined(flight)]
    source.come(b"a", ConnectionFailed("upstream_disconnected", "It broke off."))
    errors = []
    for reader in readers:
        assert await reader.read() == b"a"
        with pytest.raises(ConnectionFailed, match="It broke off") as caught:
            await reader.read()
        errors.append(caught.value)
    assert {error.code for error in errors} == {"upstream_disconnected"}
    assert len({id(error) for error in errors}) == len(errors)
    assert flight.pieces is None


@bounded
async def test_a_failure_of_the_first_alone_is_raised_for_who_joins_later():
    source, flight = live()
    source.come(b"a", ConnectionResetError())
    first = flight.first_reader
    assert await first.read() == b"a"
    with pytest.raises(ConnectionResetError):
        await first.read()
    second = joined(flight)
    assert await second.read() == b"a"
    with pytest.raises(ConnectionResetError):
        await second.read()


@bounded
async def test_what_is_too_large_to_be_kept_comes_as_fast_as_the_slowest_reads():
    room = RecordingRoom(1000)
    source, flight = live(most=10, room=room)
    first, second = flight.first_reader, joined(flight)
    source.come(*[b"%04d" % number for number in range(100)], b"")
    assert (await first.read()).startswith(b"0000")
    assert flight.join() is None
    assert room.used_bytes <= 10 + 4
    wholes = await asyncio.gather(read(first), read(second))
    assert wholes[1] == b"".join(b"%04d" % number for number in range(100))
    assert wholes[1].endswith(wholes[0])
    assert flight.pieces is None
    for reader in (first, second):
        reader.abort()
    assert room.used_bytes == 0


@bounded
async def test_a_slow_reader_that_leaves_lets_the_others_go_on():
    source, flight = live(most=10)
    first, slow = flight.first_reader, joined(flight)
    source.come(*[b"%04d" % number for number in range(100)], b"")
    reading = asyncio.create_task(read(first))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not reading.done()
    slow.abort()
    assert (await reading).endswith(b"0099")


@bounded
async def test_waiting_for_a_time_tells_whether_anything_came():
    source, flight = live()
    first = flight.first_reader
    loop = asyncio.get_running_loop()
    assert not await first.comes_by(loop.time() + 0.01)
    second = joined(flight)
    assert not await second.comes_by(loop.time() + 0.01)
    source.come(b"a")
    assert await second.comes_by(loop.time() + 30)
    assert await first.comes_by(math.inf)
    assert await second.read() == b"a"
    assert second.rest() is None
    second.put_back(b"a")
    assert await second.comes_by(loop.time())
    assert await second.read() == b"a"
    source.come(b"")
    assert await second.comes_by(math.inf)
    assert await second.read() == b""
    second.put_back(b"z")
    assert second.rest() == b"z"


@given(
    data=st.data(),
    pieces=st.lists(st.binary(min_size=1, max_size=8), max_size=12),
    most=st.integers(0, 60),
    ends_well=st.booleans(),
)
def test_in_whatever_order_all_get_the_same(data: st.DataObject, pieces: list[bytes], most: int, ends_well: bool):
    """Pieces come, readers join, read and leave in any order. Each one that stays has all, or the failure after it."""

    @bounded
    async def test() -> None:
        room = RecordingRoom(80)
        source, flight = live(most=most, room=room)
        left: list[bytes | Exception] = [*pieces, b"" if ends_well else ConnectionResetError()]
        has: dict[FlightReader, list[bytes]] = {flight.first_reader: []}
        over: set[FlightReader] = set()

        async def take(reader: FlightReader) -> None:
            try:
                piece = await reader.read()
            except ConnectionResetError:
                assert not ends_well
                over.add(reader)
            else:
                has[reader].append(piece)
                if not piece:
                    over.add(reader)

        for _ in range(data.draw(st.integers(0, 40))):
            what = data.draw(st.sampled_from(["come", "join", "read", "leave", "turn"]))
            reader = data.draw(st.sampled_from(list(has))) if has else None
            if what == "come" and left:
                source.come(left.pop(0))
            elif what == "join" and has and (new := flight.join()) is not None:
                has[new] = []
            elif what == "read" and reader is not None and reader not in over:
                reading = asyncio.create_task(take(reader))
                for _ in range(4):
                    await asyncio.sleep(0)
                if not reading.done():
                    reading.cancel()
                await asyncio.wait({reading})
            elif what == "leave" and reader is not None:
                reader.abort()
                del has[reader]
            else:
                await asyncio.sleep(0)
        source.come(*left)

        async def to_the_end(reader: FlightReader) -> None:
            while reader not in over:
                await take(reader)

        await asyncio.gather(*map(to_the_end, has))
        assert all(b"".join(texts) == b"".join(pieces) for texts in has.values())
        for reader in has:
            reader.abort()
        assert room.used_bytes == 0
        assert source.is_aborted

    test()
