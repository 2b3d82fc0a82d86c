"""Compress responses where the client accepts it: JSON and the page's files shrink to a fraction of their size."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_FROM, _LEVEL = 1000, 5  # bytes of an answer; beyond this level time grows more than size shrinks
_UNCOMPRESSED = ("/image", "/thumbnail", "/events", "/favicon.ico")


class Compression:
    """Compresses large responses, except pictures, which are compressed, and event streams, which must not be delayed.

    Args:
        app: The inner application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        self._compressed = GZipMiddleware(app, minimum_size=_FROM, compresslevel=_LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, through the compressor or beside it."""
        beside = scope["type"] != "http" or scope["path"].endswith(_UNCOMPRESSED)
        await (self._plain if beside else self._compressed)(scope, receive, send)
