"""Stores codes on disk: one record of fixed size a picture, appended to shards, read through a memory map.

A record holds the index vector (float32), the region embeddings (float16, or int8 with one scale a region),
their mask, whatever else the model's score needs (float16), and a checksum. The manifest says which record is
whose; bytes behind the last record it knows are left by a killed run, and the next append cuts them off.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode
from crossgraph.files import sync_folder, unwritable
from crossgraph.library.manifest import RecordPosition

Kind = Literal["float16", "int8"]
ROWS = 4096
"""Number of records in a full shard."""
_CHECK = "checksum"


@dataclass(frozen=True)
class Layout:
    """The fields of a record.

    Attributes:
        index: Numbers of the index vector.
        local: Regions and width of their embeddings.
        parts: Shape of every other part, by name.
        kind: How region embeddings are stored.
    """

    index: int
    local: tuple[int, int]
    parts: tuple[tuple[str, tuple[int, ...]], ...]
    kind: Kind = "float16"

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Return the record as a structured type; its `itemsize` is bytes per picture."""
        regions, _ = self.local
        fields: list[tuple[str, str, tuple[int, ...]]] = [("index", "<f4", (self.index,))]
        if self.kind == "int8":
            fields += [("local", "i1", self.local), ("scale", "<f4", (regions,))]
        else:
            fields.append(("local", "<f2", self.local))
        fields.append(("mask", "?", (regions,)))
        fields += [(f"part {name}", "<f2", shape) for name, shape in self.parts]
        fields.append((_CHECK, "<u4", ()))
        return np.dtype(fields)

    @classmethod
    def of(cls, index: np.ndarray, code: ImageCode, kind: Kind = "float16") -> Layout:
        """Return the layout that fits some codes."""
        parts = tuple((name, tuple(tensor.shape[1:])) for name, tensor in sorted(code.parts.items()))
        return cls(index.shape[1], (code.local.shape[1], code.local.shape[2]), parts, kind)

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps({"index": self.index, "local": self.local, "parts": self.parts, "kind": self.kind})

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """Return the layout of a text by `to_json`."""
        values = json.loads(text)
        parts = tuple((name, tuple(shape)) for name, shape in values["parts"])
        return cls(values["index"], tuple(values["local"]), parts, values["kind"])


def pack(layout: Layout, index: np.ndarray, code: ImageCode) -> np.ndarray:
    """Return some codes as records.

    Raises:
        ValueError: They are not of the layout.
    """
    if Layout.of(index, code, layout.kind) != layout:
        raise ValueError("codes do not fit the library's layout")
    records = np.zeros(len(code), dtype=layout.dtype)
    records["index"], records["mask"] = index, code.mask.numpy()
    local = code.local.float().numpy()
    if layout.kind == "int8":
        scale = np.maximum(np.abs(local).max(axis=2), 1e-12) / 127
        records["local"], records["scale"] = np.rint(local / scale[:, :, None]), scale
    else:
        records["local"] = local
    for name, _ in layout.parts:
        records[f"part {name}"] = code.parts[name].float().numpy()
    records[_CHECK] = checksums(records)
    return records


def checksums(records: np.ndarray) -> np.ndarray:
    """Return the CRC-32 of each record's bytes but the last four, which hold it."""
    rows = np.ascontiguousarray(records).view(np.uint8).reshape(len(records), records.dtype.itemsize)
    return np.array([zlib.crc32(row[:-4].data) for row in rows], dtype=np.uint32)


def are_whole(records: np.ndarray) -> np.ndarray:
    """Return whether each record is as it was written."""
    return records[_CHECK] == checksums(records)


def unpack(layout: Layout, records: np.ndarray) -> ImageCode:
    """Return records as codes, float32."""
    local = records["local"].astype(np.float32)
    if layout.kind == "int8":
        local *= records["scale"][:, :, None]
    parts = {name: torch.from_numpy(records[f"part {name}"].astype(np.float32)) for name, _ in layout.parts}
    mask = torch.from_numpy(np.ascontiguousarray(records["mask"]))
    return ImageCode(torch.from_numpy(local), mask, parts=parts)


class Shards:
    """The record files of a folder.

    Args:
        folder: Made where missing, by the first record written.
        dtype: Of a record.
    """

    def __init__(self, folder: Path, dtype: np.dtype[np.void]) -> None:
        self.folder, self.dtype = folder, dtype
        self._maps: dict[tuple[int, int], _MappedShard] = {}

    def path(self, generation: int, shard: int) -> Path:
        """Return a shard's file."""
        return self.folder / f"{generation:03d}-{shard:05d}.records"

    def read(self, positions: Sequence[RecordPosition], field: str | None = None) -> np.ndarray:
        """Return the records at some positions, in their order.

        Args:
            positions: In any order.
            field: Read this field alone.

        Raises:
            InputError: A file is missing or shorter than the manifest says.
        """
        records = np.empty(len(positions), dtype=_field_layout(self.dtype, field)[0])
        by_shard: dict[tuple[int, int], list[int]] = {}
        for number, position in enumerate(positions):
            by_shard.setdefault((position.generation, position.shard), []).append(number)
        reads: list[tuple[list[int], np.ndarray, np.ndarray]] = []
        for key, numbers in by_shard.items():
            rows = np.array([positions[number].row for number in numbers])
            mapped = self._map(key, int(rows.max()) + 1)
            mapped.prefetch(rows, field)  # of all shards before any is copied, so that the disk reads them together
            reads.append((numbers, rows, mapped.records if field is None else mapped.records[field]))
        for numbers, rows, source in reads:
            records[numbers] = source[rows]
        return records

    def append(self, records: np.ndarray, start: RecordPosition) -> list[RecordPosition]:
        """Write records from a position on and return the position of each; they are on disk when this returns.

        Args:
            records: At least one.
            start: The position of the first of them: behind the last that the manifest knows. What a killed run left
                there is cut off.

        Raises:
            InputError: The disk is full, or the folder cannot be written.
        """
        positions: list[RecordPosition] = []
        shard, row = start.shard, start.row
        while len(positions) < len(records):
            if row >= ROWS:
                shard, row = shard + 1, 0
            chunk = records[len(positions) : len(positions) + ROWS - row]
            self._write(self.path(start.generation, shard), row, chunk)
            positions += [RecordPosition(start.generation, shard, row + number) for number in range(len(chunk))]
            row += len(chunk)
        return positions

    def rows(self, generation: int, shard: int) -> int:
        """Return how many whole records a shard's file holds."""
        path = self.path(generation, shard)
        return path.stat().st_size // self.dtype.itemsize if path.exists() else 0

    def bytes(self) -> int:
        """Return the size of all files."""
        return sum(path.stat().st_size for path in self.folder.glob("*.records"))

    def drop(self, keep: int) -> None:
        """Delete the files of all generations but one."""
        self._maps.clear()
        for path in self.folder.glob("*.records"):
            if not path.name.startswith(f"{keep:03d}-"):
                path.unlink(missing_ok=True)

    def drop_generation(self, generation: int) -> None:
        """Delete the files of one generation, which a killed run left."""
        for path in self.folder.glob(f"{generation:03d}-*.records"):
            path.unlink(missing_ok=True)

    def _write(self, path: Path, row: int, records: np.ndarray) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if path.exists() else "w+b") as file:
                file.seek(row * self.dtype.itemsize)
                file.truncate()  # a half written record must not shift those that follow
                file.write(records.tobytes())
                file.flush()
                os.fsync(file.fileno())
            if row == 0:
                sync_folder(self.folder)  # otherwise a power cut could lose the new file's name
        except OSError as error:
            raise unwritable(path, error) from error

    def _map(self, key: tuple[int, int], rows: int) -> _MappedShard:
        """Return a shard's file mapped, with at least so many records; it is mapped again where it has grown."""
        mapped = self._maps.get(key)
        if mapped is None or len(mapped.records) < rows:
            path, remedy = self.path(*key), "run: crossgraph library verify"
            try:
                mapped = _map_file(path, self.dtype)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror})", remedy) from error
            if mapped is None or len(mapped.records) < rows:
                raise InputError(f"{path}: ends before record {rows:,}", remedy)
            self._maps[key] = mapped
        return mapped


@dataclass(frozen=True)
class _MappedShard:
    """A shard's file, mapped into memory.

    Attributes:
        bytes: The mapped file.
        records: Its whole records.
    """

    bytes: mmap.mmap
    records: np.ndarray

    def prefetch(self, rows: np.ndarray, field: str | None) -> None:
        """Ask the system to read some records now, all at once: one by one, each would wait for the disk."""
        dtype = self.records.dtype
        part, offset = _field_layout(dtype, field)
        for row in rows.tolist():
            first = row * dtype.itemsize + offset
            start = first // mmap.PAGESIZE * mmap.PAGESIZE
            self.bytes.madvise(mmap.MADV_WILLNEED, start, first + part.itemsize - start)


def _field_layout(dtype: np.dtype[np.void], field: str | None) -> tuple[np.dtype[Any], int]:
    """Return a field's type and its offset in a record; without a field those of the whole record."""
    fields = cast(Mapping[str, Any], dtype.fields)
    return (dtype, 0) if field is None else fields[field][:2]


def _map_file(path: Path, dtype: np.dtype[np.void]) -> _MappedShard | None:
    """Map a file; None where it holds no whole record."""
    with path.open("rb") as file:
        whole = os.fstat(file.fileno()).st_size // dtype.itemsize
        if not whole:
            return None
        mapped = mmap.mmap(file.fileno(), whole * dtype.itemsize, access=mmap.ACCESS_READ)
    return _MappedShard(mapped, np.frombuffer(mapped, dtype, whole))
