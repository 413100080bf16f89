"""Streams: how many frames a core hands on, and how long Sluice delays a frame."""

from __future__ import annotations

import asyncio
import time

import uvloop

from bench.readers import Readers
from bench.result import Result, middle
from bench.servers import Server, Servers
from bench.wrk import Failed
from proxy.bench.tally import percentile

FAST = 64
PACED = 500
PACE_S = 0.02
IDLE_S = 0.05


def streams(servers: Servers, *, quick: bool) -> list[Result]:
    """Run all three measurements with the same sender and the same Sluice."""
    sender = servers.sender()
    sluice = servers.sluice(sender)
    return [
        *throughput(sender, sluice, rounds=1 if quick else 3, seconds=2 if quick else 5),
        *pacing(sender, sluice, rounds=1 if quick else 3, seconds=2 if quick else 5),
        *idle(sender, sluice, seconds=3 if quick else 15),
    ]


def throughput(sender: Server, sluice: Server, *, rounds: int, seconds: float) -> list[Result]:
    """64 streams as fast as they can be sent, each frame in a chunk and a write of its own."""
    direct, through, by_cpu, busy = [], [], [], []
    for _ in range(rounds):
        direct.append(uvloop.run(flow(sender, FAST, seconds=min(seconds, 2)))[0])
        rate, share = uvloop.run(flow(sluice, FAST, seconds=seconds, watched=sluice))
        through.append(rate)
        busy.append(100 * share)
        by_cpu.append(rate / share)
    return [
        middle("streams", "64 streams, direct", direct, "frames/s"),
        middle("streams", "64 streams, through Sluice", through, "frames/s"),
        middle("streams", "of a core in use by Sluice", busy, "%"),
        middle("streams", "for a CPU second of Sluice", by_cpu, "frames", at_least=25_000),
    ]


async def flow(
    server: Server, count: int, *, every_s: float = 0, seconds: float, watched: Server | None = None
) -> tuple[float, float]:
    """Frames a second, and the share of a core that `watched` used, after a second of warming up."""
    async with Readers(server, count, every_s=every_s) as readers:
        await asyncio.sleep(1)
        frames, began = readers.frames, time.monotonic()
        used = watched.cpu_seconds() if watched else 0.0
        await asyncio.sleep(seconds)
        frames = readers.frames - frames
        took = time.monotonic() - began
        used = (watched.cpu_seconds() if watched else 0.0) - used
        check(readers, frames)
    return frames / took, max(used, 0.01) / took


def pacing(sender: Server, sluice: Server, *, rounds: int, seconds: float) -> list[Result]:
    """500 streams with a frame each 20 ms: the delay that Sluice adds to a frame."""
    direct, through, rates, shares = [], [], [], []
    for _ in range(rounds):
        direct.append(uvloop.run(delays(sender, PACED, PACE_S, seconds))[0])
        delays_s, share = uvloop.run(delays(sluice, PACED, PACE_S, seconds, watched=sluice))
        through.append(delays_s)
        rates.append(len(delays_s) / seconds)
        shares.append(share)
    by_cpu = [rate / share for rate, share in zip(rates, shares, strict=True)]

    def added(percent: float) -> list[float]:
        both = zip(through, direct, strict=True)
        return [(percentile(one, percent) - percentile(other, percent)) * 1000 for one, other in both]

    return [
        middle("streams", "500 streams, a frame each 20 ms", rates, "frames/s"),
        middle("streams", "of a core in use by Sluice (500)", [100 * share for share in shares], "%"),
        middle("streams", "for a CPU second of Sluice (500)", by_cpu, "frames", at_least=25_000),
        middle("streams", "added delay p50 (500)", added(50), "ms"),
        middle("streams", "added delay p99 (500)", added(99), "ms", at_most=50),
    ]


def idle(sender: Server, sluice: Server, *, seconds: float) -> list[Result]:
    """One stream with a frame each 50 ms, and nothing else to do: the time from the sender's write to the reader."""
    direct, _ = uvloop.run(delays(sender, 1, IDLE_S, seconds / 3))
    through, _ = uvloop.run(delays(sluice, 1, IDLE_S, seconds))
    return [
        Result("streams", "idle, direct: delay p99", percentile(direct, 99) * 1000, "ms"),
        Result("streams", "idle, through Sluice: delay p50", percentile(through, 50) * 1000, "ms"),
        Result("streams", "idle, through Sluice: delay p99", percentile(through, 99) * 1000, "ms", at_most=5),
    ]


async def delays(
    server: Server, count: int, every_s: float, seconds: float, *, watched: Server | None = None
) -> tuple[list[float], float]:
    """The times from each frame's writing to its reading, sorted, and the share of a core that `watched` used."""
    async with Readers(server, count, every_s=every_s) as readers:
        await asyncio.sleep(1)
        readers.is_timing = True
        began = time.monotonic()
        used = watched.cpu_seconds() if watched else 0.0
        await asyncio.sleep(seconds)
        readers.is_timing = False
        used = (watched.cpu_seconds() if watched else 0.0) - used
        took = time.monotonic() - began
        check(readers, len(readers.delays_s))
    return sorted(readers.delays_s), max(used, 0.01) / took


def check(readers: Readers, frames: int) -> None:
    if readers.lost or not frames:
        raise Failed(f"{readers.lost} of {readers.count} streams ended; {frames} frames came")
