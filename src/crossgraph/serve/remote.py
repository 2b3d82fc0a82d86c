"""Search by the server that has the library open, with the methods of `search.Searcher`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.pipeline.alignment import AlignedToken, Alignment
from crossgraph.search.query import Query
from crossgraph.search.results import Hit, Results, Timings
from crossgraph.serve.client import Running, ask, follow, send, send_json
from crossgraph.store.filter_tree import write_filter

_AT_ONCE = 100  # pictures explained by one request
_HIT = ("id", "path", "score", "probability", "copies", "width", "height", "date")


class RemoteSearcher:
    """A searcher by HTTP.

    Args:
        running: What `client.find_server` found.
    """

    def __init__(self, running: Running) -> None:
        self._running = running

    def search(self, query: Query) -> Results:
        """Find pictures; a picture in the query must be a path.

        Raises:
            InputError: The server refuses, the model knows no word of the text, or nobody answers any more.
        """
        values: dict[str, object] = {
            "q": query.text,
            "minus": query.minus,
            "where": write_filter(query.where) if query.where is not None else None,
            "like": query.like,
            "unlike": query.unlike,
            "picture_weight": query.picture_weight,
            "k": query.k,
            "min_probability": query.min_probability,
            "recall": query.recall,
            "join_words": query.join_words,
        }
        if query.picture is None:
            found = self._ask("/api/search", values)
        else:
            found = self._send("/api/search", values, _path(query.picture))
        words = [token for token in found["tokens"] if not token["special"]]
        if query.has_text and not found["hits"] and not any(token["known"] for token in words):
            raise InputError((found["message"] or "no word is known").rstrip("."), "try other words")
        return Results(
            hits=[Hit(**{name: hit[name] for name in _HIT}) for hit in found["hits"]],
            tokens=_tokens(found),
            unknown=tuple(found["unknown"]),
            timings=Timings(**found["timings"]),
            short_list=found["short_list"],
            wanted=found["wanted"],
            pictures=found["pictures"],
            matching=found["total"],
            any_good=found["any_good"],
            notes=(found["message"],) if found["message"] else (),
        )

    def explain_many(self, ids: Sequence[int], text: str) -> list[Alignment]:
        """Look inside pairs of pictures of the library and a sentence, in the order given.

        Raises:
            InputError: A picture has gone, the model knows no word, or the server refuses.
        """
        state = self._ask("/api/library", {})
        paths: dict[int, Alignment] = {}
        for start in range(0, len(ids), _AT_ONCE):
            some = ",".join(map(str, ids[start : start + _AT_ONCE]))
            found = self._ask("/api/explain", {"ids": some, "q": text})
            paths |= {one["id"]: _alignment(one, found, text, str(state["model"])) for one in found["pictures"]}
            if not found["pictures"]:
                raise InputError((found["message"] or "nothing can be explained").rstrip("."), "try other words")
        missing = [number for number in ids if number not in paths]
        if missing:
            raise InputError(f"picture {missing[0]}: is not in the library", "search again")
        return [paths[number] for number in ids]

    def captions_for(
        self, picture: Path | int, captions: Sequence[str] | None = None, k: int = 20
    ) -> list[tuple[str, float, float | None]]:
        """Rank sentences for a picture: (sentence, score, probability), the best first.

        Raises:
            InputError: There is no sentence that the model knows a word of, or the server refuses.
        """
        values = {"captions": captions, "k": k, "id": picture if isinstance(picture, int) else None}
        found = self._send("/api/captions", values, None if isinstance(picture, int) else picture)
        if not found["captions"]:
            raise InputError((found["message"] or "no sentence to choose from").rstrip("."), "give some")
        return [(one["text"], one["score"], one["probability"]) for one in found["captions"]]

    def index(self, roots: Sequence[Path], report: Callable[[str, int, int], None]) -> dict[str, Any]:
        """Index some folders by the server, or all that the library knows; return the outcome.

        Raises:
            InputError: The server refuses, or the job fails.
        """
        named = [str(root.resolve()) for root in roots]
        body = {"roots": named} if named else {}
        job = send_json(self._running.address, "/api/index", body, self._running.token)
        for progress in follow(self._running.address, job["id"], self._running.token):
            job = progress
            report(job["what"], job["done"], job["total"])
        if job["state"] != "done":
            raise InputError(job["problem"] or "the server ended before all was indexed", "run the same command again")
        return job["outcome"]

    def _ask(self, path: str, values: dict[str, object]) -> Any:
        return ask(self._running.address, path, values, self._running.token)

    def _send(self, path: str, values: dict[str, object], picture: Path | None) -> Any:
        return send(self._running.address, path, values, picture, self._running.token)


def _path(picture: object) -> Path:
    if not isinstance(picture, str | Path):
        raise InputError("a server is sent picture files only", "give a path")
    return Path(picture)


def _tokens(found: dict[str, Any]) -> tuple[AlignedToken, ...]:
    return tuple(AlignedToken(**token) for token in found["tokens"])


def _alignment(one: dict[str, Any], found: dict[str, Any], text: str, run: str) -> Alignment:
    return Alignment(
        sentence=text,
        tokens=_tokens(found),
        weights=np.array(one["weights"], dtype=np.float32),
        significance=np.array(one["significance"], dtype=np.float32),
        global_significance=one["global"],
        score=one["score"],
        boxes=None if one["boxes"] is None else np.array(one["boxes"], dtype=np.float32),
        picture=Path(one["path"]) if one.get("path") else None,
        unknown=tuple(found["unknown"]),
        model=found["model"],
        run=run,
    )
