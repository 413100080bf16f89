"""One simulator on a socket for all tests of this folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import openai
import pytest
import uvloop

from providers.simulator.server import Simulator


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    """Where it listens; it runs in a thread with an event loop of its own."""
    loop = uvloop.new_event_loop()
    simulator = Simulator()
    server = loop.run_until_complete(simulator.listen("127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server.sockets[0].getsockname()[1]

    async def stop() -> None:
        server.close()
        simulator.drop_connections()
        await asyncio.sleep(0.05)

    asyncio.run_coroutine_threadsafe(stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@pytest.fixture
def client(port) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-x", max_retries=0, timeout=10) as sdk:
        yield sdk
