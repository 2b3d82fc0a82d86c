"""Read the layout that published code shares: per split `_ims.npy`, `_caps.txt`, and some optional files.

<split>_ims.npy        float (n, R, D); some releases hold every picture five times in a row
<split>_caps.txt       a caption a line, the same number for every picture, in the order of the rows
<split>_ids.txt        an id a line; optional
<split>_ims_bbx.npy    (n, R, 4) xyxy in pixels; optional, needs
<split>_ims_size.npy   (n, 2) width and height
<split>_caps.json      dependency edges; optional (else see `crossgraph.data.edges`)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data.dataset import DataSet, Log, in_order, split_name
from crossgraph.data.edges import read_published_edges
from crossgraph.data.npy_file import MappedArray
from crossgraph.data.split import Split
from crossgraph.files import read_text
from crossgraph.text.dependencies import PUBLISHED

_AXES = ("pictures", "regions", "feature size")
BoxReader = Callable[[np.ndarray], np.ndarray]
_CAPTIONS, _FEATURES = "_caps.txt", "_ims.npy"


class PrecompData(DataSet):
    """A precomp folder.

    Args:
        path: The folder with the captions.
        features: The folder with the `.npy` files; the same by default.
        log: Called with announcements and notes.
    """

    def __init__(self, path: Path, features: Path | None, log: Log) -> None:
        super().__init__("precomp", path, log)
        self._features = features or path
        captions, features_of = _stems(path, _CAPTIONS), _stems(self._features, _FEATURES)
        stems = captions & features_of
        if not stems:
            lacking, folder = (_FEATURES, self._features) if captions else (_CAPTIONS, path)
            stem = min(captions | features_of)
            raise InputError(f"{folder / (stem + lacking)}: no such file", "put it beside the others of its split")
        for stem in sorted(captions ^ features_of):
            lacking = _FEATURES if stem in captions else _CAPTIONS
            log(f"note: {path}: split '{split_name(stem)}' is left out, it has no {stem}{lacking}")
        self._stems = {split_name(stem): stem for stem in sorted(stems, key=lambda stem: split_name(stem) == stem)}

    @property
    def splits(self) -> list[str]:
        """The splits with both features and captions."""
        return in_order(self._stems)

    def _open(self, name: str) -> Split:
        stem = self._stems[name]
        captions_path = self.path / f"{stem}{_CAPTIONS}"
        array = MappedArray(self._features / f"{stem}{_FEATURES}", _AXES)
        captions = _read_captions(captions_path, len(array))
        repeats, each = _arrange(array, captions_path, len(captions))
        images = len(array) // repeats
        ids = self._read_ids(self.path / f"{stem}_ids.txt", images, {repeats, each})
        edges_path = self.path / f"{stem}_caps.json"
        edges = read_published_edges(edges_path, len(captions)) if edges_path.exists() else None
        return Split(
            name=name,
            image_ids=ids,
            captions=captions,
            caption_image=np.arange(len(captions), dtype=np.int64) // each,
            features=PrecompFeatures(array, repeats, ids, self._read_boxes(stem, array, repeats)),
            edges=edges,
            edges_by="" if edges is None else PUBLISHED,
            source=f"{self.path} ({name})",
        )

    def _read_ids(self, path: Path, images: int, steps: set[int]) -> list[str]:
        """Return the ids of a file with one per picture, caption or row; row numbers where it cannot be used."""
        numbers = [str(row) for row in range(images)]
        if not path.exists():
            return numbers
        lines = [line.strip() for line in read_text(path).split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        for step in sorted(steps | {1}):
            ids = lines[::step]
            if len(lines) == images * step and len(set(ids)) == images:
                return ids
        self._log(f"note: {path}: {len(lines):,} ids do not name {images:,} pictures one by one; they are numbered")
        return numbers

    def _read_boxes(self, stem: str, array: MappedArray, repeats: int) -> BoxReader | None:
        """Return a function that reads the boxes of some pictures; None where there are none that can be used."""
        path, size_path = (self._features / f"{stem}_ims_{kind}.npy" for kind in ("bbx", "size"))
        if not path.exists():
            return None
        boxes = MappedArray(path, ("pictures", "regions", "4"), "fiu")
        expected = {(rows, array.shape[1], 4) for rows in (len(array), len(array) // repeats)}
        if boxes.shape not in expected:
            raise InputError(
                f"{path}: boxes of shape {boxes.shape} for features of shape {array.shape}",
                "use the boxes of these features, or move the file away",
            )
        step = repeats if len(boxes) == len(array) else 1
        if size_path.exists():
            return partial(_read_unit_boxes, boxes, step, _read_sizes(size_path, boxes))
        if boxes.rows(_sampled(boxes)).max() <= 1:
            return partial(_read_unit_boxes, boxes, step, None)
        self._log(f"note: {path}: boxes are left out, {size_path.name} with the pictures' sizes is missing")
        return None


def _read_unit_boxes(boxes: MappedArray, step: int, sizes: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Read the boxes of some pictures, in 0..1."""
    values = boxes.rows(rows * step)
    if sizes is not None:
        values = values / np.tile(sizes[rows * step], 2)[:, None, :]
    return np.clip(values, 0, 1).astype(np.float32)


class PrecompFeatures:
    """Features of a precomp split; a `crossgraph.data.split.FeatureSource`.

    Args:
        array: The file.
        repeats: Rows that each picture takes.
        ids: The pictures, for messages.
        boxes: Reads the boxes of some pictures, where there are any.
    """

    def __init__(self, array: MappedArray, repeats: int, ids: Sequence[str], boxes: BoxReader | None = None) -> None:
        self._array, self._repeats, self._ids, self._boxes = array, repeats, ids, boxes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures, regions of a picture, feature width D."""
        return len(self._array) // self._repeats, self._array.shape[1], self._array.shape[2]

    @property
    def encoder(self) -> str:
        """Always "published": the file does not name its encoder."""
        return "published"

    def read(self, rows: Sequence[int] | np.ndarray) -> Regions:
        """Read pictures by row, as float32, in the given order.

        Raises:
            InputError: A value is NaN or infinite; file and picture are named.
        """
        rows = np.asarray(rows, dtype=np.int64)
        features = self._array.rows(rows * self._repeats, lambda i: f"picture '{self._ids[rows[i]]}' (row {rows[i]})")
        boxes = None if self._boxes is None else torch.from_numpy(self._boxes(rows))
        return Regions(torch.from_numpy(features), torch.ones(features.shape[:2], dtype=torch.bool), boxes)

    def fingerprint(self) -> str:
        """Return a digest of the file's size, ends and samples."""
        return hashlib.sha256(f"{self._array.fingerprint()} / {self._repeats}".encode()).hexdigest()


def is_precomp(folder: Path) -> bool:
    """Return whether a folder has files of this layout."""
    return bool(_stems(folder, _CAPTIONS) or _stems(folder, _FEATURES))


def caption_lines(folder: Path) -> list[str]:
    """Return the captions of all splits of a folder."""
    texts = (read_text(folder / f"{stem}{_CAPTIONS}") for stem in sorted(_stems(folder, _CAPTIONS)))
    return [line.strip() for text in texts for line in text.split("\n") if line.strip()]


def _stems(folder: Path, ending: str) -> set[str]:
    return {path.name.removesuffix(ending) for path in folder.glob(f"*{ending}")}


def _read_captions(path: Path, rows: int) -> list[str]:
    """Read a caption a line; only a line feed ends a line, and empty lines at the end count if they must."""
    lines = [line.strip() for line in read_text(path).split("\n")]
    if lines and not lines[-1]:
        lines.pop()
    count = len(lines)
    while count and not lines[count - 1]:
        count -= 1
    if not count:
        raise InputError(f"{path}: holds no caption", "copy it again")
    return lines[:count] if count % rows == 0 or len(lines) % rows else lines


def _arrange(array: MappedArray, captions_path: Path, captions: int) -> tuple[int, int]:
    """Return how many rows a picture takes, and how many captions it has."""
    rows = len(array)
    if captions % rows:
        raise InputError(
            f"{captions_path}: {captions:,} captions for the {rows:,} images of {array.path.name}",
            "every image needs the same number of captions; check that both files are whole and of one split",
        )
    each = captions // rows
    if each == 1 and (repeats := _repeats(array)) > 1:
        return repeats, repeats
    return 1, each


def _repeats(array: MappedArray) -> int:
    """Return how many equal rows in turn each picture has: 5 in some releases, else 1."""
    rows = len(array)
    if rows % 5:
        return 1
    for image in np.unique(np.linspace(0, rows // 5 - 1, 50).astype(int)):
        last = min(5 * image + 5, rows - 1)
        group = [row.tobytes() for row in array.unchecked([*range(5 * image, 5 * image + 5), last])]
        if len(set(group[:5])) > 1:
            return 1
        if last != 5 * image + 4 and group[5] == group[0]:
            return 1
    return 5


def _sampled(boxes: MappedArray) -> np.ndarray:
    return np.unique(np.linspace(0, len(boxes) - 1, 200).astype(int))


def _read_sizes(path: Path, boxes: MappedArray) -> np.ndarray:
    """Read widths and heights, in whichever order the boxes fit into."""
    array = MappedArray(path, ("pictures", "2"), "fiu")
    if array.shape != (len(boxes), 2):
        raise InputError(f"{path}: sizes of shape {array.shape} for {len(boxes):,} pictures", "use the matching file")
    sizes = array.rows(np.arange(len(array)))
    if sizes.min() <= 0:
        raise InputError(f"{path}: a picture of no size in row {int(sizes.min(axis=1).argmin())}", "make it again")
    sample = _sampled(boxes)
    extent = boxes.rows(sample).max(axis=1)[:, 2:]
    for candidate in (sizes, sizes[:, ::-1]):
        if (extent <= candidate[sample] + 1).all():
            return np.ascontiguousarray(candidate)
    row = int(sample[(extent > sizes[sample] + 1).any(axis=1)][0])
    raise InputError(f"{path}: the boxes of row {row} reach beyond the picture", "use the sizes of these pictures")
