"""What is found for a few sentences: chosen, printed, and drawn as one sheet."""

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
    """One picture found.

    Attributes:
        image: Its id.
        path: Where it lies.
        caption: A sentence about it.
        score: Of the pair.
        right: Whether the sentence was written about it.
    """

    image: str
    path: Path
    caption: str
    score: float
    right: bool


@dataclass(frozen=True)
class Found:
    """The best pictures for one sentence."""

    sentence: str
    hits: list[Hit]


def find(scores: Float[np.ndarray, "img txt"], split: Split) -> list[Found]:
    """Return the best pictures for a few sentences, the first ones of pictures spread over the split.

    Args:
        scores: Of the split.
        split: With picture paths.
    """
    first = np.unique(split.caption_image, return_index=True)[1]
    chosen = np.linspace(0, len(first) - 1, min(SENTENCES, len(first))).round().astype(int)
    found: list[Found] = []
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
        found.append(Found(str(split.captions[column]), hits))
    return found


def draw_sheet(found: Sequence[Found], path: Path) -> None:
    """Draw one row a sentence: its best pictures from left to right, the right one framed in green."""
    columns = max(len(entry.hits) for entry in found)
    width = _GAP + columns * (_SIDE + _GAP)
    sheet = Image.new("RGB", (width, len(found) * (_SIDE + _TEXT + _GAP) + 2 * _GAP + 10), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, entry in enumerate(found):
        top = _GAP + number * (_SIDE + _TEXT + _GAP)
        pen.text((_GAP, top), entry.sentence, fill=_INK, font=_font(pen, entry.sentence, width - 2 * _GAP))
        for column, hit in enumerate(entry.hits):
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
