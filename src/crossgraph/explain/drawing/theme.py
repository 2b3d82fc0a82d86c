"""Colours of figures on light and on dark pages, that colour-blind people can distinguish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ThemeName = Literal["light", "dark"]


@dataclass(frozen=True)
class Theme:
    """The colours of a figure.

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

    paper: str
    ink: str
    faint: str
    line: str
    content: str
    other: str
    unknown: str
    whole: str
    right: str
    wrong: str
    dimmed: float


# Okabe and Ito's colours; on dark paper the lighter one of two that could serve.
THEMES: dict[ThemeName, Theme] = {
    "light": Theme(
        paper="#ffffff",
        ink="#1b1f24",
        faint="#59636e",
        line="#c9d0d7",
        content="#0072B2",
        other="#a9b2ba",
        unknown="#D55E00",
        whole="#CC79A7",
        right="#009E73",
        wrong="#D55E00",
        dimmed=0.62,
    ),
    "dark": Theme(
        paper="#14181d",
        ink="#eceff2",
        faint="#a3adb8",
        line="#3a434d",
        content="#56B4E9",
        other="#6d7782",
        unknown="#E69F00",
        whole="#CC79A7",
        right="#2bc79a",
        wrong="#ff8a3d",
        dimmed=0.52,
    ),
}
