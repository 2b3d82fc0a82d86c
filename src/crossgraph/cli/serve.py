"""`crossgraph serve`: serves a library over HTTP, with the search page."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from crossgraph.core.errors import InputError

if TYPE_CHECKING:
    from crossgraph.serve.service import Service

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def serve(
    *,
    library: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    name: list[str] | None = None,
    timeout: float = 30.0,
    max_upload: float = 20.0,
    max_megapixels: float = 80.0,
    workers: int = 2,
    queue: int = 32,
) -> None:
    """Serve a picture library: the search page, and the same as an HTTP API.

    The page is at the address that is printed, the API's description at /api/docs. Ctrl-C lets requests that are
    under way finish and closes the library.

    Args:
        library: Its folder; $CROSSGRAPH_LIBRARY, or one in your home folder.
        host: Address to listen at; any but this machine's own needs a token, which is made where none is given.
        port: Port to listen at; 0 takes a free one.
        token: What requests must bring; better by $CROSSGRAPH_TOKEN, which other users of the machine do not see.
        name: Further names that this machine is called by, for instance behind a proxy.
        timeout: Seconds a request may take.
        max_upload: Largest upload, in megabytes.
        max_megapixels: Largest picture that is decoded for a request.
        workers: Searches at a time.
        queue: Requests that may wait; more are refused for the moment.
    """
    from crossgraph.library.library import default_library

    try:
        from crossgraph.serve.run import serve as run
        from crossgraph.serve.settings import ServeSettings, is_loopback, token_from_environment
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("crossgraph"):
            raise
        raise InputError(f"serve needs the package {error.name}", "pip install 'crossgraph[serve]'") from error
    if token is not None and not token.strip():
        raise InputError("--token: is empty", "give one, or leave it out")
    given = token or token_from_environment()
    made = "" if given or is_loopback(host) else secrets.token_urlsafe(24)
    settings = ServeSettings(
        host=host,
        port=port,
        token=given or made,
        names=tuple(name or ()),
        timeout=timeout,
        max_upload=max_upload,
        max_megapixels=max_megapixels,
        workers=workers,
        queue=queue,
    )
    if given and len(given) < 16:
        print(
            "crossgraph serve: warning: a token this short can be guessed; give 16 characters or more", file=sys.stderr
        )
    stopped = run(library or default_library(), settings, _print_address)
    if stopped == signal.SIGINT:
        raise KeyboardInterrupt("requests were finished and the library is closed")


def _print_address(address: str, service: Service) -> None:
    """Print the page's address; the token is shown this once."""
    token = service.settings.token
    pictures = service.library.count()
    held = f"{pictures:,} pictures" if pictures else "an empty library (fill it with: crossgraph index PICTURES)"
    print(f"crossgraph serve: {held} at {address}/{f'?token={token}' if token else ''}  (Ctrl-C ends it)", flush=True)
