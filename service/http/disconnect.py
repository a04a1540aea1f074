"""Reads request bodies within limits, and ends requests whose client has disconnected."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from starlette.types import Receive

from service.engine.admission import BodyReservation
from service.errors import BodyTooLarge
from service.http.limits import describe_bytes

T = TypeVar("T")

INLINE_BODY_BYTES = 64 << 10
"""Largest body handled on the event loop. Decoded images and outputs may be three times as large."""


class ClientDisconnect(Exception):
    """The client closed the connection, so no response is sent."""


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], limit: int, reservation: BodyReservation
) -> bytes:
    """Read the whole body.

    Raises BodyTooLarge as soon as the Content-Length or the bytes received exceed `limit`, Overloaded as soon as the
    bodies in memory exceed their limit, and ClientDisconnect.
    """
    content_length = headers.get(b"content-length", b"0")
    if content_length.isdigit() and int(content_length[:20]) > limit:
        raise BodyTooLarge(describe_bytes(limit))
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        more = message.get("more_body", False)
        if not more and not chunks and len(chunk) <= min(limit, INLINE_BODY_BYTES):
            return chunk  # the common case: a small body in one message needs no reservation
        reservation.add(len(chunk))
        if reservation.size > limit:
            raise BodyTooLarge(describe_bytes(limit))
        chunks.append(chunk)
        if not more:
            return b"".join(chunks)


async def cancel_on_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine and return its result; cancel it and raise ClientDisconnect when the client disconnects."""
    task, disconnect = asyncio.ensure_future(work), asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        await asyncio.wait((task, disconnect), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        disconnect.cancel()
        task.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
