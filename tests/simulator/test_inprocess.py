"""The player inside the process: what the data plane sees of it."""

from __future__ import annotations

import asyncio
import json
import selectors

import pytest

from providers.simulator.inprocess import SimulatedAnswer, answer
from tests.kit.simulations import CHAT, HELLO, chat, data_of


async def ask(simulate=None, *, defaults=None, **members) -> SimulatedAnswer:
    body = {**HELLO, **members, **({"simulate": simulate} if simulate else {})}
    return await answer("POST", CHAT, [(b"content-type", b"application/json")], json.dumps(body).encode(), defaults)


async def rest(simulated: SimulatedAnswer) -> bytes:
    pieces = []
    while piece := await simulated.read():
        pieces.append(piece)
    return b"".join(pieces)


class Timeless(asyncio.SelectorEventLoop):
    """Its clock begins at 0 and jumps to whatever is waited for."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(Jumping(self))

    def time(self) -> float:
        return self.now


class Jumping(selectors.DefaultSelector):
    def __init__(self, loop: Timeless) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        self._loop.now += max(0.0, timeout or 0.0)
        return super().select(0)


def run_without_waiting(main) -> None:
    with asyncio.Runner(loop_factory=Timeless) as runner:
        runner.run(main)


@pytest.mark.parametrize("stream", [False, True])
def test_it_sends_the_bytes_of_the_script(stream):
    async def main():
        simulated = await ask(stream=stream)
        assert simulated.status == 200
        assert (b"openai-processing-ms", b"1") in simulated.headers
        assert all(name == name.lower() for name, _ in simulated.headers)
        assert await rest(simulated) == data_of(chat(stream=stream))
        assert await simulated.read() == b""

    asyncio.run(main())


def test_a_query_does_not_change_the_answer():
    body = json.dumps(HELLO).encode()
    assert asyncio.run(answer("POST", CHAT + "?a=b", [], body)).status == 200


def test_defaults_are_the_providers_options():
    async def main():
        assert json.loads(await rest(await ask(defaults={"tokens": 2})))["usage"]["completion_tokens"] == 2

    asyncio.run(main())


def test_frames_come_one_by_one_at_the_rate():
    async def main():
        simulated = await ask({"tokens": 5, "tokens_per_second": 50}, stream=True)
        times = []
        while await simulated.read():
            times.append(asyncio.get_running_loop().time())
        # Role and first word, then a word every 20 ms; finish and [DONE] come with the last.
        assert times == pytest.approx([0, 0.02, 0.04, 0.06, 0.08])

    run_without_waiting(main())


def test_it_waits_the_time_to_the_head_and_to_the_first_token():
    async def main():
        loop = asyncio.get_running_loop()
        simulated = await ask({"delay_ms": 60, "first_token_ms": 60}, stream=True)
        assert loop.time() == pytest.approx(0.06)
        await simulated.read()
        assert loop.time() == pytest.approx(0.12)

    run_without_waiting(main())


def test_a_cut_is_a_connection_reset_after_what_was_sent():
    async def main():
        simulated = await ask({"fault": {"kind": "cut", "after": 3}}, stream=True)
        assert (await simulated.read()).count(b"\n\n") == 4
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await simulated.read()

    asyncio.run(main())


def test_a_reset_comes_instead_of_the_head():
    with pytest.raises(ConnectionResetError):
        asyncio.run(ask({"fault": {"kind": "reset"}}))


@pytest.mark.parametrize("simulate", [{"fault": {"kind": "stall", "after": 0}}, {"first_token_ms": 60_000}])
def test_abort_wakes_a_pending_read(simulate):
    async def main():
        simulated = await ask(simulate, stream=True)
        reading = asyncio.ensure_future(simulated.read())
        await asyncio.sleep(0.02)
        assert not reading.done()
        simulated.abort()
        simulated.abort()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reading, 1)

    asyncio.run(main())


def test_a_cancelled_read_loses_nothing():
    async def main():
        simulated = await ask({"tokens": 6, "tokens_per_second": 20}, stream=True)
        pieces = []
        while True:
            try:
                async with asyncio.timeout(0.01):
                    piece = await simulated.read()
            except TimeoutError:
                continue
            if not piece:
                break
            pieces.append(piece)
        said = chat(simulate={"tokens": 6, "tokens_per_second": 20}, stream=True)
        assert b"".join(pieces) == data_of(said)

    asyncio.run(main())


def test_cancelling_the_task_ends_it_while_it_waits_for_the_head():
    async def main():
        asking = asyncio.create_task(ask({"fault": {"kind": "slow_first_byte", "seconds": 60}}))
        await asyncio.sleep(0.02)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_a_long_stream_lets_others_run():
    async def main():
        simulated = await ask({"tokens": 100_000}, stream=True)
        turns = 0

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        longest = 0
        while piece := await simulated.read():
            longest = max(longest, len(piece))
        task.cancel()
        assert turns > 100
        assert longest < 70_000

    asyncio.run(main())
