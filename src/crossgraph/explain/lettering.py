"""Text of any script on a figure: fonts of this machine that have its letters, and a box for those that none has."""

from __future__ import annotations

import functools
import importlib
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

MISSING = "□"
_DEFAULT = "DejaVu Sans"  # comes with matplotlib
_MOST_FONTS = 200  # looked into for letters that the default font lacks
_LIKELY = ("Noto Sans", "CJK", "Unicode", "WenQuanYi", "Hiragino", "Yu Gothic", "PingFang", "FreeSans")


class Lettering:
    """The fonts that some texts are written in.

    Args:
        texts: All texts of a figure that were not written by us.

    """

    def __init__(self, texts: Iterable[str]) -> None:
        wanted = frozenset(ord(letter) for text in texts for letter in text)
        self._families, self._absent = _families(wanted - _letters(_default()))

    def font(self, text: str, size: int | float, weight: str) -> Any:
        """Return the properties of a font for cleaned text; only the default font is known to have a bold form."""
        plain = len(self._families) == 1 or _letters(_default()).issuperset(map(ord, text))
        families, weight = (self._families[:1], weight) if plain else (self._families, "normal")
        return _fonts().FontProperties(family=families, size=size, weight=weight)

    def clean(self, text: str) -> str:
        """Return text that these fonts can write: white space made plain, letters that are missing as boxes."""
        shown: list[str] = []
        for letter in " ".join(text.split()):
            kind = unicodedata.category(letter)
            if ord(letter) in self._absent or kind in ("Cc", "Cs"):
                shown.append("" if kind in ("Mn", "Me", "Cf", "Cc") else MISSING)
            else:
                shown.append(letter)
        return "".join(shown)


def wrap(text: str, fits: Callable[[str], bool], most: int) -> list[str]:
    """Break a text into lines.

    Args:
        text: Words separated by single blanks; a word too long for a line is broken anywhere.
        fits: Whether a line is short enough.
        most: Lines; the last ends in an ellipsis where there were more.
    """
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and not fits(f"{lines[-1]} {word}"):
            lines.append("")
        line = f"{lines[-1]} {word}" if lines[-1] else word
        while not fits(line) and len(line) > 1 and len(lines) <= most:
            cut = _longest(line, fits)
            lines[-1] = line[:cut]
            line = line[cut:]
            lines.append("")
        lines[-1] = line
    return lines if len(lines) <= most else [*lines[: most - 1], shorten(f"{lines[most - 1]} {lines[most]}", fits)]


def shorten(text: str, fits: Callable[[str], bool]) -> str:
    """Return a text, cut and ended by an ellipsis where it is too long."""
    if fits(text):
        return text
    return text[: _longest(text, lambda some: fits(some.rstrip() + "…"))].rstrip() + "…"


def _longest(text: str, fits: Callable[[str], bool]) -> int:
    """Return how many letters of a text that is too long fit; at least one."""
    low, high = 1, len(text)
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(text[:middle]) else (low, middle)
    return low


def _fonts() -> Any:
    return importlib.import_module("matplotlib.font_manager")


@functools.cache
def _default() -> str:
    return str(_fonts().findfont(_DEFAULT))


@functools.lru_cache(maxsize=_MOST_FONTS + 1)
def _letters(path: str) -> frozenset[int]:
    try:
        return frozenset(_fonts().get_font(path).get_charmap())
    except Exception:  # noqa: BLE001 a font file that cannot be read, or one of bitmaps, is passed over
        return frozenset()


@functools.lru_cache(maxsize=16)
def _families(missing: frozenset[int]) -> tuple[list[str], frozenset[int]]:
    families = [_DEFAULT]
    for font in _candidates() if missing else []:
        if found := missing & _letters(font.fname):
            families.append(font.name)
            missing -= found
        if not missing:
            break
    return families, missing


def _candidates() -> list[Any]:
    plain = [font for font in _fonts().fontManager.ttflist if font.style == "normal" and font.weight in (400, "normal")]
    unfit = ("Color", "Last Resort")  # bitmaps; a font whose letters are all placeholders
    named = {font.name: font for font in reversed(plain) if not any(word in font.name for word in unfit)}
    likely = sorted(named.values(), key=lambda font: (not any(word in font.name for word in _LIKELY), font.name))
    return likely[:_MOST_FONTS]
