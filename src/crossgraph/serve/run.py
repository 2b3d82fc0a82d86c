"""Run the server: bind its socket, handle signals, close the library at the end."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from PIL import Image
from uvicorn.protocols.http.h11_impl import H11Protocol

from crossgraph.core.errors import InputError
from crossgraph.library.library import Library
from crossgraph.serve.app import create_app
from crossgraph.serve.service import Service
from crossgraph.serve.settings import ServeSettings, is_address

_BUFFERED = 512 * 1024  # bytes of a request's head: the application refuses long addresses by itself, in words
_CONNECTIONS = 500
_PATIENCE = 20.0  # seconds that a request's head may take
_ARENAS_AT_MOST = -8  # M_ARENA_MAX of glibc's malloc.h
_GRACE = 20  # seconds that requests get to finish at the end


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that does not wait for ever for a request's head."""

    _deadline: Any = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting only while a head is incomplete."""
        super().data_received(data)
        if self._deadline is not None:
            is_waiting = self.cycle is None or self.cycle.response_complete
            if not is_waiting:
                self._deadline.cancel()
                self._deadline = None
        elif self.cycle is not None and self.cycle.response_complete:
            self._wait()

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(_PATIENCE, self._give_up)

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()


class Server(uvicorn.Server):
    """A server that calls back when it is ready, ends its streams first, and keeps the signal for its caller.

    Args:
        config: uvicorn's.
        service: What is served.
        ready: Called when requests are answered.
    """

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready
        self.signal: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and call back."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End at a signal; at once at a second one."""
        self._service.ending = True
        self.signal = sig
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals while serving; the caller decides what they mean afterwards."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(folder: Path, settings: ServeSettings, ready: Callable[[str, Service], None]) -> int | None:
    """Serve a library until a signal comes; then finish what is under way and close it.

    Args:
        folder: The library.
        settings: How.
        ready: Called with the address and the service when requests are answered.

    Returns:
        The signal that ended it.

    Raises:
        InputError: The port is taken, or the library cannot be opened.
    """
    listener = bind(settings.host, settings.port)
    _share_arenas()
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # sizes are checked here, by --max-megapixels
    try:
        library = Library(folder)
        address = _address(settings.host, listener.getsockname()[1])
        try:
            service = Service(library, settings, address)
        except BaseException:
            library.close()
            raise
        config = uvicorn.Config(
            create_app(service),
            http=PatientProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE,
            h11_max_incomplete_event_size=_BUFFERED,
        )
        server = Server(config, service, lambda: ready(address, service))
        try:
            server.run(sockets=[listener])
        finally:
            service.close()
        return server.signal
    finally:
        listener.close()


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens at a port.

    Raises:
        InputError: It is taken or not allowed, or the address is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host}: no such address", "give an address such as 127.0.0.1") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} of {host}: another program listens there", "stop it, or choose another with --port"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise InputError(f"port {port}: not allowed", "choose one from 1024 on with --port") from error
        raise InputError(
            f"--host {host}: cannot listen there ({(error.strerror or str(error)).lower()})",
            "give an address of this machine, such as 127.0.0.1",
        ) from error
    return listener


def _share_arenas() -> None:
    """Limit the memory arenas of the C library, since one arena a thread never releases the memory of a search.

    Measured by benchmarks/serve_load.py: otherwise memory grows by some megabytes a minute under load.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_ARENAS_AT_MOST, 2)


def _address(host: str, port: int) -> str:
    """Return the server's URL for a browser on this machine."""
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    shown = f"[{host}]" if ":" in host and is_address(host) else host
    return f"http://{shown}:{port}"
