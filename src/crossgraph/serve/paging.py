"""Pages of one search that fit together: what was shown stays where it was, deeper hits follow."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from crossgraph.search.query import MOST_HITS
from crossgraph.search.results import Hit, Results

_KEPT, _SECONDS = 128, 300.0


@dataclass(frozen=True)
class Depth:
    """How deep a search went.

    Attributes:
        results: With every hit of that depth, in the order in which they are shown.
        whole: Whether a deeper search would find nothing more.
        at: When it was kept.
    """

    results: Results
    whole: bool
    at: float


class Pages:
    """Searches that are gone through page by page."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: OrderedDict[Hashable, Depth] = OrderedDict()

    def clear(self) -> None:
        """Forget everything: the library holds something else now."""
        with self._guard:
            self._kept.clear()

    def find(self, key: Hashable, offset: int, depth: int, search: Callable[[int], tuple[Results, bool]]) -> Depth:
        """Return a search at least so deep.

        Args:
            key: Tells searches apart.
            offset: Where the page begins; a first page is always asked anew.
            depth: Hits wanted.
            search: Searches so deep; returns the results and whether these are all.
        """
        known = self._get(key) if offset else None
        if known is not None and (known.whole or len(known.results.hits) >= depth):
            return known
        results, whole = search(min(depth, MOST_HITS))
        if known is not None:
            results = replace(results, hits=_follow(known.results.hits, results.hits))
        found = Depth(results, whole, time.monotonic())
        with self._guard:
            self._kept[key] = found
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def _get(self, key: Hashable) -> Depth | None:
        with self._guard:
            found = self._kept.get(key)
        return found if found is not None and time.monotonic() - found.at < _SECONDS else None


def _follow(shown: list[Hit], found: list[Hit]) -> list[Hit]:
    """Return the hits that were shown, and behind them those that were not."""
    known = {hit.id for hit in shown}
    return [*shown, *(hit for hit in found if hit.id not in known)]
