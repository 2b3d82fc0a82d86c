"""Chooses fonts for text of any script, and breaks and shortens lines."""

from __future__ import annotations

import functools
import importlib
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

MISSING = "□"
_DEFAULT = "DejaVu Sans"  # comes with matplotlib
_MAX_FONTS = 200  # searched for letters that the default font lacks
_LIKELY = ("Noto Sans", "CJK", "Unicode", "WenQuanYi", "Hiragino", "Yu Gothic", "PingFang", "FreeSans")


class FontSet:
    """The installed fonts that together have the letters of some texts.

    Args:
        texts: All texts of a figure that come from data.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        wanted = frozenset(ord(letter) for text in texts for letter in text)
        self._families, self._absent = _choose_families(wanted - _letters(_default_path()))

    def properties(self, text: str, size: int | float, weight: str) -> Any:
        """Return the font properties for cleaned text; only the default font is known to have a bold form."""
        default = len(self._families) == 1 or _letters(_default_path()).issuperset(map(ord, text))
        families, weight = (self._families[:1], weight) if default else (self._families, "normal")
        return _font_manager().FontProperties(family=families, size=size, weight=weight)

    def clean(self, text: str) -> str:
        """Return text that these fonts can write: single blanks, a box for each letter that no font has."""
        letters: list[str] = []
        for letter in " ".join(text.split()):
            kind = unicodedata.category(letter)
            if ord(letter) in self._absent or kind in ("Cc", "Cs"):
                letters.append("" if kind in ("Mn", "Me", "Cf", "Cc") else MISSING)
            else:
                letters.append(letter)
        return "".join(letters)


def wrap(text: str, fits: Callable[[str], bool], max_lines: int) -> list[str]:
    """Break a text into lines.

    Args:
        text: Words separated by single blanks; a word too long for a line is broken anywhere.
        fits: Whether a line is short enough.
        max_lines: The last line ends in an ellipsis where there would be more.
    """
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and not fits(f"{lines[-1]} {word}"):
            lines.append("")
        line = f"{lines[-1]} {word}" if lines[-1] else word
        while not fits(line) and len(line) > 1 and len(lines) <= max_lines:
            cut = _longest_prefix(line, fits)
            lines[-1:] = [line[:cut], ""]
            line = line[cut:]
        lines[-1] = line
    if len(lines) <= max_lines:
        return lines
    return [*lines[: max_lines - 1], shorten(f"{lines[max_lines - 1]} {lines[max_lines]}", fits)]


def shorten(text: str, fits: Callable[[str], bool]) -> str:
    """Return a text, cut and ended by an ellipsis where it is too long."""
    if fits(text):
        return text
    return text[: _longest_prefix(text, lambda part: fits(part.rstrip() + "…"))].rstrip() + "…"


def _longest_prefix(text: str, fits: Callable[[str], bool]) -> int:
    """Return how many letters of a text that is too long fit; at least one."""
    low, high = 1, len(text)
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(text[:middle]) else (low, middle)
    return low


def _font_manager() -> Any:
    return importlib.import_module("matplotlib.font_manager")


@functools.cache
def _default_path() -> str:
    return str(_font_manager().findfont(_DEFAULT))


@functools.lru_cache(maxsize=_MAX_FONTS + 1)
def _letters(path: str) -> frozenset[int]:
    try:
        return frozenset(_font_manager().get_font(path).get_charmap())
    except Exception:  # noqa: BLE001 a font file that cannot be read, or one of bitmaps, is skipped
        return frozenset()


@functools.lru_cache(maxsize=16)
def _choose_families(missing: frozenset[int]) -> tuple[list[str], frozenset[int]]:
    """Return the default font and those that have letters which it lacks, and the letters that no font has."""
    families = [_DEFAULT]
    for font in _candidates() if missing else []:
        if present := missing & _letters(font.fname):
            families.append(font.name)
            missing -= present
        if not missing:
            break
    return families, missing


def _candidates() -> list[Any]:
    fonts = _font_manager().fontManager.ttflist
    plain = [font for font in fonts if font.style == "normal" and font.weight in (400, "normal")]
    unfit = ("Color", "Last Resort")  # bitmaps; a font whose letters are all placeholders
    named = {font.name: font for font in reversed(plain) if not any(word in font.name for word in unfit)}
    likely = sorted(named.values(), key=lambda font: (not any(word in font.name for word in _LIKELY), font.name))
    return likely[:_MAX_FONTS]
