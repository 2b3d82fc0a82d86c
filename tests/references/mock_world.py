"""Pictures for the search page's tests: coloured shapes whose places are known, so that any answer can be checked."""

from __future__ import annotations

import io
import random
import re
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

from PIL import Image, ImageDraw

GRID = 7  # cells along each side
COLOURS = {"red": "#d64533", "blue": "#2f6fd0", "green": "#3a9a55", "yellow": "#e8c33c", "white": "#f4f4f0"}
SHAPES = ("circle", "square", "triangle")
GROUNDS = {"snow": "#dfe8f0", "night": "#252a3a", "sand": "#d9c39a", "grass": "#9dbd7e"}
FUNCTION = {"a", "the", "and", "on", "in", "of", "with"}
KNOWN = {*COLOURS, *SHAPES, *GROUNDS, *FUNCTION, "two"}
SIZES = ((1600, 1200), (1500, 1000), (1000, 1000), (900, 1350), (1920, 1080), (1600, 1200), (1500, 1000), (2400, 600))
EVEN = 1 / GRID**2


@dataclass(frozen=True)
class Thing:
    """A shape and the cell of the grid that it fills."""

    colour: str
    shape: str
    row: int
    column: int


@dataclass(frozen=True)
class Drawn:
    """One picture of the world."""

    id: int
    ground: str
    things: tuple[Thing, ...]
    width: int
    height: int

    @cached_property
    def words(self) -> set[str]:
        return {self.ground, *FUNCTION} | {word for thing in self.things for word in (thing.colour, thing.shape)}

    @property
    def name(self) -> str:
        return f"IMG_{self.id:04d}.jpg"

    @property
    def payload(self) -> dict[str, Any]:
        folder = ("alps", "sea", "<b>town</b>")[self.id % 3]
        return {
            "path": f"{folder}/{self.name}",
            "name": self.name,
            "folder": folder,
            "date": f"{2018 + self.id % 7}-0{1 + self.id % 9}-17T12:30:00",
            "camera": ("Canon", "Fujifilm")[self.id % 2],
            "width": self.width,
            "height": self.height,
            "megapixels": self.width * self.height / 1e6,
        }


@cache
def drawn(number: int) -> Drawn:
    """Return picture `number`: the same on every machine."""
    dice = random.Random(number)
    cells = dice.sample([(row, column) for row in range(1, GRID - 1) for column in range(1, GRID - 1)], 2)
    things = tuple(Thing(dice.choice(list(COLOURS)), dice.choice(SHAPES), *cell) for cell in cells)
    return Drawn(number, dice.choice(list(GROUNDS)), things, *SIZES[dice.randrange(len(SIZES))])


@cache
def encoded(number: int, longest: int) -> bytes:
    """Return picture `number` as WebP."""
    picture = drawn(number)
    scale = longest / max(picture.width, picture.height)
    width, height = round(picture.width * scale), round(picture.height * scale)
    canvas = Image.new("RGB", (width, height), GROUNDS[picture.ground])
    pen = ImageDraw.Draw(canvas)
    for thing in picture.things:
        x, y = (thing.column + 0.5) * width / GRID, (thing.row + 0.5) * height / GRID
        size = min(width, height) / GRID * 0.8
        _draw(pen, thing, x, y, size)
    file = io.BytesIO()
    canvas.save(file, "WEBP", quality=80)
    return file.getvalue()


def _draw(pen: ImageDraw.ImageDraw, thing: Thing, x: float, y: float, size: float) -> None:
    box = (x - size, y - size, x + size, y + size)
    if thing.shape == "circle":
        pen.ellipse(box, fill=COLOURS[thing.colour])
    elif thing.shape == "square":
        pen.rectangle(box, fill=COLOURS[thing.colour])
    else:
        pen.polygon([(x, y - size), (x + size, y + size), (x - size, y + size)], fill=COLOURS[thing.colour])


def tokens(sentence: str) -> list[dict[str, Any]]:
    """Cut a sentence into tokens as the server does."""
    found = [("<start>", 0, 0)] + [(m[0], m.start(), m.end()) for m in re.finditer(r"\w+|[^\w\s]", sentence)]
    return [
        {
            "text": text,
            "start": start,
            "end": end,
            "known": text.lower() in KNOWN or not text[0].isalnum(),
            "content": text.lower() in KNOWN - FUNCTION,
            "special": text == "<start>",
        }
        for text, start, end in found
    ]


@cache
def content(sentence: str) -> list[str]:
    """Return the known words of a sentence that name something."""
    return [word for word in re.findall(r"\w+", sentence.lower()) if word in KNOWN - FUNCTION - {"two"}]


@cache
def probability(picture: Drawn, sentence: str, minus: tuple[str, ...] = ()) -> float:
    """Return how well a picture fits: the share of the words that are in it."""
    words = content(sentence)
    fit = sum(word in picture.words for word in words) / len(words) if words else 0.3
    pairs = [(a, b) for a, b in pairwise(words) if a in COLOURS and b in SHAPES]
    together = all(any((t.colour, t.shape) == pair for t in picture.things) for pair in pairs)
    value = 0.03 + 0.9 * fit**2 * (1 if together else 0.5) - picture.id * 1e-5
    return round(value * (0.02 if picture.words & set(minus) else 1), 4)


def explained(picture: Drawn, sentence: str, boxes: bool) -> dict[str, Any]:
    """Return which cells met each token: those around what it names, all alike where it names nothing."""
    read = tokens(sentence)
    share = [4.0 if token["content"] else 1.0 for token in read]
    return {
        "id": picture.id,
        "score": probability(picture, sentence),
        "probability": probability(picture, sentence),
        "significance": [round(0.9 * part / sum(share), 4) for part in share],
        "global": 0.1,
        "grids": [] if boxes else [[0, GRID, GRID]],
        "boxes": [box(thing) for thing in picture.things] + [[0.0, 0.0, 1.0, 0.4]] if boxes else [],
        "weights": [_box_weights(picture, token) if boxes else weights(picture, token["text"]) for token in read],
    }


def box(thing: Thing) -> list[float]:
    """Return where a thing is, as a detector would."""
    return [
        (thing.column - 0.4) / GRID,
        (thing.row - 0.4) / GRID,
        (thing.column + 1.4) / GRID,
        (thing.row + 1.4) / GRID,
    ]


def _box_weights(picture: Drawn, token: dict[str, Any]) -> list[float]:
    met = [token["text"].lower() in (thing.colour, thing.shape) for thing in picture.things]
    return [0.9 / sum(met) if hit else 0.1 / (3 - sum(met)) for hit in [*met, False]] if any(met) else [1 / 3] * 3


def weights(picture: Drawn, word: str) -> list[float]:
    """Return one token's weights over the grid, row by row."""
    at = {(thing.row, thing.column) for thing in picture.things if word.lower() in (thing.colour, thing.shape)}
    cells = [(row, column) for row in range(GRID) for column in range(GRID)]
    near = [sum(3.0 ** -(abs(r - row) + abs(c - column)) for r, c in at) for row, column in cells]
    total = sum(near)
    return [round(0.1 * EVEN + 0.9 * value / total, 4) if total else round(EVEN, 4) for value in near]
