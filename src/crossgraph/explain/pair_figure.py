"""Captions with a right and a wrong picture on one sheet: attention, significance, and what is found both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossgraph.data.split import Split
from crossgraph.explain.bars import bars_height, bars_of, draw_bars, strongest_tokens
from crossgraph.explain.pairs import Answer, PairOfPairs, Side
from crossgraph.explain.panels import draw_scale, draw_word
from crossgraph.explain.sheet import DOTS, WIDTH, Sheet
from crossgraph.explain.shown import ShownPicture, read_shown
from crossgraph.explain.theme import THEMES, ThemeName
from crossgraph.explain.wording import has_global_node, percent, significance_of, strongest_region
from crossgraph.vision.boxes import find_grids

_EDGE, _GUTTER = 0.45, 0.5
_ROOM = WIDTH - 2 * _EDGE
_HALF = (_ROOM - _GUTTER) / 2
_BARS, _WORDS = 10, 3  # of a side: tokens with a bar, words with a map
_TICK, _CROSS = "✓", "✗"
NOTE = (
    "A wrong picture is one that the caption was not written for; it may still fit. Frames: solid with a tick is "
    "right, dashed with a cross is wrong."
)


@dataclass(frozen=True)
class _Shown:
    """The pictures of a figure, each read once; None where the file is not known."""

    pictures: dict[Path, ShownPicture]

    def of(self, path: Path | None) -> ShownPicture | None:
        return None if path is None else self.pictures[path]


def draw_pairs(pairs: Sequence[PairOfPairs], split: Split, out: Path, theme: ThemeName = "light") -> None:
    """Draw one section a caption.

    Args:
        pairs: At least one, of one run and split.
        split: They are of.
        out: .png (1,800 pixels wide, made to be read at 1,200), .svg or .pdf.
        theme: For a light or a dark page.

    Raises:
        InputError: Matplotlib is missing, a picture cannot be read, or the place cannot be written.
    """
    first = pairs[0].right.alignment
    said = [split.captions[pair.caption] for pair in pairs] + [
        answer.name for pair in pairs for answer in pair.captions
    ]
    named = [answer.name for pair in pairs for answer in [*pair.pictures]]
    sheet = Sheet(THEMES[theme], [*said, *named, first.run, split.name])
    paths = {path for pair in pairs for path in _paths(pair)}
    shown = _Shown({path: read_shown(path, longest=900) for path in sorted(paths)})
    sheet.write(_EDGE, 0.6, "Right and wrong pairs, looked inside", 17, weight="bold")
    gallery = f"{len(split.image_ids):,} pictures and {len(split.captions):,} captions of '{split.name}'"
    about = (
        f"{first.run} ({first.model.upper()}), {gallery}. Bars: {significance_of(first)}, of the "
        f"{_BARS} tokens that counted most; dashed: an even share."
    )
    y = sheet.paragraph(_EDGE, 0.9, f"{about} {NOTE}", _ROOM, 10, color=sheet.theme.faint, most=6) + 0.34
    if first.boxes is not None and find_grids(first.boxes) and shown.pictures:
        draw_scale(sheet, WIDTH - _EDGE, y)
        told = "Maps: the caption's content words that counted most, on the scale of all figures."
        sheet.write(_EDGE, y + 0.04, told, 10, color=sheet.theme.faint)
        y += 0.34
    for pair in pairs:
        y = _draw_pair(sheet, pair, split, shown, y)
    sheet.save(out, y)


def _paths(pair: PairOfPairs) -> list[Path]:
    known = [pair.right.path, pair.wrong.path, *(answer.path for answer in pair.pictures)]
    return [path for path in known if path is not None]


def _words(pair: PairOfPairs) -> list[int]:
    """Return the tokens that get a map: the content words that counted most in either pair."""
    right, wrong = pair.right.alignment, pair.wrong.alignment
    together = right.significance + wrong.significance
    return sorted(sorted(right.content, key=lambda row: -together[row])[:_WORDS])


def _draw_pair(sheet: Sheet, pair: PairOfPairs, split: Split, shown: _Shown, y: float) -> float:
    sheet.rule(y, _EDGE, _ROOM)
    y = sheet.paragraph(_EDGE, y + 0.4, split.captions[pair.caption], _ROOM, 13, weight="bold", most=3)
    sheet.write(_EDGE, y + 0.24, f"caption {pair.caption}", 9.5, color=sheet.theme.faint)
    y += 0.56
    sides = [(pair.right, True, _EDGE), (pair.wrong, False, _EDGE + _HALF + _GUTTER)]
    longest = max(
        max(*side.alignment.significance.tolist(), side.alignment.global_significance) for side, _, _ in sides
    )
    ends = [_draw_side(sheet, pair, side, right, shown, (x, y), longest) for side, right, x in sides]
    return _draw_found(sheet, pair, shown, max(ends) + 0.3) + 0.3


def _draw_side(
    sheet: Sheet,
    pair: PairOfPairs,
    side: Side,
    right: bool,
    shown: _Shown,
    at: tuple[float, float],
    longest: float,
) -> float:
    x, y = at
    color = sheet.theme.right if right else sheet.theme.wrong
    taken = sheet.write(
        x, y, f"{_TICK} right picture" if right else f"{_CROSS} best wrong picture", 11.5, color=color, weight="bold"
    )
    told = f"score {side.alignment.score:.3f}, rank {side.rank:,}"
    sheet.write(x + taken + 0.15, y, told, 10.5, room=_HALF - taken - 0.15)
    y += 0.16
    picture = shown.of(side.path)
    across, down = _draw_framed(sheet, picture, side.name, right, (x, y, 2.35, 2.35))
    rows = strongest_tokens(pair.right.alignment.significance + pair.wrong.alignment.significance, _BARS)
    bars = bars_of(side.alignment, rows, sheet.theme)
    left = x + max(across, 1.5) + 0.1
    even = 1 / (len(side.alignment.tokens) + has_global_node(side.alignment))
    draw_bars(sheet, bars, left, y, x + _HALF - left, 1, longest, even)
    y += max(down, bars_height(len(bars), 1)) + 0.12
    if picture is None or side.alignment.boxes is None:
        return y
    words = _words(pair)
    slot = (_HALF - 0.14 * (_WORDS - 1)) / _WORDS
    height = min(slot / picture.aspect, 2.0)
    for number, row in enumerate(words):
        place = x + number * (slot + 0.14)
        found = strongest_region(side.alignment, row)
        peak = percent(found.share)
        room = slot - 0.1 - sheet.width_of(peak, 9)
        sheet.write(place, y + 0.2, side.alignment.tokens[row].text, 10.5, weight="bold", room=room)
        sheet.write(place + slot, y + 0.2, peak, 9, color=sheet.theme.faint, align="right")
        draw_word(sheet, side.alignment, picture, row, (place, y + 0.3, min(slot, height * picture.aspect), height))
    return y + (0.3 + height if words else 0)


def _draw_framed(
    sheet: Sheet, picture: ShownPicture | None, name: str, right: bool, place: tuple[float, float, float, float]
) -> tuple[float, float]:
    """Draw a picture in a solid frame where it is right, in a dashed one where not; return its width and height."""
    x, y, most_across, most_down = place
    aspect = 4 / 3 if picture is None else picture.aspect
    across = min(most_across, most_down * aspect)
    down = across / aspect
    axes = sheet.axes(x, y, across, down)
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    if picture is None:
        sheet.write(x + across / 2, y + down / 2, name, 9, color=sheet.theme.faint, align="center", room=across - 0.2)
    else:
        pixels = picture.resized(round(across * DOTS), round(down * DOTS))
        axes.imshow(pixels, extent=(0, 1, 1, 0), aspect="auto")
    color, style = (sheet.theme.right, "-") if right else (sheet.theme.wrong, (0, (3, 1.5)))
    frame = axes.axhspan(0, 1, fill=False, edgecolor=color, linewidth=3, linestyle=style)
    frame.set_clip_on(False)
    return across, down


def _draw_found(sheet: Sheet, pair: PairOfPairs, shown: _Shown, y: float) -> float:
    sheet.write(_EDGE, y, f"Best {len(pair.pictures)} pictures for the caption", 10.5, weight="bold")
    x = _EDGE + _HALF + _GUTTER
    sheet.write(x, y, f"Best {len(pair.captions)} captions for the right picture", 10.5, weight="bold")
    slot = (_HALF - 4 * 0.12) / 5
    lowest = y
    for number, answer in enumerate(pair.pictures):
        left = _EDGE + number * (slot + 0.12)
        _, down = _draw_framed(sheet, shown.of(answer.path), answer.name, answer.right, (left, y + 0.16, slot, 1.3))
        sheet.write(
            left, y + 0.16 + down + 0.2, f"{_sign(answer)} {answer.score:.3f}", 9.5, color=_color(sheet, answer)
        )
        lowest = max(lowest, y + 0.16 + down + 0.24)
    line = y + 0.1
    for answer in pair.captions:
        taken = sheet.write(x, line + 0.2, f"{_sign(answer)} {answer.score:.3f}", 9.5, color=_color(sheet, answer))
        line = sheet.paragraph(x + taken + 0.14, line + 0.2, answer.name, _HALF - taken - 0.14, 9.5, most=2) + 0.04
    return max(lowest, line)


def _sign(answer: Answer) -> str:
    return _TICK if answer.right else _CROSS


def _color(sheet: Sheet, answer: Answer) -> str:
    return sheet.theme.right if answer.right else sheet.theme.wrong
