"""Draws captions with a right and a wrong picture: attention, significance, and the best answers both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossgraph.data.split import Split
from crossgraph.explain.description import has_global_node, percent, significance_meaning, strongest_region
from crossgraph.explain.drawing.bar_chart import chart_height, draw_bars, strongest_tokens, token_bars
from crossgraph.explain.drawing.canvas import DOTS, WIDTH, Canvas, Frame
from crossgraph.explain.drawing.picture import Picture, read_picture
from crossgraph.explain.drawing.theme import THEMES, ThemeName
from crossgraph.explain.drawing.word_maps import draw_color_scale, draw_map
from crossgraph.explain.examples import Answer, CaptionExample, PictureMatch
from crossgraph.vision.boxes import find_grids

_MARGIN, _GUTTER = 0.45, 0.5
_WIDTH = WIDTH - 2 * _MARGIN
_HALF = (_WIDTH - _GUTTER) / 2
_RIGHT_HALF = _MARGIN + _HALF + _GUTTER
_BARS, _WORDS = 10, 3  # of each picture: tokens with a bar, words with a map
_TICK, _CROSS = "✓", "✗"
NOTE = (
    "A wrong picture is one that the caption was not written for; it may still fit. Frames: solid with a tick is "
    "right, dashed with a cross is wrong."
)
_Pictures = Mapping[Path | None, Picture | None]


def draw_examples(examples: Sequence[CaptionExample], split: Split, out: Path, theme: ThemeName = "light") -> None:
    """Draw a section for each caption.

    Args:
        examples: At least one, of one run and split.
        split: They are of.
        out: .png (1,800 pixels wide, made to be read at 1,200), .svg or .pdf.
        theme: For a light or a dark page.

    Raises:
        InputError: Matplotlib is missing, a picture cannot be read, or the file cannot be written.
    """
    first = examples[0].right.alignment
    texts = [split.captions[example.caption] for example in examples]
    texts += [answer.name for example in examples for answer in [*example.captions, *example.pictures]]
    canvas = Canvas(THEMES[theme], [*texts, first.run, split.name])
    faint = canvas.theme.faint
    paths = {side.path for e in examples for side in (e.right, e.wrong, *e.pictures) if side.path is not None}
    pictures: dict[Path | None, Picture | None] = {path: read_picture(path, longest=900) for path in sorted(paths)}
    canvas.write(_MARGIN, 0.6, "Right and wrong pairs, looked inside", 17, weight="bold")
    gallery = f"{len(split.image_ids):,} pictures and {len(split.captions):,} captions of '{split.name}'"
    about = (
        f"{first.run} ({first.model.upper()}), {gallery}. Bars: {significance_meaning(first)}, of the "
        f"{_BARS} tokens that counted most; dashed: an even share. {NOTE}"
    )
    y = canvas.paragraph(_MARGIN, 0.9, about, _WIDTH, 10, color=faint, max_lines=6) + 0.34
    if first.boxes is not None and find_grids(first.boxes) and pictures:
        draw_color_scale(canvas, WIDTH - _MARGIN, y)
        maps = "Maps: the caption's content words that counted most, on the scale of all figures."
        canvas.write(_MARGIN, y + 0.04, maps, 10, color=faint)
        y += 0.34
    for example in examples:
        y = _draw_example(canvas, example, split.captions[example.caption], pictures, y)
    canvas.save(out, y)


def _draw_example(canvas: Canvas, example: CaptionExample, caption: str, pictures: _Pictures, y: float) -> float:
    canvas.rule(y, _MARGIN, _WIDTH)
    y = canvas.paragraph(_MARGIN, y + 0.4, caption, _WIDTH, 13, weight="bold", max_lines=3)
    canvas.write(_MARGIN, y + 0.24, f"caption {example.caption}", 9.5, color=canvas.theme.faint)
    y += 0.56
    bottom = max(
        _draw_match(canvas, example, example.right, pictures, _MARGIN, y),
        _draw_match(canvas, example, example.wrong, pictures, _RIGHT_HALF, y),
    )
    return _draw_answers(canvas, example, pictures, bottom + 0.3) + 0.3


def _draw_match(
    canvas: Canvas, example: CaptionExample, match: PictureMatch, pictures: _Pictures, x: float, y: float
) -> float:
    """Draw one picture with the bars and maps of the caption's tokens; return the lower edge."""
    right, alignment = match is example.right, match.alignment
    title = f"{_TICK} right picture" if right else f"{_CROSS} best wrong picture"
    used = canvas.write(x, y, title, 11.5, color=_color(canvas, right), weight="bold") + 0.15
    canvas.write(x + used, y, f"score {alignment.score:.3f}, rank {match.rank:,}", 10.5, max_width=_HALF - used)
    y += 0.16
    picture = pictures.get(match.path)
    across, down = _draw_framed(canvas, picture, match.name, right, (x, y, 2.35, 2.35))
    both = [example.right.alignment, example.wrong.alignment]
    significance = both[0].significance + both[1].significance
    bars = token_bars(alignment, strongest_tokens(significance, _BARS), canvas.theme)
    left = x + max(across, 1.5) + 0.1
    longest = max(max(*pair.significance.tolist(), pair.global_significance) for pair in both)
    even = 1 / (len(alignment.tokens) + has_global_node(alignment))
    draw_bars(canvas, bars, left, y, x + _HALF - left, 1, longest, even)
    y += max(down, chart_height(len(bars), 1)) + 0.12
    words = sorted(sorted(both[0].content, key=lambda row: -significance[row])[:_WORDS])
    if picture is None or alignment.boxes is None or not words:
        return y
    slot = (_HALF - 0.14 * (_WORDS - 1)) / _WORDS
    height = min(slot / picture.aspect, 2.0)
    for number, row in enumerate(words):
        left = x + number * (slot + 0.14)
        share = percent(strongest_region(alignment, row).share)
        label_width = slot - 0.1 - canvas.text_width(share, 9)
        canvas.write(left, y + 0.2, alignment.tokens[row].text, 10.5, weight="bold", max_width=label_width)
        canvas.write(left + slot, y + 0.2, share, 9, color=canvas.theme.faint, align="right")
        draw_map(canvas, alignment, picture, row, (left, y + 0.3, min(slot, height * picture.aspect), height))
    return y + (0.3 + height)


def _draw_framed(canvas: Canvas, picture: Picture | None, name: str, right: bool, limits: Frame) -> tuple[float, float]:
    """Draw a picture in a solid frame where it is right, in a dashed one where not; return its width and height.

    Args:
        canvas: To draw on.
        picture: None draws an empty frame with the name.
        name: Of the picture.
        right: Whether it is a right answer.
        limits: Left and top edge, and the greatest width and height, in inches.
    """
    x, y, max_width, max_height = limits
    aspect = 4 / 3 if picture is None else picture.aspect
    across = min(max_width, max_height * aspect)
    down = across / aspect
    if picture is None:
        axes = canvas.add_unit_axes((x, y, across, down))
        middle = x + across / 2, y + down / 2
        canvas.write(*middle, name, 9, color=canvas.theme.faint, align="center", max_width=across - 0.2)
    else:
        pixels = picture.resized(round(across * DOTS), round(down * DOTS))
        axes = canvas.add_image(pixels, (x, y, across, down))
    style = "-" if right else (0, (3, 1.5))
    frame = axes.axhspan(0, 1, fill=False, edgecolor=_color(canvas, right), linewidth=3, linestyle=style)
    frame.set_clip_on(False)
    return across, down


def _draw_answers(canvas: Canvas, example: CaptionExample, pictures: _Pictures, y: float) -> float:
    """Draw the best pictures for the caption and the best captions for the right picture; return the lower edge."""
    canvas.write(_MARGIN, y, f"Best {len(example.pictures)} pictures for the caption", 10.5, weight="bold")
    title = f"Best {len(example.captions)} captions for the right picture"
    canvas.write(_RIGHT_HALF, y, title, 10.5, weight="bold")
    slot = (_HALF - 4 * 0.12) / 5
    bottom = y
    for number, answer in enumerate(example.pictures):
        left = _MARGIN + number * (slot + 0.12)
        limits = left, y + 0.16, slot, 1.3
        _, down = _draw_framed(canvas, pictures.get(answer.path), answer.name, answer.right, limits)
        _write_score(canvas, answer, left, y + 0.16 + down + 0.2)
        bottom = max(bottom, y + 0.16 + down + 0.24)
    line = y + 0.1
    for answer in example.captions:
        used = _write_score(canvas, answer, _RIGHT_HALF, line + 0.2) + 0.14
        line = canvas.paragraph(_RIGHT_HALF + used, line + 0.2, answer.name, _HALF - used, 9.5, max_lines=2) + 0.04
    return max(bottom, line)


def _write_score(canvas: Canvas, answer: Answer, x: float, y: float) -> float:
    text = f"{_TICK if answer.right else _CROSS} {answer.score:.3f}"
    return canvas.write(x, y, text, 9.5, color=_color(canvas, answer.right))


def _color(canvas: Canvas, right: bool) -> str:
    return canvas.theme.right if right else canvas.theme.wrong
