"""Read bottom-up-attention features: TSV files of base64 float32, indexed once and then read by line.

A line holds image_id, image_w, image_h, num_boxes, boxes (num_boxes × 4, xyxy in pixels) and features
(num_boxes × D). The files are tens of gigabytes; an index holds the position of each line, so that a picture
is one read and one decoding, and nothing is copied.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data.dataset import Log
from crossgraph.data.npy_file import sample_digest
from crossgraph.files import read_json, write_json
from crossgraph.progress import ProgressDisplay

_FIELDS = 6
_VERSION = 1
_REMEDY = "the file is damaged or half copied; copy it again"


@dataclass(frozen=True)
class Line:
    """A picture's line: its position in the file, and the fields before the numbers."""

    id: str
    start: int
    length: int
    width: int
    height: int
    regions: int


class BottomUpFeatures:
    """The pictures of some TSV files, of which splits choose some, as of a `crossgraph.data.shards.ShardFolder`.

    Args:
        path: The folder or file, for messages.
        files: The TSV files.
        log: Called with notes.

    Raises:
        InputError: A line is not of this format, or the files differ in feature width.
    """

    def __init__(self, path: Path, files: Sequence[Path], log: Log) -> None:
        self.broken: list[str] = []
        self._files = list(files)
        indexes = [_index(file, log) for file in files]
        widths = {width for _, width in indexes}
        if len(widths) > 1:
            raise InputError(
                f"{path}: features of {min(widths)} and of {max(widths)} numbers", "keep files of one kind"
            )
        self.feature_size = widths.pop()
        self._lines: dict[str, tuple[int, Line]] = {}  # with the file's number
        for number, (lines, _) in enumerate(indexes):
            for line in lines:
                self._lines.setdefault(line.id, (number, line))
        self.ids = list(self._lines)
        if doubled := sum(len(lines) for lines, _ in indexes) - len(self.ids):
            log(f"note: {path}: {doubled:,} pictures stand twice; the first line of each counts")

    def choose(self, rows: Sequence[int]) -> BottomUpSource:
        """Open the features of some pictures."""
        return BottomUpSource(self._files, [self._lines[self.ids[row]] for row in rows], self.feature_size)

    def contents(self, rows: Sequence[int | None]) -> list[str]:
        """Return a digest of each picture's line, but for its id."""
        digests = []
        with ProgressDisplay() as display:
            for done, row in enumerate(rows):
                display.update("comparing pictures", done, len(rows))
                if row is None:
                    digests.append("")
                    continue
                number, line = self._lines[self.ids[row]]
                with self._files[number].open("rb") as file:
                    file.seek(line.start)
                    content = file.read(line.length).split(b"\t", 1)[1]
                digests.append(hashlib.sha256(content).hexdigest())
        return digests


class BottomUpSource:
    """Features of chosen lines; a `crossgraph.data.split.FeatureSource`.

    Pictures with fewer regions than the one with most are padded with zeros and masked.
    """

    def __init__(self, files: Sequence[Path], lines: Sequence[tuple[int, Line]], feature_size: int) -> None:
        self._files, self._lines, self._width = list(files), list(lines), feature_size
        self._most = max((line.regions for _, line in self._lines), default=0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures, most regions of a picture, feature width D."""
        return len(self._lines), self._most, self._width

    @property
    def encoder(self) -> str:
        """The encoder that the format is known for."""
        return "bottom-up-attention"

    def read(self, rows: Sequence[int] | np.ndarray) -> Regions:
        """Read pictures by row, as float32, in the given order, padded to `shape`.

        Raises:
            InputError: A line is damaged, or holds NaN or infinity; file and picture are named.
        """
        features = np.zeros((len(rows), self._most, self._width), dtype=np.float32)
        boxes = np.zeros((len(rows), self._most, 4), dtype=np.float32)
        mask = np.zeros((len(rows), self._most), dtype=bool)
        with contextlib.ExitStack() as stack:
            files: dict[int, BinaryIO] = {}
            for i, row in enumerate(rows):
                number, line = self._lines[row]
                if number not in files:
                    files[number] = stack.enter_context(_open(self._files[number]))
                boxes[i, : line.regions], features[i, : line.regions] = self._decode(files[number], line)
                mask[i, : line.regions] = True
        return Regions(torch.from_numpy(features), torch.from_numpy(mask), torch.from_numpy(boxes))

    def fingerprint(self) -> str:
        """Return a digest of the files' sizes, ends and samples, and of the choice."""
        digest = hashlib.sha256("".join(sample_digest(file) for file in self._files).encode())
        digest.update("\0".join(f"{number}:{line.id}" for number, line in self._lines).encode())
        return digest.hexdigest()

    def _decode(self, file: BinaryIO, line: Line) -> tuple[np.ndarray, np.ndarray]:
        """Return a line's boxes in 0..1 and its features."""
        file.seek(line.start)
        content = file.read(line.length).rstrip(b"\r\n").split(b"\t")
        where = f"{file.name}: picture '{line.id}'"
        try:
            boxes, features = (np.frombuffer(base64.b64decode(field, validate=True), "<f4") for field in content[4:])
            boxes, features = boxes.reshape(line.regions, 4), features.reshape(line.regions, self._width)
        except (ValueError, binascii.Error) as error:
            raise InputError(f"{where} cannot be decoded ({error})", _REMEDY) from error
        if not (np.isfinite(features).all() and np.isfinite(boxes).all()):
            raise InputError(f"{where} holds NaN or infinite values", "make these features again")
        return np.clip(boxes / np.array([line.width, line.height] * 2, dtype=np.float32), 0, 1), features


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})", _REMEDY) from error


def find_tables(path: Path) -> list[Path]:
    """Return the bottom-up-attention files at a path: itself, or those in a folder ("x.tsv", "x.tsv.1")."""
    candidates = [path] if path.is_file() else sorted([*path.glob("*.tsv"), *path.glob("*.tsv.[0-9]*")])
    return [file for file in candidates if _is_table(file)]


def _is_table(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(400).split(b"\t")
    except OSError:
        return False
    return len(head) > 4 and all(field.strip().isdigit() for field in head[1:4])


def _index(path: Path, log: Log) -> tuple[list[Line], int]:
    """Return a file's lines and feature width: from the index beside it or in the user's cache, or by a scan."""
    status = path.stat()
    stamp = {"version": _VERSION, "bytes": status.st_size, "modified": status.st_mtime_ns}
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossgraph"
    name = f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]}.index.json"
    index_files = (path.with_name(f"{path.name}.index.json"), cache / name)
    for file in index_files:
        with contextlib.suppress(InputError, TypeError, KeyError, AttributeError):
            value = read_json(file)
            if {key: value.get(key) for key in stamp} == stamp:
                return [Line(*entry) for entry in value["lines"]], value["feature_size"]
    lines, width = _scan(path)
    value = {**stamp, "feature_size": width, "lines": [list(vars(line).values()) for line in lines]}
    problem = ""
    for file in index_files:
        try:
            write_json(file, value)
            return lines, width
        except InputError as error:
            problem = error.problem
    log(f"note: the index of {path.name} could not be saved ({problem})")
    return lines, width


def _scan(path: Path) -> tuple[list[Line], int]:
    """Read a file once and check every line's counts; the numbers themselves are checked when they are read."""
    lines: list[Line] = []
    width = start = 0
    megabytes = path.stat().st_size // 1_000_000
    with ProgressDisplay() as display, path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if raw.strip():
                display.update(f"indexing {path.name} (MB)", start // 1_000_000, megabytes)
                try:
                    line, own_width = _parse(raw, start)
                except ValueError as error:
                    raise InputError(f"{path}: line {number}: {error}", _REMEDY) from error
                if width and own_width != width:
                    raise InputError(f"{path}: line {number}: {own_width} numbers a region, {width} above it", _REMEDY)
                width = own_width
                lines.append(line)
            start += len(raw)
    if not lines:
        raise InputError(f"{path}: holds no picture", _REMEDY)
    return lines, width


def _parse(raw: bytes, start: int) -> tuple[Line, int]:
    fields = raw.rstrip(b"\r\n").split(b"\t")
    if len(fields) != _FIELDS:
        raise ValueError(f"{len(fields)} columns, {_FIELDS} expected")
    width, height, regions = (int(field) for field in fields[1:4])
    if min(width, height, regions) < 1:
        raise ValueError(f"a picture of {width} × {height} with {regions} regions")
    if _decoded_size(fields[4]) != regions * 16:
        raise ValueError(f"{_decoded_size(fields[4]):,} bytes of boxes for {regions} regions")
    each, rest = divmod(_decoded_size(fields[5]), regions * 4)
    if rest or not each:
        raise ValueError(f"{_decoded_size(fields[5]):,} bytes of features for {regions} regions")
    return Line(fields[0].decode("utf-8"), start, len(raw), width, height, regions), each


def _decoded_size(field: bytes) -> int:
    """Return the number of bytes that a base64 field encodes."""
    return len(field) // 4 * 3 - field[-2:].count(b"=") if len(field) % 4 == 0 else -1
