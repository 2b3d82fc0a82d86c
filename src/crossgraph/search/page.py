"""Write the hits as one HTML page that works from a file and shows the regions of a word on every picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from crossgraph.files import write_text
from crossgraph.library.library import Library
from crossgraph.pipeline.alignment import Alignment
from crossgraph.report.page import check_templates, render
from crossgraph.report.thumbnails import thumbnail
from crossgraph.search.query import Query
from crossgraph.search.results import Hit, Results
from crossgraph.vision.boxes import find_grids


def write_page(path: Path, library: Library, query: Query, results: Results, found: Sequence[Alignment]) -> None:
    """Write a search's hits as a self-contained page; the file is whole or not there.

    Args:
        path: The .html.
        library: Whose pictures; their thumbnails go into the page.
        query: What was asked.
        results: What was found.
        found: An alignment a hit, or none where no words were asked.

    Raises:
        InputError: The package jinja2 is missing, or the file cannot be written.
    """
    check_templates("a page")
    values = {
        "asked": _asked(query),
        "tokens": [vars(token) | {"row": row} for row, token in enumerate(results.tokens) if not token.special],
        "told": _summary(results),
        "verdict": "" if results.any_good else "No good match; these are the nearest.",
        "hits": [_hit(library, hit) for hit in results.hits],
        "meaning": _meaning(results),
    }
    write_text(path, render(values, _data(found), "crossgraph.search"))


def _asked(query: Query) -> str:
    parts = [query.text.strip() or ("a picture" if query.picture is not None else "pictures like these")]
    if query.text.strip() and query.picture is not None:
        parts.append("and a picture")
    return " ".join([*parts, *(f"−{term}" for term in query.minus)])


def _summary(results: Results) -> str:
    timings = results.timings
    reranked = f", re-rank {timings.rerank:.0f}" if results.short_list else ""
    return (
        f"{results.pictures:,} pictures · {timings.total:.0f} ms (nearest {timings.nearest:.0f}{reranked}) · "
        f"{len(results.hits):,} shown"
    )


def _meaning(results: Results) -> str:
    if any(hit.probability is not None for hit in results.hits):
        return (
            "The bar is the probability that the words were written for the picture, as measured on the model's dev "
            "pictures; other collections may differ. What glows is where the model looked for a word, not proof."
        )
    return "Ordered by the model's score, which is no probability. What glows is where the model looked for a word."


def _hit(library: Library, hit: Hit) -> dict[str, Any]:
    small = library.thumbnail(library.get(hit.id).sha256)
    if small.exists():
        data = small.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        source = f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"
    else:
        made = thumbnail(Path(hit.path))
        source, width, height = made.source, made.width, made.height
    chance = f"{100 * hit.probability:.0f} %" if hit.probability is not None else f"{hit.score:.3f}"
    return vars(hit) | {
        "source": source,
        "width": width,
        "height": height,
        "name": Path(hit.path).name,
        "chance": chance,
    }


def _data(found: Sequence[Alignment]) -> dict[str, Any]:
    boxes = found[0].boxes if found else None
    grids = [] if boxes is None else find_grids(torch.from_numpy(boxes))
    return {
        "grids": [[grid.start, grid.rows, grid.columns] for grid in grids],
        "boxes": None if boxes is None or grids else np.round(boxes, 4).astype(float).tolist(),
        "hits": [{"weights": np.round(alignment.weights, 4).astype(float).tolist()} for alignment in found],
    }
