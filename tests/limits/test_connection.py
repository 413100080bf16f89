"""The connection to Redis: to real ones in all ways that an address can say, and to a peer that breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

from keys.limits.connection import Connection, Line, connect, parse
from tests.kit.services import Services, processes
from tests.kit.services.redis import RedisServer

SECRET = "p@ss/word"


@pytest.fixture
def server(services: Services) -> Iterator[RedisServer]:
    """A Redis of our own, because its passwords change here."""
    with RedisServer() as server:
        yield server


def run(test: Awaitable[None]) -> None:
    async def within() -> None:
        await asyncio.wait_for(test, 30)

    asyncio.run(within())


def test_it_asks_and_hears_what_any_client_does(server: RedisServer):
    async def test() -> None:
        client = connect(server.url)
        assert isinstance(client, Connection)
        assert await client.execute_command("SET", "ä", b"\r\n$5\r\n") == b"OK"
        assert await client.execute_command("GET", "ä") == b"\r\n$5\r\n"
        assert await client.execute_command("GET", "none") is None
        assert await client.execute_command("INCR", "n") == 1
        long = b"x" * 3_000_000
        assert await client.execute_command("SET", "long", long) == b"OK"
        assert await client.execute_command("GET", "long") == long
        await client.aclose()

    run(test())


def test_an_unknown_script_is_no_failure_of_the_connection(server: RedisServer):
    async def test() -> None:
        client = connect(server.url)
        own = await client.execute_command("CLIENT", "ID")
        with pytest.raises(NoScriptError):
            await client.execute_command("EVALSHA", "0" * 40, 0)
        assert await client.execute_command("CLIENT", "ID") == own
        # Any other error is: a server that is a replica now, or has lost its rights, may be another one next time.
        with pytest.raises(ResponseError, match="unknown command"):
            await client.execute_command("NOSUCH")
        assert await client.execute_command("CLIENT", "ID") != own
        await client.aclose()

    run(test())


@pytest.mark.parametrize("user", ["", "sluice"])
def test_user_password_and_database_of_the_url_are_used(server: RedisServer, user: str):
    admin = server.client()
    if user:
        admin.execute_command("ACL", "SETUSER", user, "on", f">{SECRET}", "~*", "+@all")
    else:
        admin.config_set("requirepass", SECRET)

    async def test() -> None:
        for wrong in ("", f"{user}:wrong@"):
            client = connect(f"redis://{wrong}127.0.0.1:{server.port}/3")
            if user and not wrong:
                continue  # without a name it is the default user, which may
            with pytest.raises(ResponseError, match=r"NOAUTH|WRONGPASS"):
                await client.execute_command("SET", "here", "1")
            await client.aclose()
        client = connect(f"redis://{user}:p%40ss%2Fword@127.0.0.1:{server.port}/3")
        assert isinstance(client, Connection)
        await client.execute_command("SET", "here", "1")
        await client.aclose()

    run(test())
    client = redis.Redis(port=server.port, db=3, password=None if user else SECRET)
    assert client.get("here") == b"1"
    client.close()
    admin.close()


def test_a_socket_s_path_is_an_address():
    directory = processes.make_directory("socket")
    path = directory / "redis"

    async def test() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"PING\r\n")
            writer.write(b"+PONG\r\n")
            await reader.read()
            await ended(writer)
            is_over.set()

        is_over = asyncio.Event()
        peer = await asyncio.start_unix_server(answer, path)
        client = connect(f"unix://{path}")
        assert isinstance(client, Connection)
        assert await client.execute_command("PING") == b"PONG"
        await client.aclose()
        await is_over.wait()
        peer.close()

    run(test())


@pytest.mark.parametrize("url", ["rediss://redis.example/0", "redis://redis.example/0?socket_keepalive=true"])
def test_what_an_address_alone_cannot_say_is_left_to_redis_py(url: str):
    assert isinstance(connect(url), redis.asyncio.Redis)


# --- A peer that breaks off --------------------------------------------------------------------------------
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def against(peers: list[Peer], test: Callable[[Connection], Awaitable[None]]) -> None:
    """Each connection meets the next of these peers."""
    left = iter(peers)
    met: list[asyncio.Task[object]] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        met.append(task)
        await next(left)(reader, writer)
        await ended(writer)

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    client = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert isinstance(client, Connection)
    await test(client)
    await client.aclose()
    server.close()
    await asyncio.gather(*met)
    assert next(left, None) is None


async def ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def answering(*answers: bytes) -> Peer:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"PING\r\n")
            writer.write(answer)
        with suppress(OSError):
            await reader.read()

    return peer


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"PING\r\n")


def test_a_connection_that_breaks_is_told_and_made_anew():
    async def test(client: Connection) -> None:
        with pytest.raises((Disconnected, ConnectionError)):
            await client.execute_command("PING")
        assert await client.execute_command("PING") == b"PONG"

    run(against([hang_up, answering(b"+PONG\r\n")], test))


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400\r\n", b"$x\r\n", b"~1\r\n", b"\r\n", b"+PONG\r\n+PONG\r\n"])
def test_what_is_no_answer_ends_the_connection(nonsense: bytes):
    async def test(client: Connection) -> None:
        with pytest.raises(InvalidResponse):
            await client.execute_command("PING")
        assert await client.execute_command("PING") == b"PONG"

    run(against([answering(nonsense), answering(b"+PONG\r\n")], test))


def test_an_answer_that_nobody_waits_for_any_more_is_never_taken_for_the_next():
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        asked.set()
        await go_on.wait()
        writer.write(b"+LATE\r\n")

    async def test(client: Connection) -> None:
        asking = asyncio.create_task(client.execute_command("PING"))
        await asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        go_on.set()
        assert await client.execute_command("PING") == b"PONG"

    run(against([late, answering(b"+PONG\r\n")], test))


def test_nobody_there_is_told():
    async def test() -> None:
        client = connect(f"redis://127.0.0.1:{processes.free_port()}")
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await client.execute_command("PING")
        await client.aclose()

    run(test())


def as_list(answers: list[tuple[bytes, object]]) -> tuple[bytes, object]:
    return b"*%d\r\n" % len(answers) + b"".join(text for text, _ in answers), [meant for _, meant in answers]


SINGLE_ANSWERS: st.SearchStrategy[tuple[bytes, object]] = st.one_of(
    st.binary(max_size=50).map(lambda text: (b"$%d\r\n%b\r\n" % (len(text), text), text)),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: (b":%d\r\n" % number, number)),
    st.just((b"$-1\r\n", None)),
    st.just((b"+OK\r\n", b"OK")),
)
LISTS: st.SearchStrategy[Any] = st.recursive(
    st.lists(SINGLE_ANSWERS, max_size=4),
    lambda lists: st.lists(st.one_of(SINGLE_ANSWERS, lists.map(as_list)), max_size=3),
    max_leaves=6,
)
ANSWERS = st.one_of(SINGLE_ANSWERS, LISTS.map(as_list))


def test_an_error_in_a_list_is_the_answer():
    answer, length = parse(b"*3\r\n:1\r\n-ERR no\r\n:2\r\n") or (None, 0)
    assert isinstance(answer, ResponseError)
    assert length == len(b"*3\r\n:1\r\n-ERR no\r\n:2\r\n")


@given(ANSWERS, st.lists(st.integers(0, 60)))
def test_an_answer_is_read_in_whatever_pieces_it_comes(answer: tuple[bytes, object], cuts: list[int]):
    text, meant = answer
    for length in range(len(text)):
        assert parse(text[:length]) is None
    assert parse(text) == (meant, len(text))

    async def read() -> object:
        line = Line()
        line._waiting = asyncio.get_running_loop().create_future()
        places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
        for start, end in pairwise(places):
            assert not line._waiting.done()
            line.data_received(text[start:end])
        return await line._waiting

    assert asyncio.run(read()) == meant
