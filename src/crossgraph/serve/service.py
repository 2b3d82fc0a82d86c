"""The library that is served, with the searcher, threads and caches that all requests share."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Callable
from typing import Annotated, Any

import torch
from fastapi import Depends, Request

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.library.library import Library
from crossgraph.search.engine import Searcher
from crossgraph.search.query import Query
from crossgraph.serve.announcement import announce, withdraw
from crossgraph.serve.jobs import Jobs
from crossgraph.serve.metrics import Metrics
from crossgraph.serve.paging import Pages
from crossgraph.serve.problems import Problem, input_errors_as_problems
from crossgraph.serve.settings import ServeSettings
from crossgraph.serve.uploads import Uploads, read_upload
from crossgraph.serve.work import Workers
from crossgraph.vision.pictures import heif_is_read
from crossgraph.vision.region_encoder import RegionEncoder, load_region_encoder

_LOG = logging.getLogger("crossgraph.serve")
_SMALL_THREADS, _SMALL_WAITING = 4, 256


class Service:
    """A library, its searcher, and the threads that work for requests.

    Args:
        library: Open; the service closes it.
        settings: Limits and addresses.
        address: The server's URL, for other commands; empty announces none.

    Raises:
        InputError: The library's model or store cannot be opened.
    """

    def __init__(self, library: Library, settings: ServeSettings, address: str = "") -> None:
        self.library, self.settings, self.address = library, settings, address
        self.instance, self.owner_token = secrets.token_hex(8), secrets.token_urlsafe(32)
        self.ending = False
        self.searcher = Searcher(library)
        self.metrics, self.uploads, self.pages = Metrics(), Uploads(), Pages()
        self._opening, self._loading = threading.Lock(), threading.Lock()
        self._encoder: RegionEncoder | None = None
        self._announced = False
        threads = max(1, (os.cpu_count() or 1) // settings.workers)
        self.heavy = Workers(
            settings.workers, settings.queue, settings.timeout, "search", lambda: torch.set_num_threads(threads)
        )
        self.light = Workers(_SMALL_THREADS, _SMALL_WAITING, settings.timeout, "picture")
        self.jobs = Jobs(library, self.region_encoder, self._changed, self.metrics)
        heif_is_read()
        if library.has_model:
            _ = library.bundle
        self.open_store()
        self.metrics.pictures.set(library.count())

    def open_store(self) -> bool:
        """Open the store of a library that is not empty, and note the server's address in its lock file.

        Returns:
            Whether there are pictures to search.

        Raises:
            InputError: The store is another process's, or down.
        """
        if not (self.library.has_model and self.library.manifest.meta("layout")):
            return False
        with self._opening:
            store = self.library.store
            announce_owner: Callable[[str], None] | None = getattr(store, "announce", None)
            if announce_owner is not None and self.address and not self._announced:
                announce_owner(self.address)
                self._announced = True
        return True

    def announce(self) -> None:
        """Write the note by which this user's other commands find the server."""
        if self.address:
            announce(self.library.folder, self.address, self.instance, self.owner_token)

    def warm_up(self) -> None:
        """Search once in the background, since the first search of a process is slow."""

        def search() -> None:
            with contextlib.suppress(InputError):
                if self.open_store():
                    word = self.library.bundle.reranker.vocabulary.words[-1]
                    self.searcher.search(Query(text=word))

        self.heavy.begin(search)

    def region_encoder(self) -> RegionEncoder:
        """Return the region encoder, loaded at the first call.

        Raises:
            InputError: Its package is missing, or the model's features are made by no encoder here.
        """
        with self._loading:
            if self._encoder is None:
                self._encoder = load_region_encoder(self.library.bundle.region_encoder)
            return self._encoder

    def regions(self, data: bytes) -> Regions:
        """Return the regions of an uploaded picture.

        Raises:
            Problem: It is no picture, too large, or nothing here can read it for this model.
        """
        if not self.library.has_model:
            raise Problem(409, "the library is empty", FILL, "empty")
        with input_errors_as_problems(503):
            encoder = self.region_encoder()
        return read_upload(data, encoder, self.settings.max_megapixels)

    def _changed(self) -> None:
        self.pages.clear()
        try:
            self.open_store()
            self.metrics.pictures.set(self.library.count())
        except InputError as error:
            _LOG.warning("%s", error)

    def state(self) -> dict[str, Any]:
        """Return the state of the library as plain values."""
        library, manifest = self.library, self.library.manifest
        bundle = library.bundle if library.has_model else None
        record = library.layout if manifest.meta("layout") else None
        pictures, running, last = library.count(), self.jobs.running, self.jobs.last
        return {
            "folder": str(library.folder),
            "pictures": pictures,
            "files": manifest.connection.execute("SELECT count(*) FROM files").fetchone()[0],
            "broken": manifest.count("broken"),
            "roots": [str(root) for root in manifest.roots().values()],
            "model": library.model_name if bundle else None,
            "region_encoder": bundle.region_encoder if bundle else None,
            "index": bundle.index_by if bundle else None,
            "calibrated": bool(bundle and bundle.calibration),
            "store": library.engine,
            "codes": record.kind if record else None,
            "bytes_per_picture": record.dtype.itemsize if record else 0,
            "indexed": manifest.meta("indexed") or None,
            "indexing": running.progress() if running else None,
            "last_job": last.id if last else None,
            "hint": None if pictures else FILL,
        }

    def close(self) -> None:
        """Finish the running requests, stop a job, and close the library."""
        self.ending = True
        withdraw(self.library.folder, self.instance)
        self.heavy.close()
        self.light.close()
        self.jobs.close()
        self.library.close()


async def _current_service(request: Request) -> Service:
    return request.app.state.service


CurrentService = Annotated[Service, Depends(_current_service)]
"""The application's service, as a parameter of a route."""
FILL = "fill it with: crossgraph index PICTURES"
