"""Limit the size of requests, the time that they may take to arrive, and their number."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossgraph.serve.problems import Problem

MOST_IN_ADDRESS = 64 * 1024
"""Bytes of path and query."""
MOST_AT_ONCE = 128
"""Requests in progress; beyond it even small ones are refused for the moment."""
_DRAINED, _PATIENCE = 5, 5.0  # times the limit that is still read and thrown away, and for how many seconds


class Limits:
    """Limits body, address and number of requests.

    Args:
        app: The inner application.
        most: Bytes of a body.
        timeout: Seconds that a body may take to arrive.
    """

    def __init__(self, app: ASGIApp, most: int, timeout: float) -> None:
        self._app = app
        self._most = most
        self._timeout = timeout
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on within its limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._check(scope, receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        is_stream = scope["path"].endswith("/events")
        self._active += not is_stream
        try:
            await self._app(scope, self._bounded(receive), send)
        finally:
            self._active -= not is_stream

    async def _check(self, scope: Scope, receive: Receive) -> None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_IN_ADDRESS:
            raise Problem(414, "the address is too long", "ask a shorter query, or use POST", "address")
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > self._most:
            await self._drain(receive)
            raise self._too_large()
        if self._active >= MOST_AT_ONCE and scope["path"] != "/health":
            raise Problem(429, "too many requests at once", "try again in a moment", "busy", {"Retry-After": "1"})

    def _too_large(self) -> Problem:
        return Problem(
            413,
            f"the body is larger than {self._most / 1e6:.1f} MB",
            "send a smaller picture, or start the server with a larger --max-upload",
            "too-large",
        )

    def _bounded(self, receive: Receive) -> Receive:
        """Count what arrives; end a body that is too large or too slow."""
        seen, until = 0, time.monotonic() + self._timeout
        is_whole = False

        async def receiving() -> Message:
            nonlocal seen, is_whole
            if is_whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.01, until - time.monotonic()))
            except TimeoutError as error:
                raise Problem(408, "the request's body took too long to arrive", "send it again", "slow") from error
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if seen > self._most:
                    await self._drain(receive)
                    raise self._too_large()
            return message

        return receiving

    async def _drain(self, receive: Receive) -> None:
        """Read some of a body that is not wanted, so that its sender listens to the answer."""
        seen, until = 0, time.monotonic() + _PATIENCE
        while seen < _DRAINED * self._most and time.monotonic() < until:
            try:
                message = await asyncio.wait_for(receive(), max(0.01, until - time.monotonic()))
            except TimeoutError:
                return
            seen += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
