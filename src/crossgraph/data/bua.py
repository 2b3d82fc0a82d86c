"""Bottom-up-attention features: TSV files of base64 float32, indexed once and then read by line.

A line holds image_id, image_w, image_h, num_boxes, boxes (num_boxes × 4, xyxy in pixels) and features
(num_boxes × D). The files are tens of gigabytes; the index says where each line lies, so that a picture is
one read and one decoding, and nothing is copied.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data.dataset import Log
from crossgraph.data.mapped import sample_digest
from crossgraph.data.progress import Ticker
from crossgraph.files import read_json, write_json

_FIELDS = 6
_VERSION = 1
_AGAIN = "the file is damaged or half copied; copy it again"


@dataclass(frozen=True)
class Line:
    """Where a picture's line lies, and what it says before the numbers."""

    id: str
    start: int
    length: int
    width: int
    height: int
    regions: int


@dataclass(frozen=True)
class _Index:
    lines: list[Line]
    feature_size: int


class BottomUpFeatures:
    """The pictures of some TSV files; a `crossgraph.data.feature_folder.FeatureFolder`.

    Args:
        path: What the user named.
        files: The TSV files.
        log: Hears notes.

    Raises:
        InputError: A line is not of this format, or the files differ in feature width.
    """

    def __init__(self, path: Path, files: Sequence[Path], log: Log) -> None:
        self.broken: list[str] = []
        self._files = list(files)
        indexes = [_index(file, log) for file in files]
        widths = {index.feature_size for index in indexes}
        if len(widths) > 1:
            raise InputError(
                f"{path}: features of {min(widths)} and of {max(widths)} numbers", "keep files of one kind"
            )
        self.feature_size = widths.pop()
        self._places: dict[str, tuple[int, Line]] = {}
        total = 0
        for number, index in enumerate(indexes):
            for line in index.lines:
                self._places.setdefault(line.id, (number, line))
            total += len(index.lines)
        self.ids = list(self._places)
        if total > len(self.ids):
            log(f"note: {path}: {total - len(self.ids):,} pictures stand twice; the first line of each counts")

    def choose(self, rows: Sequence[int]) -> BottomUpSource:
        """Open the features of some pictures."""
        return BottomUpSource(self._files, [self._places[self.ids[row]] for row in rows], self.feature_size)

    def contents(self, rows: Sequence[int | None]) -> list[str]:
        """Return a digest of each picture's line, but for its id."""
        digests = []
        with Ticker("comparing pictures", len(rows), "pictures") as ticker:
            for done, row in enumerate(rows):
                ticker.update(done)
                if row is None:
                    digests.append("")
                    continue
                number, line = self._places[self.ids[row]]
                with self._files[number].open("rb") as file:
                    file.seek(line.start)
                    content = file.read(line.length).split(b"\t", 1)[1]
                digests.append(hashlib.sha256(content).hexdigest())
        return digests


class BottomUpSource:
    """Features of chosen lines; a `crossgraph.data.split.FeatureSource`.

    Pictures with fewer regions than the richest one are padded with zeros and masked.
    """

    def __init__(self, files: Sequence[Path], places: Sequence[tuple[int, Line]], feature_size: int) -> None:
        self._files, self._places, self._width = list(files), list(places), feature_size
        self._most = max((line.regions for _, line in self._places), default=0)
        self._open: dict[int, int] = {}
        self._process = -1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures, most regions of a picture, feature width D."""
        return len(self._places), self._most, self._width

    @property
    def encoder(self) -> str:
        """What the format is known for."""
        return "bottom-up-attention"

    def read(self, rows: Sequence[int] | np.ndarray) -> Regions:
        """Read pictures by row, as float32, in the given order, padded to `shape`.

        Raises:
            InputError: A line is damaged, or holds NaN or infinity; file and picture are named.
        """
        features = np.zeros((len(rows), self._most, self._width), dtype=np.float32)
        boxes = np.zeros((len(rows), self._most, 4), dtype=np.float32)
        mask = np.zeros((len(rows), self._most), dtype=bool)
        for place, row in enumerate(rows):
            number, line = self._places[row]
            box, feature = self._decode(number, line)
            features[place, : line.regions], boxes[place, : line.regions] = feature, box
            mask[place, : line.regions] = True
        return Regions(torch.from_numpy(features), torch.from_numpy(mask), torch.from_numpy(boxes))

    def fingerprint(self) -> str:
        """Return a digest of the files' sizes, ends and samples, and of the choice."""
        digest = hashlib.sha256("".join(sample_digest(file) for file in self._files).encode())
        digest.update("\0".join(f"{number}:{line.id}" for number, line in self._places).encode())
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, object]:
        """Pickle without open files."""
        return {**self.__dict__, "_open": {}, "_process": -1}

    def _decode(self, number: int, line: Line) -> tuple[np.ndarray, np.ndarray]:
        path = self._files[number]
        content = os.pread(self._descriptor(number), line.length, line.start).rstrip(b"\r\n").split(b"\t")
        try:
            box, feature = (np.frombuffer(base64.b64decode(field, validate=True), "<f4") for field in content[4:])
            box, feature = box.reshape(line.regions, 4), feature.reshape(line.regions, self._width)
        except (ValueError, binascii.Error) as error:
            raise InputError(f"{path}: picture '{line.id}' cannot be decoded ({error})", _AGAIN) from error
        if not (np.isfinite(feature).all() and np.isfinite(box).all()):
            raise InputError(f"{path}: picture '{line.id}' holds NaN or infinite values", "make these features again")
        return np.clip(box / np.array([line.width, line.height] * 2, dtype=np.float32), 0, 1), feature

    def _descriptor(self, number: int) -> int:
        if self._process != os.getpid():
            self._open, self._process = {}, os.getpid()
        if number not in self._open:
            try:
                self._open[number] = os.open(self._files[number], os.O_RDONLY)
            except OSError as error:
                raise InputError(f"{self._files[number]}: cannot be opened ({error.strerror})", _AGAIN) from error
        return self._open[number]


def find_tables(path: Path) -> list[Path]:
    """Return the bottom-up-attention files at a path: itself, or those in a folder ("x.tsv", "x.tsv.1")."""
    candidates = [path] if path.is_file() else sorted([*path.glob("*.tsv"), *path.glob("*.tsv.[0-9]*")])
    return [file for file in candidates if _looks_right(file)]


def _looks_right(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(400).split(b"\t")
    except OSError:
        return False
    return len(head) > 4 and all(field.strip().isdigit() for field in head[1:4])


def _index(path: Path, log: Log) -> _Index:
    """Read the index beside the file or in the user's cache, or make it."""
    status = path.stat()
    stamp = {"version": _VERSION, "bytes": status.st_size, "modified": status.st_mtime_ns}
    beside = path.with_name(f"{path.name}.index.json")
    cached = _cache_folder() / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]}.index.json"
    for place in (beside, cached):
        if place.exists():
            value = _read_index(place)
            if value is not None and {key: value.get(key) for key in stamp} == stamp:
                return _Index([Line(*entry) for entry in value["lines"]], value["feature_size"])
    index = _scan(path)
    lines = [list(asdict(line).values()) for line in index.lines]
    for place in (beside, cached):
        try:
            write_json(place, {**stamp, "feature_size": index.feature_size, "lines": lines})
            break
        except InputError as error:
            problem = error.problem
    else:
        log(f"note: the index of {path.name} could not be kept ({problem})")
    return index


def _read_index(path: Path) -> dict[str, Any] | None:
    try:
        value = read_json(path)
    except InputError:
        return None
    return value if isinstance(value, dict) and "lines" in value and "feature_size" in value else None


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossgraph"


def _scan(path: Path) -> _Index:
    """Walk a file once, checking every line's counts; the numbers themselves are checked when they are read."""
    lines: list[Line] = []
    width = 0
    with Ticker(f"indexing {path.name}", path.stat().st_size / 1e6, "MB") as ticker:
        for number, start, raw in _lines(path):
            ticker.update(start / 1e6)
            try:
                line, here = _parse(raw, start)
            except ValueError as error:
                raise InputError(f"{path}: line {number}: {error}", _AGAIN) from error
            if width and here != width:
                raise InputError(f"{path}: line {number}: {here} numbers a region, {width} above it", _AGAIN)
            width = here
            lines.append(line)
    if not lines:
        raise InputError(f"{path}: holds no picture", _AGAIN)
    return _Index(lines, width)


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    start = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if raw.strip():
                yield number, start, raw
            start += len(raw)


def _parse(raw: bytes, start: int) -> tuple[Line, int]:
    fields = raw.rstrip(b"\r\n").split(b"\t")
    if len(fields) != _FIELDS:
        raise ValueError(f"{len(fields)} columns, {_FIELDS} expected")
    width, height, regions = (int(field) for field in fields[1:4])
    if min(width, height, regions) < 1:
        raise ValueError(f"a picture of {width} × {height} with {regions} regions")
    if _decoded(fields[4]) != regions * 16:
        raise ValueError(f"{_decoded(fields[4]):,} bytes of boxes for {regions} regions")
    each, rest = divmod(_decoded(fields[5]), regions * 4)
    if rest or not each:
        raise ValueError(f"{_decoded(fields[5]):,} bytes of features for {regions} regions")
    return Line(fields[0].decode("utf-8"), start, len(raw), width, height, regions), each


def _decoded(field: bytes) -> int:
    """Return how many bytes a base64 field stands for."""
    return len(field) // 4 * 3 - field[-2:].count(b"=") if len(field) % 4 == 0 else -1
