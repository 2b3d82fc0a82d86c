"""Searches and explanations as the server answers them: unknown words are told, missing pictures left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.pipeline.alignment import AlignedToken, Alignment, shortened, tokens_of
from crossgraph.search.query import MOST_HITS
from crossgraph.search.results import Hit, Results
from crossgraph.search.words import is_known
from crossgraph.serve.asking import Wish
from crossgraph.serve.problems import Problem, problem_of
from crossgraph.serve.service import FILL, Service
from crossgraph.store.filter_tree import write_filter
from crossgraph.vision.boxes import find_grids

_SPARE = 1.5  # the searcher looks at so many more neighbours than hits, since near-duplicates become one
_WHY = ("significance", "global_", "grids", "boxes", "weights")
_NOTHING = {"encode": 0.0, "nearest": 0.0, "rerank": 0.0, "total": 0.0}


def answer(service: Service, wish: Wish, picture: Regions | None = None, name: str | None = None) -> dict[str, Any]:
    """Search, and return what the server answers.

    Args:
        service: Whose library.
        wish: What is asked.
        picture: An uploaded one.
        name: What the upload is called in later requests.

    Raises:
        Problem: Nothing is asked, a picture named by `like` is not there, probabilities are not calibrated, or
            the store does not answer.
    """
    empty = {
        "hits": [],
        "any_good": False,
        "total": 0,
        "short_list": 0,
        "wanted": 0,
        "timings": _NOTHING,
        "picture": name,
    }
    wish.check_asks(picture is not None)
    pictures = service.library.count() if _is_open(service) else 0
    if not pictures:
        return empty | {"tokens": [], "unknown": [], "pictures": 0, "message": f"The library is empty: {FILL}"}
    _check(service, wish)
    tokens, unknown, notes = _known(service, wish)
    if not (wish.text or picture is not None or wish.like):
        return empty | {"tokens": tokens, "unknown": unknown, "pictures": pictures, "message": " ".join(notes)}
    given = wish.given
    key = _key(wish, name, pictures)
    depth = service.pages.find(
        key, given.offset, given.offset + given.k, lambda deep: _deep(service, wish, picture, deep)
    )
    results = depth.results
    page = results.hits[given.offset : given.offset + given.k]
    hits = _shown(service, page)
    if given.explain and wish.text and hits:
        for hit, found in zip(hits, _explained(service, [hit["id"] for hit in hits], wish.text), strict=True):
            hit.update({part: value for part, value in (found or {}).items() if part in _WHY})
    if not hits and not given.offset:
        notes.append("No picture fulfils the filter." if wish.where is not None else "No picture is likely enough.")
    return {
        "hits": hits,
        "tokens": [_token(token) for token in results.tokens] or tokens,
        "unknown": list(dict.fromkeys([*unknown, *results.unknown])),
        "any_good": results.any_good and bool(results.hits),
        "total": len(results.hits) if depth.whole else _bound(service, wish, results),
        "cut": not given.min_probability
        and results.pictures > MOST_HITS
        and _matching(service, wish, results) > MOST_HITS,
        "pictures": results.pictures,
        "short_list": results.short_list,
        "wanted": results.wanted,
        "timings": vars(results.timings),
        "picture": name,
        "message": " ".join([*notes, *results.notes]) or None,
    }


def explanation(service: Service, ids: Sequence[int], text: str) -> dict[str, Any]:
    """Explain pictures, and return what the server answers.

    Raises:
        Problem: None of the pictures is there.
    """
    if not _is_open(service):
        raise Problem(404, "the library is empty", FILL, "empty")
    wish = Wish(q=text)
    present = service.library.manifest.places(ids)
    there = [number for number in dict.fromkeys(ids) if number in present]
    missing = [number for number in dict.fromkeys(ids) if number not in present]
    if not there:
        raise Problem(404, f"picture {missing[0]} is not in the library", "search again", "picture")
    tokens, unknown, notes = _known(service, wish)
    found = _explained(service, there, wish.text) if wish.text else []
    return {
        "tokens": tokens,
        "unknown": unknown,
        "pictures": [one for one in found if one is not None],
        "model": service.searcher.bundle.reranker.info.model,
        "missing": missing,
        "message": " ".join(notes) or None,
    }


def thumbnail_of(number: int, sha256: str) -> str:
    """Return where a picture's thumbnail is; the address changes with the content, so it may be kept for ever."""
    return f"/api/pictures/{number}/thumbnail?v={sha256[:16]}"


def _shown(service: Service, page: Sequence[Hit]) -> list[dict[str, Any]]:
    """Return hits as plain values, without those that were removed meanwhile."""
    pictures = service.library.manifest.get([hit.id for hit in page])
    return [
        vars(hit) | {"name": Path(hit.path).name, "thumbnail": thumbnail_of(hit.id, pictures[hit.id].sha256)}
        for hit in page
        if hit.id in pictures
    ]


def _is_open(service: Service) -> bool:
    try:
        return service.open_store()
    except InputError as error:
        raise problem_of(error, 503) from error


def _check(service: Service, wish: Wish) -> None:
    named = [*wish.like, *wish.unlike]
    if named:
        present = service.library.manifest.places(named)
        absent = [number for number in named if number not in present]
        if absent:
            raise Problem(404, f"picture {absent[0]} is not in the library", "leave it out, or search again", "picture")
    if wish.given.min_probability and service.searcher.bundle.calibration is None:
        raise Problem(
            409,
            "the model's scores are not calibrated, so a least probability means nothing",
            "leave min_probability out, or index with a model made by 'crossgraph bundle'",
            "not-calibrated",
        )


def _known(service: Service, wish: Wish) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Take out what the model knows no word of; return how it reads the words, unknown ones, and what to say."""
    tokens: list[dict[str, Any]] = []
    unknown: list[str] = []
    notes: list[str] = []
    if wish.text:
        tokens = [_token(token) for token in _read(service, wish.text)]
        unknown += [token["text"] for token in tokens if not token["known"]]
        if not is_known(service.searcher.bundle, wish.text):
            notes.append(f"The model knows no word of {shortened(wish.text)}.")
            wish.text = ""
    kept = tuple(term for term in wish.minus if is_known(service.searcher.bundle, term))
    for term in wish.minus:
        if term not in kept:
            unknown += [token.text for token in _read(service, term) if not token.known]
            notes.append(f"The model knows no word of {shortened(term)}, so it was not taken out.")
    wish.minus = kept
    return tokens, list(dict.fromkeys(unknown)), notes


def _read(service: Service, text: str) -> tuple[AlignedToken, ...]:
    vocabulary = service.searcher.bundle.reranker.vocabulary
    return tokens_of(vocabulary, text, vocabulary.encode(text))


def _deep(service: Service, wish: Wish, picture: Regions | None, depth: int) -> tuple[Results, bool]:
    """Search until there are so many hits or no more; return every hit found, and whether these are all."""
    while True:
        try:
            results = service.searcher.search(wish.query(picture, depth))
        except InputError as error:
            raise problem_of(error, 503) from error
        service.metrics.searched(results.timings)
        looked_at = max(results.short_list, round(depth * _SPARE))
        whole = looked_at >= results.pictures or depth >= MOST_HITS or bool(wish.given.min_probability)
        if whole or results.matching >= depth:
            return results, whole and results.matching <= depth
        depth = min(MOST_HITS, 2 * depth)


def _bound(service: Service, wish: Wish, results: Results) -> int:
    """Return how many hits there may be in all."""
    return max(len(results.hits), min(MOST_HITS, _matching(service, wish, results)))


def _matching(service: Service, wish: Wish, results: Results) -> int:
    """Return how many pictures fulfil the filter."""
    return results.pictures if wish.where is None else service.library.store.count(wish.where)


def _key(wish: Wish, name: str | None, pictures: int) -> tuple[Any, ...]:
    given = wish.given
    where = "" if wish.where is None else write_filter(wish.where)
    numbers = (given.picture_weight, given.min_probability, given.recall, given.join_words)
    return (wish.text, wish.minus, where, wish.like, wish.unlike, name, pictures, *numbers)


def _explained(service: Service, ids: Sequence[int], text: str) -> list[dict[str, Any] | None]:
    """Explain pictures one by one: one that vanished meanwhile is None."""
    found: list[dict[str, Any] | None] = []
    try:
        alignments: list[Alignment | None] = list(service.searcher.explain_many(ids, text))
    except (InputError, KeyError):
        alignments = []
        for number in ids:
            try:
                alignments.append(service.searcher.explain(number, text))
            except (InputError, KeyError):
                alignments.append(None)
    scores = np.array([0.0 if one is None else one.score for one in alignments], dtype=np.float32)
    probability = service.searcher.bundle.probability(scores)
    for row, (number, one) in enumerate(zip(ids, alignments, strict=True)):
        shown = None if probability is None else float(probability[row])
        if one is None:
            found.append(None)
            continue
        path = str(one.picture) if isinstance(one.picture, Path) else None
        found.append(_why(one) | {"id": number, "path": path, "score": one.score, "probability": shown})
    return found


def _why(one: Alignment) -> dict[str, Any]:
    boxes = one.boxes
    grids = [] if boxes is None else [(grid.start, grid.rows, grid.columns) for grid in find_grids(boxes)]
    return {
        "significance": np.round(one.significance.astype(np.float64), 4).tolist(),
        "global_": round(one.global_significance, 4),
        "grids": grids,
        "boxes": None if boxes is None else np.round(boxes.astype(np.float64), 4).tolist(),
        "weights": np.round(one.weights.astype(np.float64), 4).tolist(),
    }


def _token(token: AlignedToken) -> dict[str, Any]:
    return dict(vars(token))
