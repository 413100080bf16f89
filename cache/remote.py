"""Calls to providers that other processes may wait for and read, through Redis (F87).

A process claims a question before it asks a provider. One that finds it claimed asks the process that has the claim
for the answer, which comes piece by piece. Processes talk by channels of Redis: publishing tells how many listen, so a
process that was killed is noticed at once. One that hangs is noticed because it does not answer within `SILENT_S`.

Nothing of this is needed for a right answer: whoever loses a claim, or Redis, asks the provider itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple, Protocol

import msgspec

from cache.flight import FlightReader
from cache.remote_answer import Facts, Failure, RemoteAnswer
from cache.tiers.circuit import PartAway
from cache.tiers.redis import TAG
from cache.tiers.redis_commands import RedisCommands

log = logging.getLogger("sluice.cache")

CLAIM = TAG + ":claim:"
CHANNEL = TAG + ":process:"

CLAIM_MS = 6000
"""A claim that is not renewed ends after this: its process was killed or hangs."""

TEND_EVERY_S = 1.0
"""Claims are renewed, and answers that are silent asked about, so often."""

SILENT_S = 3.0
"""The process that gives an answer counts as gone when it says nothing for so long, also when it is asked."""

WINDOW_BYTES = 512 * 1024
"""What is sent and not read yet, at most: a reader that is slow must not fill Redis."""

PIECE_BYTES = 64 * 1024
UNREAD_S = 120.0
"""An answer whose reader takes nothing for so long is given up. Clients that read nothing are cut before that."""

JOIN, LEAVE, READ, ASK = 1, 2, 3, 4
"""From a process that reads an answer to the one that gives it."""

HEAD, PIECE, END, FAILED, BROKEN, ALIVE = 11, 12, 13, 14, 15, 16
"""The other way round."""


class Message(NamedTuple):
    """`call` is a number of the process that gives the answer, `reading` one of the process that reads it."""

    kind: int
    process: str
    call: int
    reading: int
    number: int = 0
    """Of the piece; or how many bytes were read."""
    data: Any = None


class Claim(NamedTuple):
    """Who makes the call: a process, and its number of it."""

    key: str
    process: str
    call: int

    @property
    def value(self) -> str:
        return f"{self.process}:{self.call}"


class SharedCall(Protocol):
    """A call of this process that others may read."""

    tries: int

    def follow(self) -> asyncio.Future[FlightReader | None]:
        """Becomes the answer, or None where there is none to share."""

    def facts(self) -> Facts | None:
        """What another process needs to know of the answer; None where it must ask itself."""

    def why(self) -> Failure | None:
        """Why there is no answer."""


class Call:
    """A claim of this process."""

    def __init__(self, claim: Claim, shared: SharedCall) -> None:
        self.claim, self.shared = claim, shared
        self.readings: dict[tuple[str, int], Reading] = {}
        self.has_ended = False


class Reading:
    """A process that reads the answer of a call of this one."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None]
        self.unread_bytes = 0
        self.was_read = asyncio.Event()


class RemoteCalls:
    """One for each process. `tend` is repeated by a loop, and `heed` gets what comes by the channel."""

    def __init__(self, commands: RedisCommands) -> None:
        self._commands = commands
        self.process = secrets.token_hex(8)
        self.channel = CHANNEL + self.process
        self.listens = False
        """Whether the channel is subscribed: without it nothing can be claimed or read."""
        self._calls: dict[int, Call] = {}
        self._readings: dict[int, RemoteAnswer] = {}
        self._numbers = count(1)

    # --- claiming -----------------------------------------------------------------------------------------------

    async def claim(self, key: str, entry_key: str, shared: SharedCall) -> Claim | bytes | None:
        """Claim a question for a call. Returns the claim, which may be another process's; an entry that has been stored
        meanwhile; or None where Redis is away.
        """
        if not self.listens:
            return None
        claim = Claim(key, self.process, next(self._numbers))
        try:
            is_entry, found = await self._commands.run("CLAIM", CLAIM + key, claim.value, CLAIM_MS, entry_key)
        except PartAway:
            return None
        except asyncio.CancelledError:
            self._release(claim)
            raise
        if is_entry:
            return bytes(found)
        process, _, number = bytes(found).decode().partition(":")
        claim = Claim(key, process, int(number))
        if process == self.process:
            self._calls[claim.call] = Call(claim, shared)
        return claim

    def release(self, claim: Claim) -> None:
        """The answer is stored, or there is none. Those that read it go on."""
        call = self._calls.get(claim.call)
        if call is not None:
            call.has_ended = True
            self._forget_if_read(call)
        self._release(claim)

    def _release(self, claim: Claim) -> None:
        self._commands.run("RELEASE", CLAIM + claim.key, claim.value)

    def _forget_if_read(self, call: Call) -> None:
        if call.has_ended and not call.readings:
            self._calls.pop(call.claim.call, None)

    # --- reading another process's answer -------------------------------------------------------------------------

    def follow(self, claim: Claim) -> RemoteAnswer:
        """The answer of another process's call. Its head, or why there is none, comes by `RemoteAnswer.head`."""
        reading = next(self._numbers)

        def tell(kind: int, read_bytes: int = 0) -> asyncio.Future[Any]:
            return self._say(claim.process, Message(kind, self.process, claim.call, reading, read_bytes))

        def ended() -> None:
            if self._readings.pop(reading, None) is not None and not answer.is_over:
                tell(LEAVE)

        answer = RemoteAnswer(lambda read_bytes: tell(READ, read_bytes), ended)
        self._readings[reading] = answer
        answer.ask = lambda: self._ask(answer, claim, lambda: tell(ASK))
        joined = tell(JOIN)
        joined.add_done_callback(lambda sent: self._heed_sent(answer, claim, sent))
        return answer

    def _heed_sent(self, answer: RemoteAnswer, claim: Claim, sent: asyncio.Future[Any]) -> None:
        """If nobody has got the message, the process that has the claim is gone; without Redis, nothing more comes."""
        if sent.cancelled() or sent.exception() is not None:
            answer.lose()
        elif not sent.result():
            self._is_gone(answer, claim)

    def _is_gone(self, answer: RemoteAnswer, claim: Claim) -> None:
        self._release(claim)  # which was the other process's: the next one gets it
        answer.lose()

    def _ask(self, answer: RemoteAnswer, claim: Claim, ask: Callable[[], asyncio.Future[Any]]) -> None:
        if answer.silent_s() >= SILENT_S:
            self._is_gone(answer, claim)
        elif answer.silent_s() >= TEND_EVERY_S:
            ask().add_done_callback(lambda sent: self._heed_sent(answer, claim, sent))

    # --- giving answers -----------------------------------------------------------------------------------------

    def heed(self, data: bytes) -> None:
        """A message of another process. What cannot be read is dropped: its sender is of another version."""
        try:
            message = msgspec.msgpack.decode(data, type=Message)
        except msgspec.MsgspecError:
            return
        if message.kind < HEAD:
            self._serve(message)
            return
        answer = self._readings.get(message.reading)
        if answer is None:
            return
        if message.kind == HEAD:
            with suppress(msgspec.ValidationError):
                answer.began(msgspec.convert(message.data, Facts))
        elif message.kind == PIECE:
            answer.came(message.number, message.data)
        elif message.kind == END:
            answer.ended(message.number)
        elif message.kind == FAILED:
            with suppress(msgspec.ValidationError):
                answer.failed(msgspec.convert(message.data, Failure))
        elif message.kind == BROKEN:
            answer.lose()
        else:
            answer.is_alive()

    def _serve(self, message: Message) -> None:
        call = self._calls.get(message.call)
        who = message.process, message.reading
        reading = call.readings.get(who) if call is not None else None
        if message.kind == JOIN and call is not None:
            reading = call.readings[who] = Reading()
            reading.task = asyncio.create_task(self._give(call, reading, *who))
        elif message.kind == JOIN:
            self._say(message.process, Message(FAILED, self.process, message.call, message.reading, 0, Failure()))
        elif reading is None:
            if message.kind == ASK:
                self._say(message.process, Message(BROKEN, self.process, message.call, message.reading))
        elif message.kind == LEAVE:
            reading.task.cancel()
        elif message.kind == READ:
            reading.unread_bytes -= message.number
            reading.was_read.set()
        else:
            self._say(message.process, Message(ALIVE, self.process, message.call, message.reading))

    async def _give(self, call: Call, reading: Reading, process: str, number: int) -> None:
        """Send the answer of a call to another process, as fast as it comes and is read there."""

        def say(kind: int, place: int = 0, data: Any = None) -> asyncio.Future[Any]:
            return self._say(process, Message(kind, self.process, call.claim.call, number, place, data))

        answer: FlightReader | None = None
        try:
            answer = await call.shared.follow()
            facts = call.shared.facts()
            if answer is None or facts is None:
                say(FAILED, 0, call.shared.why() or Failure(tries=call.shared.tries))
                return
            sent = say(HEAD, 0, facts)
            place = 0
            while piece := await answer.read():
                for at in range(0, len(piece), PIECE_BYTES):
                    part = piece[at : at + PIECE_BYTES]
                    sent = say(PIECE, place, part)
                    place += 1
                    reading.unread_bytes += len(part)
                    await self._until_read(reading)
                if sent.done() and not sent.result():
                    return  # nobody listens any more
            say(END, place)
        except (PartAway, TimeoutError) as error:
            log.info("An answer is not given to another process any more: %s", type(error).__name__)
        except Exception:
            say(BROKEN)  # as it breaks off for all who read it; its own request tells why
        finally:
            if answer is not None:
                answer.abort()
            call.readings.pop((process, number), None)
            self._forget_if_read(call)

    async def _until_read(self, reading: Reading) -> None:
        async with asyncio.timeout(UNREAD_S):
            while reading.unread_bytes > WINDOW_BYTES:
                reading.was_read.clear()
                await reading.was_read.wait()

    def _say(self, process: str, message: Message) -> asyncio.Future[Any]:
        """Becomes the number of processes that got it: 1, or 0."""
        return self._commands.run("PUBLISH", CHANNEL + process, msgspec.msgpack.encode(message))

    # --- as time passes -----------------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Renew the claims of calls that take long, and ask about answers that are silent."""
        await asyncio.sleep(TEND_EVERY_S)
        for call in self._calls.values():
            if not call.has_ended:
                self._commands.run("RENEW", CLAIM + call.claim.key, call.claim.value, CLAIM_MS)
        for answer in tuple(self._readings.values()):
            answer.ask()

    def lost_channel(self) -> None:
        """Messages may have been lost: what is read from others cannot be trusted to be whole."""
        self.listens = False
        for answer in tuple(self._readings.values()):
            answer.lose()

    async def close(self) -> None:
        tasks = [reading.task for call in self._calls.values() for reading in call.readings.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
