"""Write and read feature folders: float16 shards and a manifest; a kill loses at most one shard.

    FEATURES/manifest.json                      which picture lies where, and what made the features
    FEATURES/features-00000.npy                 float16 (rows, R, D)
    FEATURES/boxes-00000.npy                    float32 (rows, R, 4), xyxy in 0..1

While pictures are being extracted, a shard is complete, synced and renamed before its journal
(`shard-00000.json`) names it; the manifest replaces the journals at the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data.manifest import MANIFEST, EncoderInfo, Manifest, Picture, Shard, read_manifest
from crossgraph.data.npy_file import MappedArray, read_header
from crossgraph.files import atomic_write, write_json
from crossgraph.locks import FileLock

__all__ = ["EncoderInfo", "Picture", "ShardFeatures", "ShardFolder", "ShardWriter"]


class ShardWriter:
    """Appends pictures to a feature folder, going on where an earlier run stopped.

    Use as a context manager: leaving the block, also by an exception or Ctrl-C, writes what is buffered.

    Args:
        folder: The feature folder; made when missing.
        encoder: What makes the features; must equal what made those already there.
        shard_rows: Pictures a shard holds; a kill loses at most so many.

    Raises:
        InputError: The folder cannot be written, another process writes it, or it holds another
            encoder's features.
    """

    def __init__(self, folder: Path, encoder: EncoderInfo, shard_rows: int = 256) -> None:
        self.folder = Path(folder)
        self.encoder = encoder
        self._shard_rows = shard_rows
        self._buffer: list[tuple[Picture, np.ndarray, np.ndarray]] = []
        self._shards: dict[str, Shard] = {}
        self._pictures: dict[str, Picture] = {}
        try:
            self._lock = FileLock(self.folder / ".lock", required=False)
        except BlockingIOError as error:
            problem = f"{folder}: another process is writing it"
            raise InputError(problem, "wait for it, or choose another folder") from error
        try:
            self._recover()
        except BaseException:
            self._lock.release()
            raise

    @property
    def done(self) -> Mapping[str, str]:
        """The pictures already on disk: id → sha256 of the picture file that they were made from."""
        return {name: picture.sha256 for name, picture in self._pictures.items()}

    def append(self, picture: Picture, features: np.ndarray, boxes: np.ndarray) -> None:
        """Add a picture; it replaces an older entry of the same id.

        Args:
            picture: Its id, size and content digest.
            features: (R, D), finite also in float16.
            boxes: (R, 4), xyxy in 0..1.

        Raises:
            InputError: The values overflow float16 or are NaN, the id is not valid UTF-8, or the disk is full.
            ValueError: The shapes are not the encoder's.
        """
        expected = (self.encoder.regions, self.encoder.feature_size)
        if features.shape != expected or boxes.shape != (self.encoder.regions, 4):
            raise ValueError(f"{picture.id}: features {features.shape}, boxes {boxes.shape}; expected {expected}, 4")
        try:
            picture.id.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"{picture.id!r}: the file's name is not UTF-8", "rename it") from error
        with np.errstate(over="ignore"):
            halves = np.asarray(features, dtype=np.float16)
        if not np.isfinite(halves).all():
            raise InputError(f"{picture.id}: its features are NaN or too large for float16", "check the region encoder")
        self._buffer.append((picture, halves, np.asarray(boxes, dtype=np.float32)))
        if len(self._buffer) >= self._shard_rows:
            self.flush()

    def flush(self) -> None:
        """Write the buffered pictures as a shard of their own, then its journal.

        Raises:
            InputError: The disk is full or the folder cannot be written.
        """
        if not self._buffer:
            return
        numbers = (int(file.removesuffix(".npy").rpartition("-")[2]) for file in self._shards)
        name = f"{max(numbers, default=-1) + 1:05d}"
        pictures, features, boxes = zip(*self._buffer, strict=True)
        file, box_file = f"features-{name}.npy", f"boxes-{name}.npy"
        digests = [self._write(path, np.stack(v)) for path, v in ((file, features), (box_file, boxes))]
        shard = Shard(file, len(pictures), digests[0], box_file, digests[1])
        placed = [replace(picture, shard=file, row=row) for row, picture in enumerate(pictures)]
        write_json(self.folder / f"shard-{name}.json", Manifest(self.encoder, [shard], placed).to_json())
        self._shards[file] = shard
        self._pictures |= {picture.id: picture for picture in placed}
        self._buffer = []

    def finish(self, ids: Sequence[str], broken: Sequence[tuple[str, str]] = ()) -> Path:
        """Write the manifest: the set is complete.

        Args:
            ids: The pictures it shall hold, in this order; others that an earlier run left are dropped.
            broken: Pictures that could not be read, with the reason.

        Returns:
            The manifest's path.

        Raises:
            InputError: The disk is full or the folder cannot be written.
            KeyError: An id was never appended.
        """
        self.flush()
        self._pictures = {name: self._pictures[name] for name in ids}
        used = {picture.shard for picture in self._pictures.values()}
        self._shards = {file: shard for file, shard in sorted(self._shards.items()) if file in used}
        manifest = Manifest(self.encoder, list(self._shards.values()), list(self._pictures.values()), broken)
        write_json(self.folder / MANIFEST, manifest.to_json())
        used |= {shard.boxes for shard in self._shards.values()}
        for pattern in ("shard-*.json", "features-*.npy", "boxes-*.npy"):
            for file in self.folder.glob(pattern):
                if file.name not in used:
                    file.unlink(missing_ok=True)
        return self.folder / MANIFEST

    def close(self) -> None:
        """Release the folder's lock; what is buffered is lost unless flushed."""
        self._lock.release()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flush and close; when an exception is on its way, a failing flush does not hide it."""
        try:
            with contextlib.suppress(InputError) if kind else contextlib.nullcontext():
                self.flush()
        finally:
            self.close()

    def _write(self, name: str, array: np.ndarray) -> str:
        stream = io.BytesIO()
        np.save(stream, array)
        with atomic_write(self.folder / name) as file:
            file.write(stream.getbuffer())
        return hashlib.sha256(stream.getbuffer()).hexdigest()

    def _recover(self) -> None:
        """Read what an earlier run wrote: the pictures of all complete shards."""
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        manifests = [self.folder / MANIFEST] if (self.folder / MANIFEST).exists() else []
        for path in [*manifests, *sorted(self.folder.glob("shard-*.json"))]:
            earlier = read_manifest(path, "move it away and run the same command again")
            if earlier.encoder != self.encoder:
                names = [
                    f"{e.name} ({e.sha256[:8]}, {e.regions} × {e.feature_size})"
                    for e in (earlier.encoder, self.encoder)
                ]
                problem = f"{self.folder}: holds features by {names[0]}, not by {names[1]}"
                raise InputError(problem, "choose another --out folder")
            whole = {shard.file: shard for shard in earlier.shards if self._is_whole(shard)}
            self._shards |= whole
            self._pictures |= {picture.id: picture for picture in earlier.pictures if picture.shard in whole}

    def _is_whole(self, shard: Shard) -> bool:
        try:
            features, boxes = (read_header(self.folder / file)[0] for file in (shard.file, shard.boxes))
        except InputError:
            return False
        return (features, boxes) == _shapes(shard, self.encoder)


def _shapes(shard: Shard, encoder: EncoderInfo) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of a shard's features and boxes."""
    rows = (shard.rows, encoder.regions)
    return (*rows, encoder.feature_size), (*rows, 4)


class ShardFeatures:
    """Features of chosen pictures of a feature folder; a `crossgraph.data.split.FeatureSource`.

    Args:
        folder: The feature folder.
        manifest: Its manifest, already read.
        ids: The chosen pictures, in this order; all of them when None.

    Raises:
        InputError: A shard is missing, truncated or of another shape than the manifest says.
        KeyError: An id is not in the manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest, ids: Sequence[str] | None = None) -> None:
        pictures = {picture.id: picture for picture in manifest.pictures}
        self.ids = list(pictures) if ids is None else list(ids)
        chosen = [pictures[name] for name in self.ids]
        self.folder = Path(folder)
        self._encoder = manifest.encoder
        used = {picture.shard for picture in chosen}
        shards = [shard for shard in manifest.shards if shard.file in used]
        number = {shard.file: position for position, shard in enumerate(shards)}
        self._shard = np.array([number[picture.shard] for picture in chosen], dtype=np.int64)
        self._row = np.array([picture.row for picture in chosen], dtype=np.int64)
        self._digests = [shard.sha256 for shard in shards]
        self._arrays = [self._open(shard) for shard in shards]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures, regions of a picture, feature width D."""
        return len(self.ids), self._encoder.regions, self._encoder.feature_size

    @property
    def encoder(self) -> str:
        """Name of the region encoder that made them."""
        return self._encoder.name

    def read(self, rows: Sequence[int] | np.ndarray) -> Regions:
        """Read pictures by row, as float32, in the given order.

        Raises:
            InputError: A value is NaN or infinite; the file and picture are named.
        """
        rows = np.asarray(rows, dtype=np.int64)
        features = np.empty((len(rows), *self.shape[1:]), dtype=np.float32)
        boxes = np.empty((len(rows), self.shape[1], 4), dtype=np.float32)
        for number in np.unique(self._shard[rows]):
            here = np.flatnonzero(self._shard[rows] == number)
            for values, array in zip((features, boxes), self._arrays[number], strict=True):
                names = [f"picture '{self.ids[row]}'" for row in rows[here]]
                values[here] = array.rows(self._row[rows[here]], names.__getitem__)
        mask = torch.ones(len(rows), self.shape[1], dtype=torch.bool)
        return Regions(torch.from_numpy(features), mask, torch.from_numpy(boxes))

    def fingerprint(self) -> str:
        """Return a digest of the encoder, the shards' own digests and the chosen rows."""
        digest = hashlib.sha256(f"{self._encoder}{self._digests}".encode())
        digest.update(self._shard.tobytes() + self._row.tobytes())
        return digest.hexdigest()

    def _open(self, shard: Shard) -> list[MappedArray]:
        axes = ("pictures", "regions", "feature size")
        arrays = [MappedArray(self.folder / file, axes) for file in (shard.file, shard.boxes)]
        for array, shape in zip(arrays, _shapes(shard, self._encoder), strict=True):
            if array.shape != shape:
                problem = f"{array.path}: shape {array.shape}, the manifest says {shape}"
                raise InputError(problem, "extract these pictures again")
        return arrays


class ShardFolder:
    """A feature folder that `crossgraph extract` made, of which splits choose pictures.

    Args:
        path: The folder.

    Attributes:
        ids: The pictures that have features.
        broken: The pictures that could not be read when features were made.

    Raises:
        InputError: Its manifest is missing or broken, or it holds no picture.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._manifest = path, read_manifest(path / MANIFEST)
        self.ids = [picture.id for picture in self._manifest.pictures]
        self.broken = [name for name, _ in self._manifest.broken]
        if not self.ids:
            raise InputError(f"{path}: holds the features of no picture", "extract the pictures again")

    def choose(self, rows: Sequence[int]) -> ShardFeatures:
        """Return the features of some pictures, in this order."""
        return ShardFeatures(self._path, self._manifest, [self.ids[row] for row in rows])

    def contents(self, rows: Sequence[int | None]) -> list[str]:
        """Return the digests of the picture files."""
        return ["" if row is None else self._manifest.pictures[row].sha256 for row in rows]
