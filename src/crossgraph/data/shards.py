"""The project's own feature folder: float16 shards and a manifest, written so that a kill loses little.

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
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data.manifest import (
    MANIFEST,
    EncoderInfo,
    Manifest,
    Picture,
    Place,
    Shard,
    read_manifest,
)
from crossgraph.data.mapped import MappedArray, read_header
from crossgraph.files import atomic_write, write_json
from crossgraph.locks import FileLock

__all__ = ["EncoderInfo", "Picture", "ShardFeatures", "ShardWriter"]


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
        self._places: dict[str, Place] = {}
        self._lock = _lock(self.folder)
        try:
            self._recover()
        except BaseException:
            self._lock.release()
            raise

    @property
    def done(self) -> Mapping[str, str]:
        """The pictures already safe on disk: id → sha256 of the picture file they were made from."""
        return {name: place.picture.sha256 for name, place in self._places.items()}

    def append(self, picture: Picture, features: np.ndarray, boxes: np.ndarray) -> None:
        """Add one picture; it replaces an older entry of the same id.

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
            raise InputError(
                f"{picture.id}: its features are NaN or too large for float16",
                "check the region encoder",
            )
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
        number = 1 + max(
            (int(file.removesuffix(".npy").rpartition("-")[2]) for file in self._shards),
            default=-1,
        )
        pictures, features, boxes = zip(*self._buffer, strict=True)
        file, box_file = f"features-{number:05d}.npy", f"boxes-{number:05d}.npy"
        digest, box_digest = (
            self._write(file, np.stack(features)),
            self._write(box_file, np.stack(boxes)),
        )
        shard = Shard(file, len(pictures), digest, box_file, box_digest)
        places = [Place(picture, file, row) for row, picture in enumerate(pictures)]
        write_json(
            self.folder / f"shard-{number:05d}.json",
            Manifest(self.encoder, [shard], places).to_json(),
        )
        self._shards[file] = shard
        self._places |= {place.picture.id: place for place in places}
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
        places = [self._places[name] for name in ids]
        used = {place.shard for place in places}
        shards = [shard for file, shard in sorted(self._shards.items()) if file in used]
        path = self.folder / MANIFEST
        write_json(path, Manifest(self.encoder, shards, places, broken).to_json())
        kept = used | {shard.boxes for shard in shards}
        for pattern in ("shard-*.json", "features-*.npy", "boxes-*.npy"):
            for file in self.folder.glob(pattern):
                if file.name not in kept:
                    file.unlink(missing_ok=True)
        self._places = {place.picture.id: place for place in places}
        self._shards = {shard.file: shard for shard in shards}
        return path

    def close(self) -> None:
        """Let other processes write the folder; what is buffered is lost unless flushed."""
        self._lock.release()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
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
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        known = [self.folder / MANIFEST] if (self.folder / MANIFEST).exists() else []
        for path in [*known, *sorted(self.folder.glob("shard-*.json"))]:
            remedy = "move it away and run the same command again"
            earlier = read_manifest(path, remedy)
            if earlier.encoder != self.encoder:
                raise InputError(
                    f"{self.folder}: holds features by {_named(earlier.encoder)}, not by {_named(self.encoder)}",
                    "choose another --out folder",
                )
            sound = {shard.file: shard for shard in earlier.shards if self._is_sound(shard)}
            self._shards |= sound
            self._places |= {place.picture.id: place for place in earlier.places if place.shard in sound}

    def _is_sound(self, shard: Shard) -> bool:
        expected = (shard.rows, self.encoder.regions)
        try:
            features, boxes = (read_header(self.folder / file)[0] for file in (shard.file, shard.boxes))
        except InputError:
            return False
        return features == (*expected, self.encoder.feature_size) and boxes == (
            *expected,
            4,
        )


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
        places = {place.picture.id: place for place in manifest.places}
        self.ids = list(places) if ids is None else list(ids)
        chosen = [places[name] for name in self.ids]
        self.folder = Path(folder)
        self._encoder = manifest.encoder
        shards = [shard for shard in manifest.shards if shard.file in {place.shard for place in chosen}]
        number = {shard.file: position for position, shard in enumerate(shards)}
        self._shard = np.array([number[place.shard] for place in chosen], dtype=np.int64)
        self._row = np.array([place.row for place in chosen], dtype=np.int64)
        self._digests = [shard.sha256 for shard in shards]
        self._maps = [self._open(shard) for shard in shards]

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
            feature_map, box_map = self._maps[number]
            features[here] = feature_map.rows(self._row[rows[here]], partial(self._name, rows[here]))
            boxes[here] = box_map.rows(self._row[rows[here]], partial(self._name, rows[here]))
        mask = torch.ones(len(rows), self.shape[1], dtype=torch.bool)
        return Regions(torch.from_numpy(features), mask, torch.from_numpy(boxes))

    def fingerprint(self) -> str:
        """Return a digest of the encoder, the shards' own digests and the chosen rows."""
        digest = hashlib.sha256(f"{self._encoder}{self._digests}".encode())
        digest.update(self._shard.tobytes() + self._row.tobytes())
        return digest.hexdigest()

    def _name(self, rows: np.ndarray, i: int) -> str:
        return f"picture '{self.ids[rows[i]]}'"

    def _open(self, shard: Shard) -> tuple[MappedArray, MappedArray]:
        features = MappedArray(self.folder / shard.file, ("pictures", "regions", "feature size"))
        boxes = MappedArray(self.folder / shard.boxes, ("pictures", "regions", "4"))
        expected = (shard.rows, self._encoder.regions)
        for array, shape in (
            (features, (*expected, self._encoder.feature_size)),
            (boxes, (*expected, 4)),
        ):
            if array.shape != shape:
                raise InputError(
                    f"{array.path}: shape {array.shape}, the manifest says {shape}",
                    "extract these pictures again",
                )
        return features, boxes


def _named(encoder: EncoderInfo) -> str:
    return f"{encoder.name} ({encoder.sha256[:8]}, {encoder.regions} × {encoder.feature_size})"


def _lock(folder: Path) -> FileLock:
    """Make the folder and lock it; a network disk that cannot lock leaves it to the user."""
    try:
        return FileLock(folder / ".lock", required=False)
    except BlockingIOError as error:
        raise InputError(f"{folder}: another process is writing it", "wait for it, or choose another folder") from error
