"""Build the responses of searches and explanations: unknown words are noted, missing pictures left out."""

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
from crossgraph.serve.problems import Problem, input_errors_as_problems
from crossgraph.serve.requests import SearchRequest
from crossgraph.serve.service import FILL, Service
from crossgraph.store.filter_tree import write_filter
from crossgraph.vision.boxes import find_grids

_SPARE = 1.5  # factor of neighbours over hits in the searcher, since near-duplicates become one
_NOTHING = {"encode": 0.0, "nearest": 0.0, "rerank": 0.0, "total": 0.0}


def answer(
    service: Service, request: SearchRequest, picture: Regions | None = None, name: str | None = None
) -> dict[str, Any]:
    """Search and return the response.

    Args:
        service: Of the library.
        request: The search.
        picture: An uploaded picture.
        name: Name of the upload in later requests.

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
    request.check_has_query(picture is not None)
    with input_errors_as_problems(503):
        pictures = service.library.count() if service.open_store() else 0
    if not pictures:
        return empty | {"tokens": [], "unknown": [], "pictures": 0, "message": f"The library is empty: {FILL}"}
    _check_answerable(service, request)
    tokens, unknown, notes = _drop_unknown(service, request)
    if not (request.text or picture is not None or request.like):
        return empty | {"tokens": tokens, "unknown": unknown, "pictures": pictures, "message": " ".join(notes)}
    given = request.given
    key = _key(request, name, pictures)
    found = service.pages.find(
        key, given.offset, given.offset + given.k, lambda depth: _search(service, request, picture, depth)
    )
    results = found.results
    page = results.hits[given.offset : given.offset + given.k]
    hits = _as_values(service, page)
    if given.explain and request.text and hits:
        for hit, alignment in zip(hits, _align(service, [hit["id"] for hit in hits], request.text), strict=True):
            hit.update(_word_regions(alignment) if alignment is not None else {})
    is_counted = not found.whole or results.pictures > MOST_HITS  # else no filter can matter, and counting takes time
    matching = _count_matching(service, request, results) if is_counted else results.pictures
    if not hits and not given.offset:
        notes.append("No picture fulfils the filter." if request.where is not None else "No picture is likely enough.")
    return {
        "hits": hits,
        "tokens": [_token(token) for token in results.tokens] or tokens,
        "unknown": list(dict.fromkeys([*unknown, *results.unknown])),
        "any_good": results.any_good and bool(results.hits),
        "total": len(results.hits) if found.whole else max(len(results.hits), min(MOST_HITS, matching)),
        "cut": not given.min_probability and matching > MOST_HITS,
        "pictures": results.pictures,
        "short_list": results.short_list,
        "wanted": results.wanted,
        "timings": vars(results.timings),
        "picture": name,
        "message": " ".join([*notes, *results.notes]) or None,
    }


def explanation(service: Service, ids: Sequence[int], text: str) -> dict[str, Any]:
    """Explain pictures and return the response.

    Raises:
        Problem: None of the pictures is there.
    """
    with input_errors_as_problems(503):
        if not service.open_store():
            raise Problem(404, "the library is empty", FILL, "empty")
    request = SearchRequest(q=text)
    present = service.library.manifest.positions(ids)
    there = [number for number in dict.fromkeys(ids) if number in present]
    missing = [number for number in dict.fromkeys(ids) if number not in present]
    if not there:
        raise Problem(404, f"picture {missing[0]} is not in the library", "search again", "picture")
    tokens, unknown, notes = _drop_unknown(service, request)
    alignments = _align(service, there, request.text) if request.text else []
    return {
        "tokens": tokens,
        "unknown": unknown,
        "pictures": _explained(service, there, alignments),
        "model": service.searcher.bundle.reranker.info.model,
        "missing": missing,
        "message": " ".join(notes) or None,
    }


def thumbnail_of(number: int, sha256: str) -> str:
    """Return the address of a thumbnail; it changes with the content, so browsers may cache it for ever."""
    return f"/api/pictures/{number}/thumbnail?v={sha256[:16]}"


def _as_values(service: Service, page: Sequence[Hit]) -> list[dict[str, Any]]:
    """Return hits as plain values, without those that were removed meanwhile."""
    pictures = service.library.manifest.get([hit.id for hit in page])
    return [
        vars(hit) | {"name": Path(hit.path).name, "thumbnail": thumbnail_of(hit.id, pictures[hit.id].sha256)}
        for hit in page
        if hit.id in pictures
    ]


def _check_answerable(service: Service, request: SearchRequest) -> None:
    named = [*request.like, *request.unlike]
    if named:
        present = service.library.manifest.positions(named)
        absent = [number for number in named if number not in present]
        if absent:
            raise Problem(404, f"picture {absent[0]} is not in the library", "leave it out, or search again", "picture")
    if request.given.min_probability and service.searcher.bundle.calibration is None:
        raise Problem(
            409,
            "the model's scores are not calibrated, so a least probability means nothing",
            "leave min_probability out, or index with a model made by 'crossgraph bundle'",
            "not-calibrated",
        )


def _drop_unknown(service: Service, request: SearchRequest) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Drop texts of which the model knows no word; return tokens, unknown words and notes."""
    tokens: list[dict[str, Any]] = []
    unknown: list[str] = []
    notes: list[str] = []
    if request.text:
        tokens = [_token(token) for token in _read(service, request.text)]
        unknown += [token["text"] for token in tokens if not token["known"]]
        if not is_known(service.searcher.bundle, request.text):
            notes.append(f"The model knows no word of {shortened(request.text)}.")
            request.text = ""
    known = tuple(term for term in request.minus if is_known(service.searcher.bundle, term))
    for term in request.minus:
        if term not in known:
            unknown += [token.text for token in _read(service, term) if not token.known]
            notes.append(f"The model knows no word of {shortened(term)}, so it was not taken out.")
    request.minus = known
    return tokens, list(dict.fromkeys(unknown)), notes


def _read(service: Service, text: str) -> tuple[AlignedToken, ...]:
    vocabulary = service.searcher.bundle.reranker.vocabulary
    return tokens_of(vocabulary, text, vocabulary.encode(text))


def _search(service: Service, request: SearchRequest, picture: Regions | None, depth: int) -> tuple[Results, bool]:
    """Search until there are `depth` hits or no more; return the results, and whether these are all."""
    while True:
        with input_errors_as_problems(503):
            results = service.searcher.search(request.query(picture, depth))
        service.metrics.searched(results.timings)
        looked_at = max(results.short_list, round(depth * _SPARE))
        whole = looked_at >= results.pictures or depth >= MOST_HITS or bool(request.given.min_probability)
        if whole or results.matching >= depth:
            return results, whole and results.matching <= depth
        depth = min(MOST_HITS, 2 * depth)


def _count_matching(service: Service, request: SearchRequest, results: Results) -> int:
    """Return how many pictures fulfil the filter."""
    return results.pictures if request.where is None else service.library.store.count(request.where)


def _key(request: SearchRequest, name: str | None, pictures: int) -> tuple[Any, ...]:
    given = request.given
    where = "" if request.where is None else write_filter(request.where)
    numbers = (given.picture_weight, given.min_probability, given.recall, given.join_words)
    return (request.text, request.minus, where, request.like, request.unlike, name, pictures, *numbers)


def _align(service: Service, ids: Sequence[int], text: str) -> list[Alignment | None]:
    """Return the alignment of every picture; None for one that was removed meanwhile."""
    try:
        return list(service.searcher.explain_many(ids, text))
    except (InputError, KeyError):  # one of them has gone: try each by itself
        alignments: list[Alignment | None] = []
        for number in ids:
            try:
                alignments.append(service.searcher.explain(number, text))
            except (InputError, KeyError):
                alignments.append(None)
        return alignments


def _explained(service: Service, ids: Sequence[int], alignments: Sequence[Alignment | None]) -> list[dict[str, Any]]:
    """Return the pictures that have an alignment, explained."""
    present = [(number, found) for number, found in zip(ids, alignments, strict=False) if found is not None]
    scores = np.array([found.score for _, found in present], dtype=np.float32)
    probability = service.searcher.bundle.probability(scores)
    return [
        _word_regions(found)
        | {
            "id": number,
            "path": str(found.picture) if isinstance(found.picture, Path) else None,
            "score": found.score,
            "probability": None if probability is None else float(probability[row]),
        }
        for row, (number, found) in enumerate(present)
    ]


def _word_regions(alignment: Alignment) -> dict[str, Any]:
    boxes = alignment.boxes
    grids = [] if boxes is None else [(grid.start, grid.rows, grid.columns) for grid in find_grids(boxes)]
    return {
        "significance": _rounded(alignment.significance),
        "global_": round(alignment.global_significance, 4),
        "grids": grids,
        "boxes": None if boxes is None else _rounded(boxes),
        "weights": _rounded(alignment.weights),
    }


def _rounded(values: np.ndarray) -> list[Any]:
    return np.round(values.astype(np.float64), 4).tolist()


def _token(token: AlignedToken) -> dict[str, Any]:
    return dict(vars(token))
