"""What a feature folder of ours says about itself: `manifest.json`, and one journal per shard until then."""

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
    """A picture whose regions are known.

    Attributes:
        id: Its path below the picture root, with forward slashes.
        width: In pixels, after EXIF orientation.
        height: In pixels, after EXIF orientation.
        sha256: Digest of the picture file's bytes.
    """

    id: str
    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class Shard:
    """One pair of files, `features-….npy` and `boxes-….npy`, of equally many rows."""

    file: str
    rows: int
    sha256: str
    boxes: str
    boxes_sha256: str


@dataclass(frozen=True)
class Place:
    """Where a picture's regions lie: a row of a shard (by file name)."""

    picture: Picture
    shard: str
    row: int


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`, or of a journal (one shard, nothing broken)."""

    encoder: EncoderInfo
    shards: Sequence[Shard]
    places: Sequence[Place]
    broken: Sequence[tuple[str, str]] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the value to write; shards are numbered by their position in `shards`."""
        number = {shard.file: position for position, shard in enumerate(self.shards)}
        return {
            "format_version": FORMAT_VERSION,
            "encoder": asdict(self.encoder),
            "shards": [asdict(shard) for shard in self.shards],
            "pictures": [asdict(p.picture) | {"shard": number[p.shard], "row": p.row} for p in self.places],
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
        raise InputError(
            f"{path}: format version {version}, this program reads up to {FORMAT_VERSION}",
            "update crossgraph",
        )
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
    places = []
    for entry in value["pictures"]:
        shard = shards[entry["shard"]]
        if not 0 <= entry["row"] < shard.rows:
            raise ValueError(f"picture {entry['id']} in row {entry['row']} of {shard.rows}")
        picture = Picture(entry["id"], entry["width"], entry["height"], entry["sha256"])
        places.append(Place(picture, shard.file, entry["row"]))
    broken = [(entry["id"], entry["reason"]) for entry in value["broken"]]
    return Manifest(EncoderInfo(**encoder), shards, places, broken)


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
