"""Draws on a Matplotlib figure by inches from its top left corner, with text of any script."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from crossgraph.core.errors import InputError
from crossgraph.explain.drawing.text_layout import FontSet, shorten, wrap
from crossgraph.explain.drawing.theme import Theme
from crossgraph.files import atomic_write, check_output_file

WIDTH = 12.0  # inches; shown 1,200 pixels wide, a point of type is 1.4 pixels
DOTS = 150  # per inch in PNG: sharp where a pixel of the page is more than one of the screen
SUFFIXES = (".png", ".svg", ".pdf")
POINT = 1 / 72
Number = int | float
Frame = tuple[Number, Number, Number, Number]
"""Left, top, width and height in inches."""


def require_matplotlib() -> None:
    """Check that Matplotlib is installed.

    Raises:
        InputError: It is not.
    """
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise InputError("figures need Matplotlib", "pip install 'crossgraph[explain]'") from error


def check_figure_path(out: Path) -> None:
    """Check that a figure can be written to a path, before the work that makes it.

    Raises:
        InputError: Not a suffix of a figure, a folder of that name or none to hold it, or no way to write there.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{out}: a figure is {', '.join(SUFFIXES)}", f"name it {out.stem or 'why'}.png")
    if not out.parent.exists():
        raise InputError(f"{out.parent}: no such folder", "make it, or write the figure elsewhere")
    check_output_file(out, out.suffix)


class Canvas:
    """A figure that grows downwards: its height is set when it is saved.

    Args:
        theme: Its colours.
        texts: All texts on it that come from data, by which its fonts are chosen.
    """

    def __init__(self, theme: Theme, texts: Iterable[str]) -> None:
        require_matplotlib()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.theme = theme
        self.fonts = FontSet(texts)
        self._figure: Any = Figure(figsize=(WIDTH, 1), dpi=DOTS, facecolor=theme.paper)
        self._renderer = FigureCanvasAgg(self._figure).get_renderer()
        self._axes: list[tuple[Any, Frame]] = []
        self._widths: dict[tuple[str, Number, str], float] = {}
        self._texts: list[tuple[Any, float, float]] = []

    def add_axes(self, x: Number, y: Number, width: Number, height: Number) -> Any:
        """Add empty Matplotlib axes without ticks; `x` and `y` are their top left corner."""
        axes = self._figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        self._axes.append((axes, (x, y, width, height)))
        return axes

    def add_unit_axes(self, frame: Frame) -> Any:
        """Add axes that go from (0, 0) at the top left to (1, 1) at the bottom right."""
        axes = self.add_axes(*frame)
        axes.set_xlim(0, 1)
        axes.set_ylim(1, 0)
        return axes

    def add_image(self, pixels: Any, frame: Frame) -> Any:
        """Draw an array of pixels; return its axes, see `add_unit_axes`."""
        axes = self.add_unit_axes(frame)
        axes.imshow(pixels, extent=(0, 1, 1, 0), aspect="auto")
        return axes

    def text_width(self, text: str, size: Number, weight: str = "normal") -> float:
        """Return the width of a text in inches."""
        key = (self.fonts.clean(text), size, weight)
        if key not in self._widths:
            font = self.fonts.properties(key[0], size, weight)
            self._widths[key] = self._renderer.get_text_width_height_descent(key[0], font, ismath=False)[0] / DOTS
        return self._widths[key]

    def write(
        self,
        x: Number,
        y: Number,
        text: str,
        size: Number = 10.5,
        *,
        color: str | None = None,
        weight: Literal["normal", "bold"] = "normal",
        align: Literal["left", "right", "center"] = "left",
        max_width: Number | None = None,
        cover: bool = False,
    ) -> float:
        """Write one line and return its width in inches.

        Args:
            x: Of its start, end or middle, by `align`.
            y: Of its baseline.
            text: Of any script.
            size: In points.
            color: The theme's ink by default.
            weight: Of the letters.
            align: Which point of the text `x` is.
            max_width: In inches; what is longer ends in an ellipsis.
            cover: Whether to hide what is below the text.
        """
        line = self.fonts.clean(text)
        if max_width is not None:
            line = shorten(line, lambda part: self.text_width(part, size, weight) <= max_width)
        if line:
            written = self._figure.text(0, 0, line, color=color or self.theme.ink, ha=align, va="baseline")
            written.set_parse_math(False)
            written.set_fontproperties(self.fonts.properties(line, size, weight))
            if cover:
                written.set_bbox({"facecolor": self.theme.paper, "edgecolor": "none", "pad": 0.8})
            self._texts.append((written, x, y))
        return self.text_width(line, size, weight)

    def paragraph(
        self,
        x: Number,
        y: Number,
        text: str,
        width: Number,
        size: Number = 10.5,
        *,
        color: str | None = None,
        weight: Literal["normal", "bold"] = "normal",
        max_lines: int = 4,
    ) -> float:
        """Write a text in lines no wider than `width`, at most `max_lines`; return the last one's baseline."""
        step = size * 1.35 * POINT
        blank = self.text_width("n n", size, weight) - self.text_width("nn", size, weight)

        def fits(line: str) -> bool:  # measured word by word: words repeat, so that their widths are cached
            words = line.split(" ")
            return sum(self.text_width(word, size, weight) for word in words) + (len(words) - 1) * blank <= width

        lines = wrap(self.fonts.clean(text), fits, max_lines)
        for number, line in enumerate(lines):
            self.write(x, y + number * step, line, size, color=color, weight=weight)
        return y + (len(lines) - 1) * step

    def rule(self, y: Number, x: Number, width: Number) -> None:
        """Draw a thin horizontal line."""
        self.add_axes(x, y, width, 0.01).axhline(0.5, color=self.theme.line, linewidth=0.8)

    def save(self, out: Path, height: Number) -> None:
        """Write the figure, cut at `height` inches.

        Raises:
            InputError: The file cannot be written.
        """
        self._figure.set_size_inches(WIDTH, height)
        for axes, (x, y, across, down) in self._axes:
            axes.set_position((x / WIDTH, 1 - (y + down) / height, across / WIDTH, down / height))
        for text, x, y in self._texts:
            text.set_position((x / WIDTH, 1 - y / height))
        kind = out.suffix.lower().removeprefix(".")
        # Dates and random ids are left out, so that equal figures are equal files.
        undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
        matplotlib: Any = importlib.import_module("matplotlib")
        with matplotlib.rc_context({"svg.hashsalt": "crossgraph"}), atomic_write(out) as file:
            self._figure.savefig(file, format=kind, dpi=DOTS, facecolor=self.theme.paper, metadata=undated)
