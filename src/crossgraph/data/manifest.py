"""Read and write the manifest of a feature folder, `manifest.json`; while it is being made, a journal per shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.files import read_json

MANIFEST = "manifest.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class EncoderInfo:
    """The region encoder that made some features.

    Attributes:
        name: Its name in the registry.
        sha256: Digest of its weights.
        feature_size: D.
        regions: R, the same for every picture.
        grid: Rows and columns when the regions tile the picture, else None.
    """

    name: str
    sha256: str
    feature_size: int
    regions: int
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class Picture:
    """A picture with features.

    Attributes:
        id: Its path below the picture root, with forward slashes.
        width: In pixels, after EXIF orientation.
        height: In pixels, after EXIF orientation.
        sha256: Digest of the picture file's bytes.
        shard: Name of the shard that holds its features; empty until it is written.
        row: Its row there.
    """

    id: str
    width: int
    height: int
    sha256: str
    shard: str = ""
    row: int = -1


@dataclass(frozen=True)
class Shard:
    """A pair of files, `features-….npy` and `boxes-….npy`, of equally many rows."""

    file: str
    rows: int
    sha256: str
    boxes: str
    boxes_sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`, or of a journal (one shard, nothing broken)."""

    encoder: EncoderInfo
    shards: Sequence[Shard]
    pictures: Sequence[Picture]
    broken: Sequence[tuple[str, str]] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the value to write; shards are numbered by their position in `shards`."""
        number = {shard.file: position for position, shard in enumerate(self.shards)}
        return {
            "format_version": FORMAT_VERSION,
            "encoder": asdict(self.encoder),
            "shards": [asdict(shard) for shard in self.shards],
            "pictures": [vars(picture) | {"shard": number[picture.shard]} for picture in self.pictures],
            "broken": [{"id": _writable(name), "reason": _writable(reason)} for name, reason in self.broken],
        }


def read_manifest(path: Path, remedy: str = "extract these pictures again") -> Manifest:
    """Read `manifest.json` or a journal.

    Raises:
        InputError: It is missing, not JSON, of a newer format, or lacks what a manifest has.
    """
    value = read_json(path, remedy)
    version = value.get("format_version") if isinstance(value, Mapping) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        problem = f"{path}: format version {version}, this program reads up to {FORMAT_VERSION}"
        raise InputError(problem, "update crossgraph")
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: not a manifest of extracted features (no format version)", remedy)
    try:
        return _parse(value)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path}: not a complete manifest ({type(error).__name__}: {error})", remedy) from error


def _parse(value: Any) -> Manifest:
    encoder = dict(value["encoder"])
    encoder["grid"] = tuple(encoder["grid"]) if encoder.get("grid") else None
    shards = [Shard(**shard) for shard in value["shards"]]
    pictures = [Picture(**entry | {"shard": shards[entry["shard"]].file}) for entry in value["pictures"]]
    rows = {shard.file: shard.rows for shard in shards}
    for picture in pictures:
        if not 0 <= picture.row < rows[picture.shard]:
            raise ValueError(f"picture {picture.id} in row {picture.row} of {rows[picture.shard]}")
    broken = [(entry["id"], entry["reason"]) for entry in value["broken"]]
    return Manifest(EncoderInfo(**encoder), shards, pictures, broken)


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
