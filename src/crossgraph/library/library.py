"""A picture library on disk: manifest, codes, thumbnails, nearest neighbours, and the model that made them.

manifest.sqlite   which pictures there are, and where (the truth)
model/            the bundle or run that the codes belong to; model-NNN/ after another has taken its place
codes/            one record a picture: index vector and region codes
features/         region features, where they were to be kept
thumbnails/       WebP, by content
store/            nearest neighbours; can be made again at any time
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from crossgraph.bundle.bundle import Bundle
from crossgraph.bundle.folder import copy_bundle, load_bundle
from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode
from crossgraph.files import is_leftover, unwritable
from crossgraph.library.manifest import Manifest, Picture
from crossgraph.library.records import Layout, Shards, unpack
from crossgraph.library.roots import root_problems
from crossgraph.progress import ProgressDisplay
from crossgraph.scoring.engine import choose_device
from crossgraph.store import ENGINES, Point, Store, open_store
from crossgraph.store.folder import OwnedError

ENGINE = "edge"
STALE = "stale_store"
"""Remembered while the store holds the vectors of an earlier model."""
_OF_MODEL = ("layout", "boxes", "generation", "features", STALE)  # values that belong to the codes
_POINTS = 512


def default_library() -> Path:
    """Return where a person's library lies: $CROSSGRAPH_LIBRARY, else below $XDG_DATA_HOME or ~/.local/share."""
    if named := os.environ.get("CROSSGRAPH_LIBRARY"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "crossgraph" / "library"


class Library:
    """A library, open.

    Args:
        folder: Where it lies.
        create: Whether a missing one is made; it then needs `adopt` before anything else.

    Raises:
        InputError: It is missing, damaged, of a newer program, or the folder holds something else.
    """

    def __init__(self, folder: Path, create: bool = False) -> None:
        self.folder = folder
        if create:
            _claim(folder)
        self.manifest = Manifest(folder, create)
        self._store: Store | None = None
        if not self.has_model and any((folder / "codes").glob("*")):
            self.manifest.close()
            raise InputError(
                f"{folder / 'manifest.sqlite'}: is damaged: it does not know the model that {folder / 'codes'} is by",
                "restore it from a backup, or remove the folder and index again",
            )

    def __enter__(self) -> Library:
        """Return it."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give everything back."""
        if self._store is not None:
            self._store.close()
            self._store = None
        self.manifest.close()

    @property
    def is_read_only(self) -> bool:
        """Whether its folder cannot be written: it can be searched, and its store is made in memory."""
        return self.manifest.is_read_only

    @property
    def is_empty(self) -> bool:
        """Whether it holds no picture that was encoded, so that any model fits."""
        return not self.count()

    @property
    def has_model(self) -> bool:
        """Whether it knows what encodes its pictures."""
        return bool(self.manifest.meta("fingerprint"))

    @cached_property
    def bundle(self) -> Bundle:
        """The model that its codes belong to.

        Raises:
            InputError: It is missing or was changed.
        """
        if not self.has_model:
            raise InputError(
                f"{self.folder}: is empty", "fill it with: crossgraph index PICTURES --model RUN-or-BUNDLE"
            )
        if not self.model_is_there:
            raise InputError(
                f"{self.model_folder}: no such folder, and it held the model of the codes",
                "put it back with: crossgraph index --model RUN-or-BUNDLE, or add --reencode for another",
            )
        bundle = load_bundle(self.model_folder).to(choose_device("auto"))
        if bundle.fingerprint != self.manifest.meta("fingerprint"):
            raise InputError(
                f"{self.model_folder}: is not the model that the codes were made by",
                "put it back, or encode anew with: crossgraph index --reencode --model RUN-or-BUNDLE",
            )
        return bundle

    @property
    def model_name(self) -> str:
        """What its model was called where it came from."""
        return self.manifest.meta("model_name", "model")

    @property
    def model_folder(self) -> Path:
        """Where the copy of its model lies."""
        return self.folder / self.manifest.meta("model_folder", "model")

    @property
    def model_is_there(self) -> bool:
        """Whether the copy of its model was not taken away."""
        return self.model_folder.is_dir()

    def put_model_back(self, bundle: Bundle) -> None:
        """Copy its model into the library again; it must be the one that the codes were made by."""
        copy_bundle(bundle, self.model_folder)
        self.forget_model()

    @property
    def layout(self) -> Layout:
        """What a record holds."""
        text = self.manifest.meta("layout")
        if not text:
            raise InputError(f"{self.folder}: holds no picture yet", "fill it with: crossgraph index PICTURES")
        return Layout.from_json(text)

    @property
    def generation(self) -> int:
        """Which generation of code files counts."""
        return int(self.manifest.meta("generation", "0"))

    @property
    def boxes(self) -> np.ndarray | None:
        """Where the regions lie, (regions, 4) xyxy in 0..1, where they are the same in all pictures."""
        text = self.manifest.meta("boxes")
        return np.array(json.loads(text), dtype=np.float32) if text else None

    @cached_property
    def shards(self) -> Shards:
        """The code files."""
        return Shards(self.folder / "codes", self.layout.dtype)

    @property
    def engine(self) -> str:
        """Which engine keeps the nearest neighbours: "edge", "memory", or a server's URL."""
        return self.manifest.meta("store", ENGINE)

    @property
    def store(self) -> Store:
        """Nearest neighbours, opened when first asked for.

        Raises:
            InputError: It is another process's, is down, or holds the vectors of an earlier model.
        """
        if self._store is None:
            if self.store_is_stale and not self.is_read_only:
                raise InputError(
                    f"{self.folder}: its neighbours are an earlier model's", "run: crossgraph library rebuild"
                )
            self._store = self._open_store()
        return self._store

    @property
    def store_is_stale(self) -> bool:
        """Whether a kill has left the store with the vectors of an earlier model."""
        return bool(self.manifest.meta(STALE))

    def close_store(self) -> None:
        """Give the store back; it is opened again when asked for."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def drop_store(self) -> None:
        """Throw the store away, and open an empty one.

        Raises:
            InputError: It is another process's, or is down.
        """
        try:
            if self._store is None:
                self._store = self._open_store()
        except OwnedError:
            raise
        except InputError:
            if "#" in self.engine:
                raise  # else a broken store is no loss: the next one gets another name
        drop = getattr(self._store, "drop", None)
        if drop is not None:
            drop()
        self.close_store()
        shutil.rmtree(self.folder / "store", ignore_errors=True)
        self._store = self._open_store()

    def _open_store(self) -> Store:
        if self.is_read_only and self.engine in ENGINES:
            return self._store_in_memory()
        return open_store(self.engine, self.folder / "store", self.layout.index)

    def _store_in_memory(self) -> Store:
        """Return a store in memory, filled from the codes: engines on disk need a folder that they can write."""
        store, ids, done = open_store("memory", None, self.layout.index), self.manifest.ids(), 0
        with ProgressDisplay() as display:
            for points in self.points(ids):
                store.upsert(points)
                done += len(points)
                display.update("reading index vectors", done, len(ids))
        return store

    def adopt(self, model: Path, engine: str | None = None) -> None:
        """Copy a bundle or run into the library as its model; the library holds no picture.

        Raises:
            InputError: It is neither, or the disk is full.
        """
        bundle = load_bundle(model)
        if self.manifest.meta("layout"):
            self._drop_codes()
        copy_bundle(bundle, self.folder / "model")
        values = {"model_folder": "model"}
        values |= {
            "fingerprint": bundle.fingerprint,
            "model_name": bundle.name,
            "region_encoder": bundle.region_encoder,
        }
        if engine is not None:
            values["store"] = engine
        self.manifest.remember(values)
        self.forget_model()

    def _drop_codes(self) -> None:
        """Delete codes, features and store of an empty library: they have the sizes of its former model."""
        self.drop_store()
        self.close_store()
        self.manifest.forget(_OF_MODEL)
        self.forget_model()
        for name in ("codes", "features", "store"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def forget_model(self) -> None:
        """Drop what was loaded of model and codes, so that it is read again."""
        for name in ("bundle", "shards"):
            self.__dict__.pop(name, None)

    def count(self) -> int:
        """Return how many pictures can be found."""
        return self.manifest.count()

    def get(self, number: int) -> Picture:
        """Return a picture.

        Raises:
            InputError: There is none with that id.
        """
        found = self.manifest.get([number]).get(number)
        if found is None:
            raise InputError(f"picture {number}: is not in the library", "search again")
        return found

    def codes(self, ids: Sequence[int]) -> ImageCode:
        """Return the re-ranker's codes of some pictures, float32 on the CPU, in the order given.

        Raises:
            InputError: A picture has none.
        """
        return unpack(self.layout, self.records(ids))

    def index_vectors(self, ids: Sequence[int]) -> Float32[np.ndarray, "img code"]:
        """Return the index vectors of some pictures, in the order given.

        Raises:
            InputError: A picture has none.
        """
        return self.records(ids, "index")

    def records(self, ids: Sequence[int], field: str | None = None) -> np.ndarray:
        """Return the stored records of some pictures, or one field of them.

        Raises:
            InputError: A picture has none.
        """
        places = self.manifest.places(ids)
        missing = [number for number in ids if number not in places]
        if missing:
            raise InputError(f"picture {missing[0]}: has no codes", "run: crossgraph library verify")
        try:
            return self.shards.read([places[number] for number in ids], field)
        except InputError:  # another process may just have compacted
            again = self.manifest.places(ids)
            if again == places:
                raise
            return self.shards.read([again[number] for number in ids], field)

    def thumbnail(self, sha256: str) -> Path:
        """Return where a content's thumbnail lies."""
        return self.folder / "thumbnails" / sha256[:2] / f"{sha256}.webp"

    def points(self, ids: Sequence[int]) -> Iterator[list[Point]]:
        """Yield what the store must hold for some pictures, some at a time."""
        roots = self.manifest.roots()
        for start in range(0, len(ids), _POINTS):
            some = list(ids[start : start + _POINTS])
            pictures, vectors = self.manifest.get(some), self.index_vectors(some)
            yield [
                Point(number, vectors[row], pictures[number].fields(roots.values())) for row, number in enumerate(some)
            ]

    def info(self) -> dict[str, Any]:
        """Return what there is to know, as plain values."""
        bundle = self.bundle if self.has_model else None
        record = self.layout.dtype.itemsize if self.manifest.meta("layout") else 0
        return {
            "folder": str(self.folder),
            "pictures": self.count(),
            "files": self.manifest.connection.execute("SELECT count(*) FROM files").fetchone()[0],
            "broken": self.manifest.count("broken"),
            "roots": [str(root) for root in self.manifest.roots().values()],
            "root_problems": {str(root): text for root, text in root_problems(self.manifest.roots().values()).items()},
            "model": self.model_name if bundle else None,
            "region_encoder": bundle.region_encoder if bundle else None,
            "index": bundle.index_by if bundle else None,
            "calibrated": bool(bundle and bundle.calibration),
            "store": self.engine,
            "codes": self.layout.kind if record else None,
            "bytes_per_picture": record,
            "bytes": {
                name: _size(self.folder / name)
                for name in ("manifest.sqlite", "codes", "features", "thumbnails", "store")
            }
            | {"model": _size(self.model_folder)},
            "indexed": self.manifest.meta("indexed") or None,
        }


def _claim(folder: Path) -> None:
    """Make the folder, or refuse one that holds something else."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file", "name a folder with --library")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise unwritable(folder, error) from error
    strangers = [name for name in names if not name.startswith(("library.lock", "model")) and not is_leftover(name)]
    if strangers and "manifest.sqlite" not in names:
        raise InputError(
            f"{folder}: holds other files ({min(strangers)}) and no library", "name a new folder with --library"
        )


def _size(path: Path) -> int:
    """Return the room that a file or folder takes on the disk; files with holes take less than they seem to."""
    total = 0
    for file in [path] if path.is_file() else path.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_blocks * 512 if file.is_file() else 0
    return total
