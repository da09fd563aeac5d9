"""The messages of one ASGI request become its whole body, within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from mlnb.errors import RequestError
from mlnb.service.admission import ARRIVED
from mlnb.service.configuration import Configuration

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]


async def read_body(scope: Message, receive: Receive, limits: Configuration) -> bytes:
    """Return the whole body; of one that is too large the rest is read and dropped, so that the answer is heard.

    Raises
    ------
    RequestError
        413 for a body that is too large, 408 for one that does not arrive in time, 415 for a compressed one, 400 where
        the caller left.
    """
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.lower() != b"identity":
            raise RequestError("The body is compressed.", "Send it as plain JSON.", status=415)
    if ARRIVED in scope:  # whole, so there is nothing to wait for
        chunks, size = await _chunks(receive, limits.max_body_bytes)
    else:
        try:
            async with asyncio.timeout(limits.body_s):
                chunks, size = await _chunks(receive, limits.max_body_bytes)
        except TimeoutError as error:
            raise RequestError(
                f"The body did not arrive within {limits.body_s:g} seconds.", "Send it again.", status=408
            ) from error
    if size > limits.max_body_bytes:
        raise RequestError(
            f"The body has {size} bytes; this service takes {limits.max_body_bytes}.",
            "Send fewer rows in each request.",
            status=413,
        )
    return b"".join(chunks)


async def _chunks(receive: Receive, most: int) -> tuple[list[bytes], int]:
    """Return the parts of a body as far as they may be kept, and the size of all."""
    size = 0
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("The caller left before the body had arrived.", "Send it again.", status=400)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= most:
            chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks, size
