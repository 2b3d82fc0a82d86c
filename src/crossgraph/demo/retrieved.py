"""Retrieves the best pictures for a few sentences, and draws them as one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from crossgraph.data.split import Split
from crossgraph.files import atomic_write

SENTENCES = 5
BEST = 3
_SIDE, _GAP, _TEXT = 200, 12, 34
_PAPER, _INK, _RIGHT, _WRONG = "#ffffff", "#222222", "#2e9e4f", "#d5d5d5"
_CREDIT = "Pictograms: OpenMoji, CC BY-SA 4.0"


@dataclass(frozen=True)
class Hit:
    """A retrieved picture.

    Attributes:
        image: Its id.
        path: Its file.
        caption: A sentence about it.
        score: Of the pair.
        right: Whether the query was written about it.
    """

    image: str
    path: Path
    caption: str
    score: float
    right: bool


@dataclass(frozen=True)
class Retrieved:
    """The best pictures for one sentence, best first."""

    sentence: str
    hits: list[Hit]


def retrieve(scores: Float[np.ndarray, "img txt"], split: Split) -> list[Retrieved]:
    """Return the best pictures for a few sentences, the first sentences of pictures spread over the split.

    Args:
        scores: Of the split.
        split: With picture paths.
    """
    first = np.unique(split.caption_image, return_index=True)[1]
    chosen = np.linspace(0, len(first) - 1, min(SENTENCES, len(first))).round().astype(int)
    results: list[Retrieved] = []
    for column in first[chosen].tolist():
        best = np.argsort(-scores[:, column], kind="stable")[:BEST].tolist()
        hits = [
            Hit(
                str(split.image_ids[row]),
                split.picture_paths[row],
                str(split.captions[int(first[row])]),
                float(scores[row, column]),
                row == split.caption_image[column],
            )
            for row in best
        ]
        results.append(Retrieved(str(split.captions[column]), hits))
    return results


def draw_sheet(results: Sequence[Retrieved], path: Path) -> None:
    """Draw a row for each sentence: its best pictures from left to right, the right one framed in green."""
    columns = max(len(result.hits) for result in results)
    width = _GAP + columns * (_SIDE + _GAP)
    sheet = Image.new("RGB", (width, len(results) * (_SIDE + _TEXT + _GAP) + 2 * _GAP + 10), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, result in enumerate(results):
        top = _GAP + number * (_SIDE + _TEXT + _GAP)
        pen.text((_GAP, top), result.sentence, fill=_INK, font=_font(pen, result.sentence, width - 2 * _GAP))
        for column, hit in enumerate(result.hits):
            left = _GAP + column * (_SIDE + _GAP)
            with Image.open(hit.path) as picture:
                sheet.paste(picture.convert("RGB").resize((_SIDE, _SIDE)), (left, top + _TEXT - 8))
            frame = (left - 4, top + _TEXT - 12, left + _SIDE + 3, top + _TEXT + _SIDE - 5)
            pen.rectangle(frame, outline=_RIGHT if hit.right else _WRONG, width=4 if hit.right else 1)
    pen.text((_GAP, sheet.height - 18), _CREDIT, fill="#888888", font=ImageFont.load_default(11))
    with atomic_write(path) as file:
        sheet.save(file, "PNG", optimize=True)


def _font(pen: ImageDraw.ImageDraw, text: str, width: int) -> Any:
    """Return the largest font in which the text fits."""
    for size in range(18, 9, -1):
        font = ImageFont.load_default(size)
        if pen.textlength(text, font=font) <= width:
            return font
    return ImageFont.load_default(9)
