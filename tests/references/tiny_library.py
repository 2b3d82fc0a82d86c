"""A picture library of a few numbers, for tests: pictures of noise, the tiny run, the tiny region encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from references.tiny_regions import TinyRegions
from references.tiny_run import write_tiny_run

from crossgraph.library import Library, maintenance
from crossgraph.library.indexer import Outcome, Settings, index_pictures
from crossgraph.store import parse_filter


def write_picture(path: Path, seed: int, size: tuple[int, int] = (48, 32), **options: object) -> Path:
    """Write a picture that looks like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 255, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    Image.fromarray(blocks.repeat(4, axis=0).repeat(4, axis=1)).save(path, **options)
    return path


def write_pictures(folder: Path, count: int, start: int = 0) -> Path:
    """Write so many pictures."""
    for number in range(start, start + count):
        write_picture(folder / f"{number:03}.png", number)
    return folder


def new_library(folder: Path, engine: str = "memory", model: Path | None = None) -> Library:
    """Make an empty library with a model."""
    model = model or write_tiny_run(folder.parent / "model")
    library = Library(folder, create=True)
    library.adopt(model, engine)
    return library


def index(library: Library, *roots: Path, **settings: object) -> Outcome:
    """Index with the tiny region encoder."""
    return index_pictures(library, roots, Settings(**settings), encoder=TinyRegions())  # type: ignore[arg-type]


def names(library: Library) -> dict[str, int]:
    """Return the id at every path, by file name."""
    found = library.manifest.get(library.manifest.ids())
    return {path.name: picture.id for picture in found.values() for path in picture.paths}


def quiet(*said: object) -> None:
    pass


def check(library: Library) -> None:
    """Manifest, codes, thumbnails and store agree; the store knows every path."""
    assert not maintenance.verify(library, quiet).missing
    ids = library.manifest.ids()
    assert list(library.store.ids()) == ids
    assert library.codes(ids).local.shape[0] == len(ids)
    pictures = library.manifest.get(ids)
    thumbnails = {path.stem for path in (library.folder / "thumbnails").glob("*/*")}
    assert thumbnails == {picture.sha256 for picture in pictures.values()}
    for (point,) in (points for number in ids for points in library.points([number])):
        assert library.store.search(point.vector, 1000), "there are neighbours"
    for picture in pictures.values():
        for path in picture.paths:
            assert library.store.count(parse_filter(f'path = "{path}"')) == 1, "found by where it lies now"
