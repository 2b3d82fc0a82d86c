"""Defines the colours of figures on light and on dark pages, which colour-blind people can distinguish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ThemeName = Literal["light", "dark"]


@dataclass(frozen=True)
class Theme:
    """The colours of a figure, on a light page by default.

    Attributes:
        paper: Behind everything.
        ink: Text that must be read.
        faint: Text of less importance.
        line: Rules and axes.
        content: Bars of content words.
        other: Bars of function words, punctuation, start and end.
        unknown: Bars of words that the vocabulary lacks.
        whole: The bar of the global node.
        right: Frame of a right answer.
        wrong: Frame of a wrong one.
        dimmed: How bright a picture is under a map, where 1 is unchanged.
    """

    paper: str = "#ffffff"
    ink: str = "#1b1f24"
    faint: str = "#59636e"
    line: str = "#c9d0d7"
    content: str = "#0072B2"
    other: str = "#a9b2ba"
    unknown: str = "#D55E00"
    whole: str = "#CC79A7"
    right: str = "#009E73"
    wrong: str = "#D55E00"
    dimmed: float = 0.62


# Okabe and Ito's colours; on dark paper the lighter one of two that could serve.
THEMES: dict[ThemeName, Theme] = {
    "light": Theme(),
    "dark": Theme(
        paper="#14181d",
        ink="#eceff2",
        faint="#a3adb8",
        line="#3a434d",
        content="#56B4E9",
        other="#6d7782",
        unknown="#E69F00",
        right="#2bc79a",
        wrong="#ff8a3d",
        dimmed=0.52,
    ),
}
