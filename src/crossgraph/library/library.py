"""A picture library on disk: manifest, codes, thumbnails, nearest neighbours, and the model that made them.

manifest.sqlite   the pictures and their files; where other files disagree, it is right
model/            the bundle or run that the codes belong to; model-NNN/ after a change of model
codes/            one record a picture: index vector and region codes
features/         region features, where the user asked for them
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
"""Key that is set while the store holds the vectors of an earlier model."""
_CODE_KEYS = ("layout", "boxes", "generation", "features", STALE)  # keys that belong to the codes
_POINTS = 512


def default_library() -> Path:
    """Return the folder of the user's library: $CROSSGRAPH_LIBRARY, else below $XDG_DATA_HOME or ~/.local/share."""
    if named := os.environ.get("CROSSGRAPH_LIBRARY"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "crossgraph" / "library"


class Library:
    """An open library.

    Args:
        folder: Its folder.
        create: Whether a missing one is made; it then needs `adopt` before anything else.

    Raises:
        InputError: It is missing, damaged, of a newer program, or the folder holds something else.
    """

    def __init__(self, folder: Path, create: bool = False) -> None:
        self.folder = folder
        if create:
            _make_folder(folder)
        self.manifest = Manifest(folder, create)
        self._store: Store | None = None
        if not self.has_model and any((folder / "codes").glob("*")):
            self.manifest.close()
            raise InputError(
                f"{folder / 'manifest.sqlite'}: is damaged: it does not know the model that {folder / 'codes'} is by",
                "restore it from a backup, or remove the folder and index again",
            )

    def __enter__(self) -> Library:
        """Return the library."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the library."""
        self.close()

    def close(self) -> None:
        """Close store and manifest."""
        self.close_store()
        self.manifest.close()

    @property
    def is_read_only(self) -> bool:
        """Return whether the folder cannot be written: it can be searched, and its store is made in memory."""
        return self.manifest.is_read_only

    @property
    def is_empty(self) -> bool:
        """Return whether it holds no encoded picture, so that any model fits."""
        return not self.count()

    @property
    def has_model(self) -> bool:
        """Return whether it has a model."""
        return bool(self.manifest.meta("fingerprint"))

    @cached_property
    def bundle(self) -> Bundle:
        """Return the model that its codes belong to.

        Raises:
            InputError: It is missing or was changed.
        """
        if not self.has_model:
            remedy = "fill it with: crossgraph index PICTURES --model RUN-or-BUNDLE"
            raise InputError(f"{self.folder}: is empty", remedy)
        if not self.has_model_folder:
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
        """Return the name of the model that was copied."""
        return self.manifest.meta("model_name", "model")

    @property
    def model_folder(self) -> Path:
        """Return the folder of the model's copy."""
        return self.folder / self.manifest.meta("model_folder", "model")

    @property
    def has_model_folder(self) -> bool:
        """Return whether the model's copy exists."""
        return self.model_folder.is_dir()

    def restore_model(self, bundle: Bundle) -> None:
        """Copy the model that made the codes into the library again."""
        copy_bundle(bundle, self.model_folder)
        self.unload_model()

    @property
    def layout(self) -> Layout:
        """Return the layout of a record."""
        text = self.manifest.meta("layout")
        if not text:
            raise InputError(f"{self.folder}: holds no picture yet", "fill it with: crossgraph index PICTURES")
        return Layout.from_json(text)

    @property
    def generation(self) -> int:
        """Return the generation of code files that counts."""
        return int(self.manifest.meta("generation", "0"))

    @property
    def boxes(self) -> np.ndarray | None:
        """Return the regions' boxes, (regions, 4) xyxy in 0..1, where they are the same in all pictures."""
        text = self.manifest.meta("boxes")
        return np.array(json.loads(text), dtype=np.float32) if text else None

    @cached_property
    def shards(self) -> Shards:
        """Return the code files."""
        return Shards(self.folder / "codes", self.layout.dtype)

    @property
    def engine(self) -> str:
        """Return the engine of the store: "edge", "memory", or a server's URL."""
        return self.manifest.meta("store", ENGINE)

    @property
    def store(self) -> Store:
        """Return the store of index vectors, which is opened on first use.

        Raises:
            InputError: It is another process's, is down, or holds the vectors of an earlier model.
        """
        if self._store is None:
            if self.store_is_stale and not self.is_read_only:
                problem = f"{self.folder}: its neighbours are an earlier model's"
                raise InputError(problem, "run: crossgraph library rebuild")
            self._store = self._open_store()
        return self._store

    @property
    def store_is_stale(self) -> bool:
        """Return whether a kill has left the store with the vectors of an earlier model."""
        return bool(self.manifest.meta(STALE))

    def close_store(self) -> None:
        """Close the store; its next use opens it again."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def drop_store(self) -> None:
        """Delete the store, and open an empty one.

        Raises:
            InputError: It is another process's, or is down.
        """
        try:
            if self._store is None:
                self._store = self._open_store()
        except OwnedError:
            raise
        except InputError:
            if "#" in self.engine:  # a server's collection of that name; any other broken store is just replaced
                raise
        if drop := getattr(self._store, "drop", None):
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
        """Copy a bundle or run into an empty library as its model.

        Raises:
            InputError: It is neither, or the disk is full.
        """
        bundle = load_bundle(model)
        if self.manifest.meta("layout"):
            self._drop_codes()
        copy_bundle(bundle, self.folder / "model")
        store = {} if engine is None else {"store": engine}
        self.manifest.remember({"model_folder": "model", **model_values(bundle), **store})
        self.unload_model()

    def _drop_codes(self) -> None:
        """Delete codes, features and store of an empty library, which have the sizes of its former model."""
        self.drop_store()
        self.close_store()
        self.manifest.forget(_CODE_KEYS)
        self.unload_model()
        for name in ("codes", "features", "store"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def unload_model(self) -> None:
        """Unload model and codes, so that their next use reads them again."""
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
        picture = self.manifest.get([number]).get(number)
        if picture is None:
            raise InputError(f"picture {number}: is not in the library", "search again")
        return picture

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
        positions = self.manifest.positions(ids)
        missing = [number for number in ids if number not in positions]
        if missing:
            raise InputError(f"picture {missing[0]}: has no codes", "run: crossgraph library verify")
        try:
            return self.shards.read([positions[number] for number in ids], field)
        except InputError:  # another process may just have compacted
            again = self.manifest.positions(ids)
            if again == positions:
                raise
            return self.shards.read([again[number] for number in ids], field)

    def thumbnail(self, sha256: str) -> Path:
        """Return the path of a content's thumbnail."""
        return self.folder / "thumbnails" / sha256[:2] / f"{sha256}.webp"

    def points(self, ids: Sequence[int]) -> Iterator[list[Point]]:
        """Yield the points of some pictures for the store, in chunks."""
        roots = self.manifest.roots()
        for start in range(0, len(ids), _POINTS):
            chunk = ids[start : start + _POINTS]
            pictures, vectors = self.manifest.get(chunk), self.index_vectors(chunk)
            yield [Point(number, vectors[i], pictures[number].fields(roots.values())) for i, number in enumerate(chunk)]

    def info(self) -> dict[str, Any]:
        """Return the facts of `crossgraph library info`, as plain values."""
        bundle = self.bundle if self.has_model else None
        roots = list(self.manifest.roots().values())
        parts = ("manifest.sqlite", "codes", "features", "thumbnails", "store")
        record = self.layout.dtype.itemsize if self.manifest.meta("layout") else 0
        return {
            "folder": str(self.folder),
            "pictures": self.count(),
            "files": self.manifest.connection.execute("SELECT count(*) FROM files").fetchone()[0],
            "broken": self.manifest.count("broken"),
            "roots": [str(root) for root in roots],
            "root_problems": {str(root): text for root, text in root_problems(roots).items()},
            "model": self.model_name if bundle else None,
            "region_encoder": bundle.region_encoder if bundle else None,
            "index": bundle.index_by if bundle else None,
            "calibrated": bool(bundle and bundle.calibration),
            "store": self.engine,
            "codes": self.layout.kind if record else None,
            "bytes_per_picture": record,
            "bytes": {name: _size(self.folder / name) for name in parts} | {"model": _size(self.model_folder)},
            "indexed": self.manifest.meta("indexed") or None,
        }


def model_values(bundle: Bundle) -> dict[str, str]:
    """Return what the manifest keeps of a model."""
    return {
        "fingerprint": bundle.fingerprint,
        "model_name": bundle.name,
        "region_encoder": bundle.region_encoder,
    }


def _make_folder(folder: Path) -> None:
    """Make a library's folder; refuse one that holds something else."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file", "name a folder with --library")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise unwritable(folder, error) from error
    others = [name for name in names if not name.startswith(("library.lock", "model")) and not is_leftover(name)]
    if others and "manifest.sqlite" not in names:
        problem = f"{folder}: holds other files ({min(others)}) and no library"
        raise InputError(problem, "name a new folder with --library")


def _size(path: Path) -> int:
    """Return the bytes that a file or folder takes on the disk; sparse files take less than their length."""
    total = 0
    for file in [path] if path.is_file() else path.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_blocks * 512 if file.is_file() else 0
    return total
