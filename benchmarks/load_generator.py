"""Callers of one event loop: a number of them one request after the other, or at a rate whatever the answers are."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.load import Request


@dataclass(frozen=True, slots=True)
class Response:
    """Status (0: none came), seconds since the request was due, and the Retry-After it bore."""

    status: int
    seconds: float
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came of all requests, within so many seconds."""

    responses: Sequence[Response]
    seconds: float

    def of(self, *statuses: int) -> list[Response]:
        """The answers of these statuses."""
        return [answer for answer in self.responses if answer.status in statuses]

    @property
    def goodput(self) -> float:
        """Answers 200 a second."""
        return len(self.of(200)) / self.seconds

    def percentile(self, share: float, *statuses: int) -> float:
        """Seconds within which that share of these statuses was answered; nan where there are none."""
        durations = [answer.seconds for answer in self.of(*statuses)]
        return float(np.percentile(durations, 100 * share)) if durations else float("nan")


def closed_loop(port: int, request: Request, *, callers: int, seconds: float) -> LoadResult:
    """So many callers, each sending its next request when it has its answer, and waited where it was told to."""
    head = _head(request)

    async def caller(end: float, answers: list[Response]) -> None:
        while time.monotonic() < end:
            answer = await _send(port, head + request.body, time.monotonic())
            answers.append(answer)
            await asyncio.sleep(min(float(answer.retry_after or 0), max(0.0, end - time.monotonic())))

    async def go() -> LoadResult:
        begun, answers = time.monotonic(), list[Response]()
        await asyncio.gather(*(caller(begun + seconds, answers) for _ in range(callers)))
        return LoadResult(answers, time.monotonic() - begun)

    return asyncio.run(go())


def open_loop(port: int, request: Request, *, rate: float, seconds: float) -> LoadResult:
    """Requests at random moments, so many a second on average, each on a connection of its own."""
    head = _head(request)
    moments = np.cumsum(np.random.default_rng(0).exponential(1 / rate, round(rate * seconds)))

    async def go() -> LoadResult:
        begun = time.monotonic()
        tasks: list[asyncio.Task[Response]] = []
        for moment in moments:
            await asyncio.sleep(max(0.0, begun + moment - time.monotonic()))
            tasks.append(asyncio.create_task(_send(port, head + request.body, begun + moment)))
        sent = time.monotonic() - begun
        return LoadResult(await asyncio.gather(*tasks), sent)

    return asyncio.run(go())


def _head(request: Request) -> bytes:
    lines = [f"POST {request.path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Type: {request.content_type}"]
    lines += [f"Content-Length: {len(request.body)}", *(f"{name}: {value}" for name, value in request.headers)]
    return "\r\n".join([*lines, "", ""]).encode()


async def _send(port: int, message: bytes, due: float) -> Response:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(message)
            answer = await asyncio.wait_for(reader.read(-1), 300)
        finally:
            writer.close()
    except (OSError, TimeoutError):
        return Response(0, time.monotonic() - due)
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").lower()
    again = head.partition("retry-after: ")[2].partition("\r\n")[0]
    return Response(int(head.split()[1]) if head else 0, time.monotonic() - due, again)
