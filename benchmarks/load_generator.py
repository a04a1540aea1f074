"""Clients on one event loop: a closed loop with a number of clients, or an open loop with a rate."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.load import Request


@dataclass(frozen=True, slots=True)
class Response:
    """Status (0: no response), seconds since the request was due, and Retry-After."""

    status: int
    seconds: float
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Responses to all requests of a load, and its seconds."""

    responses: Sequence[Response]
    seconds: float

    def of(self, *statuses: int) -> list[Response]:
        """Return the responses with these statuses."""
        return [answer for answer in self.responses if answer.status in statuses]

    @property
    def goodput(self) -> float:
        """Responses with status 200 per second."""
        return len(self.of(200)) / self.seconds

    def percentile(self, share: float, *statuses: int) -> float:
        """Return a percentile of the seconds of responses with these statuses, or nan if there are none."""
        durations = [answer.seconds for answer in self.of(*statuses)]
        return float(np.percentile(durations, 100 * share)) if durations else float("nan")


def closed_loop(port: int, request: Request, *, callers: int, seconds: float) -> LoadResult:
    """Run clients that send the next request after each response, and respect Retry-After."""
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
    """Send requests at random times with a mean rate per second, each on its own connection."""
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
