"""Rank sentences for a picture and return the response."""

from __future__ import annotations

from typing import Any

from crossgraph.serve.pictures import find_picture
from crossgraph.serve.problems import Problem, input_errors_as_problems
from crossgraph.serve.requests import CaptionForm
from crossgraph.serve.service import FILL, Service


def rank_captions(service: Service, form: CaptionForm, data: bytes | None) -> dict[str, Any]:
    """Rank sentences for a picture of the library, or for an uploaded one.

    Raises:
        Problem: There is no such picture, or it is none.
    """
    if not service.library.has_model:
        raise Problem(409, "the library is empty", FILL, "empty")
    picture = service.regions(data) if data is not None else None
    given = [text for text in form.captions if text.strip()] if form.captions else None
    if picture is None and form.id is not None:
        find_picture(service.library, form.id)
    vocabulary = service.searcher.bundle.reranker.vocabulary
    if given is not None:
        given = [text for text in given if vocabulary.encode(text).has_known_word]
    elif not service.library.manifest.connection.execute("SELECT 1 FROM captions LIMIT 1").fetchone():
        return {"captions": [], "message": "The library has no captions: give some to choose from."}
    if given == []:
        return {"captions": [], "message": "The model knows no word of these sentences."}
    wanted = form.id if picture is None else picture
    assert wanted is not None
    with input_errors_as_problems():
        ranked = service.searcher.captions_for(wanted, given, form.k)
    return {"captions": [{"text": text, "score": score, "probability": share} for text, score, share in ranked]}
