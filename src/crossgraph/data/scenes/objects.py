"""The things that scenes are made of: about ninety, named by Unicode, drawn by OpenMoji (three by us).

A thing's name is its Unicode name in small letters ("1F415" is DOG) unless the table gives
another word. Things with a `paint` family can be given any of the colours.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

COLOURS: Mapping[str, tuple[str, str]] = {
    "red": ("#ea5a47", "#c22a22"),
    "orange": ("#f7943a", "#dd6f1d"),
    "yellow": ("#fcea2b", "#f1c01c"),
    "green": ("#7fbf3a", "#4f8a2b"),
    "blue": ("#4d96e0", "#1e50a0"),
    "purple": ("#a67bd0", "#73489f"),
    "pink": ("#ffa7c8", "#e8779f"),
}
"""The colours of captions, each as a light and a dark shade."""

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "red": ("#ea5a47", "#d22f27"),
    "orange": ("#f4aa41", "#e27022"),
    "yellow": ("#fcea2b", "#f1b31c"),
    "green": ("#b1cc33", "#5c9e31", "#186648"),
    "blue": ("#92d3f5", "#61b2e4"),
    "purple": ("#b399c8", "#8967aa"),
    "pink": ("#ffa7c0", "#e67a94"),
    "brown": ("#a57939", "#6a462f"),
}
"""OpenMoji's own shades, lightest first, which repainting replaces by a colour of ours."""


@dataclass(frozen=True)
class Thing:
    """A kind of object.

    Attributes:
        name: Singular, without article: "dog".
        plural: "dogs".
        kind: Its class in one word: "animal", "vehicle", ...
        art: Stem of OpenMoji's SVG file (the code point in hexadecimal), or "own-NAME" for our drawings.
        size: Geometric mean of its width and height as a share of the picture's height.
        air: True where it floats instead of standing.
        paint: Family of `FAMILIES` that a colour replaces; empty where the thing has one look.
        role: Whether it can hold things ("container"), carry them ("support") or cover them ("roof").
        surface: Height of the rim, the top or the shelter as a share of its own height from its top.
    """

    name: str
    plural: str
    kind: str
    art: str
    size: float
    air: bool = False
    paint: str = ""
    role: Literal["", "container", "support", "roof"] = ""
    surface: float = 0.0


IRREGULAR = {
    "sheep": "sheep",
    "butterfly": "butterflies",
    "cactus": "cactuses",
    "strawberry": "strawberries",
    "snowman": "snowmen",
    "deer": "deer",
}


def plural(name: str) -> str:
    """Return the plural of a name of the catalogue: "bus" → "buses"."""
    if name in IRREGULAR:
        return IRREGULAR[name]
    return name + ("es" if name.endswith(("s", "sh", "ch", "x")) else "s")


def article(phrase: str) -> str:
    """Return "a" or "an" for what follows (no name of the catalogue begins like "unicorn" or "hour")."""
    return "an" if phrase[0] in "aeiou" else "a"


def unicode_name(art: str) -> str:
    """Return the Unicode name of a code point in hexadecimal, in small letters: "1F415" → "dog"."""
    return unicodedata.name(chr(int(art, 16))).lower()


def _things(kind: str, size: float, table: str, *, air: bool = False) -> list[Thing]:
    """Read entries `CODE[/paint][=spoken_name]`."""
    things: list[Thing] = []
    for entry in table.split():
        code, _, spoken = entry.partition("=")
        art, _, paint = code.partition("/")
        name = spoken.replace("_", " ") or unicode_name(art)
        things.append(Thing(name, plural(name), kind, art, size, air, paint))
    return things


CATALOGUE: tuple[Thing, ...] = (
    *_things("animal", 0.17, "1F407 1F986 1F427 1F422 1F989 1F40C 1F994 1F43F=squirrel 1F413 1F980"),
    *_things("animal", 0.23, "1F415 1F408 1F416 1F411 1F410 1F998 1F9A2 1F9A9 1F412 1F40D 1F99A"),
    *_things("animal", 0.29, "1F40E 1F404 1F42A=camel 1F993=zebra 1F405 1F98C 1F40A 1F996=dinosaur"),
    *_things("animal", 0.35, "1F418 1F992=giraffe"),
    *_things("animal", 0.17, "1F98B/blue 1F41D=bee", air=True),
    *_things("vehicle", 0.30, "1F697/red=car 1F68C/red=bus 1F69C 1F6B2/red 1F6F5/red=scooter 1F691 1F692=fire_engine"),
    *_things("vehicle", 0.32, "1F682=train"),
    *_things("vehicle", 0.24, "1F681 2708 1F680 1F6F8", air=True),
    *_things("plant", 0.20, "1F337/orange 1F339 1F33B 1F344/red 1FAB4"),
    *_things("plant", 0.33, "1F332=fir_tree 1F335"),
    *_things("building", 0.38, "1F3E0=house 1F3F0=castle 26FA"),
    *_things("food", 0.16, "1F34E/red=apple 1F34C 1F34D 1F349 1F350 1F353 1F955 1F354 1F369 1F9C1 1F366=ice_cream"),
    *_things("food", 0.19, "1F382=cake 1F383=pumpkin"),
    *_things("toy", 0.19, "1F388/red 1FA81/pink 2764/red=heart 2B50=star", air=True),
    *_things("toy", 0.18, "26BD=football 1F3C0=basketball 1F9F8 1F381/yellow=present"),
    *_things("instrument", 0.22, "1F3B8 1F3BA 1F941=drum"),
    *_things("thing", 0.16, "1F4D5/red=book 1F9E2/green=cap 1F455/blue=shirt 1F451 1F514 1F462/brown=boot 23F0"),
    *_things("thing", 0.21, "1F4F7 1F3C6 1F392/red=backpack 1F6CB/blue=sofa 1FA91/yellow"),
    *_things("thing", 0.25, "26C4=snowman 1FA9C"),
    Thing("basket", "baskets", "thing", "1F9FA", 0.25, role="container", surface=0.33),
    Thing("bucket", "buckets", "thing", "1FAA3", 0.25, paint="blue", role="container", surface=0.38),
    Thing("bathtub", "bathtubs", "thing", "1F6C1", 0.30, role="container", surface=0.46),
    Thing("box", "boxes", "thing", "own-box", 0.27, role="container", surface=0.30),
    Thing("table", "tables", "thing", "own-table", 0.36, role="support", surface=0.14),
    Thing("bench", "benches", "thing", "own-bench", 0.30, role="support", surface=0.64),
    Thing("umbrella", "umbrellas", "thing", "2602", 0.40, paint="purple", role="roof", surface=0.45),
    Thing("palm tree", "palm trees", "plant", "1F334", 0.46, role="roof", surface=0.48),
)
"""All things, in a fixed order: scenes draw from it by position."""

BY_NAME: Mapping[str, Thing] = {thing.name: thing for thing in CATALOGUE}

STANDING: tuple[Thing, ...] = tuple(t for t in CATALOGUE if not t.air and not t.role)
FLOATING: tuple[Thing, ...] = tuple(t for t in CATALOGUE if t.air)
SMALL: tuple[Thing, ...] = tuple(t for t in STANDING if t.size <= 0.23)
PAINTED: tuple[Thing, ...] = tuple(t for t in CATALOGUE if t.paint and t.role in ("", "container"))
CONTAINERS: tuple[Thing, ...] = tuple(t for t in CATALOGUE if t.role == "container")
SUPPORTS: tuple[Thing, ...] = tuple(t for t in CATALOGUE if t.role == "support")
ROOFS: tuple[Thing, ...] = tuple(t for t in CATALOGUE if t.role == "roof" or t.name == "table")

DRAWINGS: Mapping[str, str] = {
    "own-box": """<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">
      <g stroke="#000" stroke-width="2" stroke-linejoin="round">
      <path fill="#6a462f" d="M14 25h44v14H14z"/>
      <path fill="#c69a5b" d="M14 34L5 27l8-8 9 9zM58 34l9-7-8-8-9 9z"/><path fill="#d9ae6e" d="M14 34h44v28H14z"/>
      <path fill="#c1924f" stroke="none" d="M15 35h42v5H15z"/><path fill="#b98545" d="M31 34h10v9H31z"/></g></svg>""",
    "own-table": """<svg viewBox="0 0 72 56" xmlns="http://www.w3.org/2000/svg">
      <g stroke="#000" stroke-width="2" stroke-linejoin="round">
      <path fill="#6a462f" d="M14 14h4v32h-4zM54 14h4v32h-4z"/><path fill="#a57939" d="M6 14h5v40H6zM61 14h5v40h-5z"/>
      <path fill="#a57939" d="M7 13h58v6H7z"/><path fill="#c69a5b" d="M9 2h54l7 9v3H2v-3z"/>
      <path fill="none" stroke-width="1.4" d="M2 11h68"/></g></svg>""",
    "own-bench": """<svg viewBox="0 0 72 44" xmlns="http://www.w3.org/2000/svg">
      <g stroke="#000" stroke-width="2" stroke-linejoin="round">
      <path fill="#6a462f" d="M10 2h4v24h-4zM58 2h4v24h-4z"/>
      <path fill="#a57939" d="M5 4h62v6H5zM5 13h62v6H5z"/>
      <path fill="#6a462f" d="M8 31h5v11H8zM59 31h5v11h-5z"/>
      <path fill="#c69a5b" d="M6 24h60l4 5H2z"/><path fill="#a57939" d="M2 29h68v3H2z"/></g></svg>""",
}
"""Things that OpenMoji has no side view of, drawn by this project in its manner."""
