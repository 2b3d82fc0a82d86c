"""Store on a Qdrant server or cluster, over HTTP: for libraries that several machines search.

The server builds its own index while it serves. `$QDRANT_API_KEY` is sent as the key where it is set.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import numpy as np
from jaxtyping import Float32

from crossgraph.core.errors import InputError
from crossgraph.files import read_json, write_json
from crossgraph.progress import ProgressCallback
from crossgraph.store.base import Neighbour, Point, unit, unit_rows
from crossgraph.store.conditions import INDICES, comparisons, native, restored, stored
from crossgraph.store.filter_tree import And, Filter, all_of, holds

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.conversions.common_types import PointId
    from qdrant_client.http import models
    from qdrant_client.http.models import Filter as ServerFilter
    from qdrant_client.http.models import Record, ScoredPoint

KEY = "QDRANT_API_KEY"
_BATCH = 256  # points a request
_PAGE = 1000  # ids a request
_TIMEOUT = 10  # seconds
_WAITS = (0.2, 0.8)  # seconds before the second and the third try
_SUBSTRINGS = (1, 20)  # the first version that looks for a part of a text
_PREFIXES = (1, 19)

_STRANGE = ("does not answer as Qdrant does", "check host and port")

Answer = TypeVar("Answer")


class QdrantStore:
    """A collection on a server. Several processes may have it open.

    Args:
        client: The connection; see `connect`.
        size: Values in an index vector.
        collection: The collection's name; it is made when missing.
        server: Address of the server, for messages.

    Raises:
        InputError: The server is down or refuses, or the collection is not one of ours.
    """

    def __init__(self, client: QdrantClient, size: int, collection: str = "crossgraph", server: str = "qdrant") -> None:
        self._client = client
        self._size = size
        self._collection = collection
        self._server = server
        self._version = _version(self._request(client.info).version)
        if not self._request(lambda: client.collection_exists(collection)):
            self._create()
        self._check()

    def _create(self) -> None:
        from qdrant_client.http import models

        vectors = models.VectorParams(size=self._size, distance=models.Distance.COSINE)
        self._request(lambda: self._client.create_collection(self._collection, vectors), unless=409)
        for field, kind in INDICES.items():
            schema: models.PayloadSchemaType | models.KeywordIndexParams = models.PayloadSchemaType(kind)
            if kind == "keyword" and self._version >= _PREFIXES:
                schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, prefix=True)
            self._request(partial(self._client.create_payload_index, self._collection, field, schema, wait=True))

    def _check(self) -> None:
        from qdrant_client.http import models

        vectors = self._request(lambda: self._client.get_collection(self._collection)).config.params.vectors
        named = f"{self._server}: the collection '{self._collection}'"
        if not isinstance(vectors, models.VectorParams) or vectors.distance != models.Distance.COSINE:
            raise InputError(f"{named} is not one of crossgraph's", f"name another: {self._server}#NAME")
        if vectors.size != self._size:
            held = f"holds index vectors of {vectors.size} values, {self._size} are asked for"
            raise InputError(f"{named} {held}", f"use the model that filled it, or another: {self._server}#NAME")

    @property
    def size(self) -> int:
        """The number of values in an index vector."""
        return self._size

    @property
    def collection(self) -> str:
        """The collection's name."""
        return self._collection

    def upsert(self, points: Sequence[Point]) -> None:
        """Add pictures, or replace those with the same id; see `crossgraph.store.base.Store`."""
        from qdrant_client.http import models

        vectors = unit_rows(points, self._size)
        for start in range(0, len(points), _BATCH):
            rows = zip(points[start : start + _BATCH], vectors[start : start + _BATCH], strict=True)
            sent = [models.PointStruct(id=int(p.id), vector=row.tolist(), payload=stored(p.payload)) for p, row in rows]
            self._request(partial(self._client.upsert, self._collection, sent, wait=True))

    def delete(self, ids: Sequence[int]) -> None:
        """Remove pictures; see `crossgraph.store.base.Store`."""
        from qdrant_client.http import models

        for start in range(0, len(ids), _PAGE):
            sent = models.PointIdsList(points=[int(id) for id in ids[start : start + _PAGE]])
            self._request(partial(self._client.delete, self._collection, sent, wait=True))

    def search(
        self, vector: Float32[np.ndarray, " dim"], limit: int, where: Filter | None = None, exact: bool = False
    ) -> list[Neighbour]:
        """Find the pictures with the largest cosine; see `crossgraph.store.base.Store`.

        A server before 1.20 knows no `~`: what it finds by the rest of the filter is then checked here, page by page.
        """
        if limit < 1:
            return []
        query = unit(vector, self._size).tolist()
        sent, left = self._split(where)
        found: list[Neighbour] = []
        offset, page = 0, limit if left is None else max(4 * limit, _BATCH)
        while True:
            some = self._nearest(query, page, offset, sent, exact, left is not None)
            fit = [point for point in some if left is None or holds(left, restored(point.payload or {}))]
            found += [Neighbour(int(point.id), float(point.score)) for point in fit]
            if left is None or len(found) >= limit or len(some) < page:
                return sorted(found, key=lambda one: (-one.score, one.id))[:limit]
            offset, page = offset + page, 2 * page

    def _nearest(
        self, query: list[float], page: int, offset: int, sent: ServerFilter | None, exact: bool, payload: bool
    ) -> list[ScoredPoint]:
        from qdrant_client.http import models

        parameters = models.SearchParams(exact=exact, hnsw_ef=max(256, 2 * (page + offset)))
        return self._request(
            lambda: self._client.query_points(
                self._collection,
                query=query,
                limit=page,
                offset=offset,
                query_filter=sent,
                search_params=parameters,
                with_payload=payload,
            )
        ).points

    def count(self, where: Filter | None = None) -> int:
        """Return how many pictures fulfil a filter."""
        sent, left = self._split(where)
        if left is None:
            return self._request(lambda: self._client.count(self._collection, count_filter=sent, exact=True)).count
        return sum(holds(left, restored(record.payload or {})) for record in self._records(sent, True))

    def ids(self) -> Iterator[int]:
        """Go through all ids, smallest first."""
        return (int(record.id) for record in self._records(None, False))

    def _records(self, sent: ServerFilter | None, payload: bool) -> Iterator[Record]:
        following: PointId | None = 0
        while following is not None:
            scroll = partial(self._client.scroll, self._collection, sent, _PAGE, with_payload=payload)
            records, following = self._request(partial(scroll, offset=following))
            yield from records

    def _split(self, where: Filter | None) -> tuple[ServerFilter | None, Filter | None]:
        """Return the filter for the server, and the one to check here where the server's is weaker."""
        from qdrant_client.http import models

        left: Filter | None = None
        if where is not None and self._version < _SUBSTRINGS and _has_substring_search(where):
            parts = where.parts if isinstance(where, And) else ()
            where, left = all_of([part for part in parts if not _has_substring_search(part)]), where
        return None if where is None else models.Filter.model_validate(native(where)), left

    def flush(self) -> None:
        """Do nothing: the server answers a write once it is stored."""

    def optimise(self, report: ProgressCallback | None = None) -> None:
        """Do nothing: the server builds its index itself."""

    def close(self) -> None:
        """Close the connection; twice is once."""
        self._client.close()

    def drop(self) -> None:
        """Delete the collection from the server, and close."""
        self._request(lambda: self._client.delete_collection(self._collection))
        self.close()

    def _request(self, request: Callable[[], Answer], unless: int | None = None) -> Answer:
        return _with_retries(self._server, request, unless)


def connect(url: str, size: int, folder: Path | None = None, timeout: int = _TIMEOUT) -> QdrantStore:
    """Open a collection on a server.

    Args:
        url: `http://host:6333`, or with a collection's name behind #.
        size: Values in an index vector.
        folder: Where the collection's name is kept that is made up where the URL has none, so that two libraries
            do not share one; None takes "crossgraph".
        timeout: Seconds to wait for an answer.

    Returns:
        The open store.

    Raises:
        InputError: The URL is none, the client is not installed, or the server is down or refuses.
    """
    client, server, named = _client(url, timeout)
    try:
        return QdrantStore(client, size, named or _collection(folder), server)
    except BaseException:
        client.close()
        raise


def check_server(url: str, timeout: int = _TIMEOUT) -> None:
    """Check that a server answers; nothing is written there.

    Args:
        url: As `connect` takes it.
        timeout: Seconds to wait for an answer.

    Raises:
        InputError: As by `connect`.
    """
    client, server, _ = _client(url, timeout)
    try:
        _with_retries(server, client.info)
    finally:
        client.close()


def _client(url: str, timeout: int) -> tuple[QdrantClient, str, str]:
    """Return an unused connection, the server's address for messages, and the collection in the URL."""
    try:
        parts = urlsplit(url)
        host, port, named = parts.hostname, parts.port, parts.fragment
    except ValueError as error:
        raise InputError(f"--store {url}: no URL ({error})", "write it like http://localhost:6333") from error
    if parts.scheme not in ("http", "https") or not host or parts.query:
        raise InputError(f"--store {url}: no URL of a server", "write it like http://localhost:6333")
    if parts.username or parts.password:
        raise InputError(f"--store {host}: a key does not belong into the URL", f"set ${KEY}")
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise InputError("the engine 'qdrant' is not installed", "pip install 'crossgraph[qdrant]'") from error
    server = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port or 6333}{parts.path.rstrip('/')}"
    key = os.environ.get(KEY, "").strip() or None
    client = QdrantClient(url=server, api_key=key, timeout=timeout, check_compatibility=False)
    return client, server, named


def _with_retries(server: str, request: Callable[[], Answer], unless: int | None = None) -> Answer:
    """Return the result of a request, tried up to three times where the failure may be temporary.

    Args:
        server: Address of the server, for messages.
        request: The call.
        unless: HTTP status that counts as success, because another process did the same first.
    """
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    for wait in (*_WAITS, None):
        try:
            return request()
        except (ResponseHandlingException, UnexpectedResponse, ResourceExhaustedResponse) as error:
            if unless is not None and getattr(error, "status_code", None) == unless:
                return True  # pyright: ignore[reportReturnType]
            problem, remedy, is_temporary = _explained(error)
            if wait is None or not is_temporary:
                raise InputError(f"{server}: {problem}", remedy) from error
            time.sleep(wait)
        except (ValueError, AssertionError) as error:  # no JSON, or not the one that was expected
            raise InputError(f"{server}: {_STRANGE[0]}", _STRANGE[1]) from error
    raise AssertionError("unreachable")


def _collection(folder: Path | None) -> str:
    if folder is None:
        return "crossgraph"
    path = folder / "qdrant.json"
    if not path.exists():
        write_json(path, {"collection": f"crossgraph-{uuid.uuid4().hex[:12]}"})
    return str(read_json(path)["collection"])


def _version(text: str) -> tuple[int, ...]:
    numbers = text.split("-", maxsplit=1)[0].split(".")[:2]
    return tuple(int(number) for number in numbers) if all(number.isdigit() for number in numbers) else (0,)


def _has_substring_search(filter: Filter) -> bool:
    return any(comparison.op == "~" for comparison in comparisons(filter))


def _explained(error: Exception) -> tuple[str, str, bool]:
    """Return problem, remedy, and whether the failure may be temporary."""
    import httpx
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    start = "start Qdrant there, or name another store"
    if isinstance(error, ResponseHandlingException):
        source = error.source
        if isinstance(source, httpx.TimeoutException):
            return "did not answer in time", f"{start}, or try again", True
        if isinstance(source, httpx.TransportError):
            return f"cannot be reached ({str(source).split('] ')[-1].lower() or type(source).__name__})", start, True
        return *_STRANGE, False
    if not isinstance(error, UnexpectedResponse):
        return "has too much to do", "try again later", True
    code = error.status_code or 0
    if code in (401, 403):
        return f"refuses access ({code})", f"set ${KEY} to a key that it takes", False
    if code == 429 or code >= 500:
        return f"fails ({code} {error.reason_phrase})", "look at its log, or try again", True
    said = " ".join(error.content.decode("utf-8", "replace").split())[:200]
    return f"refuses the request ({code}: {said})", "check host, port and collection", False
