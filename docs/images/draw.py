"""Draws the example pictures of docs/scenes.md: `python docs/images/draw.py`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from crossgraph.data.scenes import hard_scene, scene

SIDE, GAP = 220, 8


def sheet(pictures: list[Image.Image], columns: int, path: Path) -> None:
    """Lay pictures out in rows and save them as a PNG."""
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * (SIDE + GAP) - GAP, rows * (SIDE + GAP) - GAP), "white")
    for k, picture in enumerate(pictures):
        page.paste(picture, ((k % columns) * (SIDE + GAP), (k // columns) * (SIDE + GAP)))
    page.save(path, optimize=True)


def main() -> None:
    """Draw both pages beside this file."""
    here = Path(__file__).parent
    ordinary = [scene(0, index, SIDE).picture for index in (55, 26, 25, 59, 29, 51, 56, 45)]
    sheet(ordinary, 4, here / "scenes.png")
    pairs = [hard_scene(0, index, SIDE).picture for index in (6, 2, 4, 7, 3, 5)]
    sheet(pairs, 3, here / "hard-pairs.png")


if __name__ == "__main__":
    main()
