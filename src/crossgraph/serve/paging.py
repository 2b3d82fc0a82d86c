"""Cache searches, so that pages fit together: shown hits keep their positions, deeper ones follow."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from crossgraph.search.query import MOST_HITS
from crossgraph.search.results import Hit, Results

_MOST, _SECONDS = 128, 300.0


@dataclass(frozen=True)
class CachedSearch:
    """Results of a search to some depth.

    Attributes:
        results: With every hit of that depth, in the order in which they are shown.
        whole: Whether a deeper search would find nothing more.
        stored: When it was stored, by the monotonic clock.
    """

    results: Results
    whole: bool
    stored: float


class Pages:
    """Recent searches, by key."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._searches: OrderedDict[Hashable, CachedSearch] = OrderedDict()

    def clear(self) -> None:
        """Drop all searches, since the library has changed."""
        with self._guard:
            self._searches.clear()

    def find(
        self, key: Hashable, offset: int, depth: int, search: Callable[[int], tuple[Results, bool]]
    ) -> CachedSearch:
        """Return a search of at least some depth, cached or made.

        Args:
            key: Equal for equal searches.
            offset: Where the page begins; a first page is always searched again.
            depth: Hits wanted.
            search: Takes the depth; returns the results and whether these are all.
        """
        known = self._get(key) if offset else None
        if known is not None and (known.whole or len(known.results.hits) >= depth):
            return known
        results, whole = search(min(depth, MOST_HITS))
        if known is not None:
            results = replace(results, hits=_follow(known.results.hits, results.hits))
        found = CachedSearch(results, whole, time.monotonic())
        with self._guard:
            self._searches[key] = found
            self._searches.move_to_end(key)
            while len(self._searches) > _MOST:
                self._searches.popitem(last=False)
        return found

    def _get(self, key: Hashable) -> CachedSearch | None:
        with self._guard:
            found = self._searches.get(key)
        return found if found is not None and time.monotonic() - found.stored < _SECONDS else None


def _follow(shown: list[Hit], found: list[Hit]) -> list[Hit]:
    """Return the hits that were shown, and behind them those that were not."""
    known = {hit.id for hit in shown}
    return [*shown, *(hit for hit in found if hit.id not in known)]
