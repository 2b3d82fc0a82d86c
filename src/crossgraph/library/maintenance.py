"""What keeps a library in shape: checked, mended, rebuilt, compacted, moved to another model, taken out."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossgraph.bundle.folder import load_bundle
from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.files import write_text
from crossgraph.library.features import FeatureFiles
from crossgraph.library.library import Library, copy_model
from crossgraph.library.lock import writing
from crossgraph.library.manifest import Picture, Place
from crossgraph.library.photo import heif_is_read, read_photo
from crossgraph.library.reading import put_thumbnail
from crossgraph.library.records import Layout, Shards, pack
from crossgraph.library.writing import Writer, sync_store
from crossgraph.scoring.engine import choose_device
from crossgraph.vision.pictures import DEFAULT_MEGAPIXELS, BrokenPicture, PictureLoader
from crossgraph.vision.region_encoder import load_region_encoder

Report = Callable[[str, int, int], None]
_BLOCK = 64


@dataclass
class Findings:
    """What `verify` found.

    Attributes:
        pictures: Looked at.
        codes: Pictures without a whole record; they are forgotten, so that the next indexing encodes them anew.
        thumbnails: Thumbnails made again.
        store: Points added to and taken out of the store.
        missing: Files that are no longer where they were.
    """

    pictures: int = 0
    codes: int = 0
    thumbnails: int = 0
    store: tuple[int, int] = (0, 0)
    missing: list[str] = field(default_factory=list[str])

    @property
    def sound(self) -> bool:
        """Whether nothing had to be mended."""
        return not (self.codes or self.thumbnails or any(self.store) or self.missing)


def verify(library: Library, report: Report) -> Findings:
    """Check every record, thumbnail and point against the manifest, and mend what can be mended here."""
    findings = Findings()
    with writing(library.folder):
        ids = library.manifest.ids()
        findings.pictures = len(ids)
        if not ids:
            return findings
        lost = _lost_records(library, ids)
        if lost:
            with library.manifest.transaction() as connection:
                connection.executemany("DELETE FROM pictures WHERE id = ?", [(number,) for number in lost])
            findings.codes = len(lost)
        rest = [number for number in ids if number not in lost]
        with PictureLoader(8) as loader:
            for done, number in enumerate(rest, start=1):
                picture = library.get(number)
                findings.missing += [str(path) for path in picture.paths if not path.exists()]
                findings.thumbnails += _mend_thumbnail(library, picture, loader)
                report("verifying", done, len(rest))
        findings.store = sync_store(library, report)
        library.store.flush()
    return findings


def rebuild(library: Library, report: Report) -> int:
    """Make the store anew from manifest and codes; return how many points it holds."""
    with writing(library.folder):
        library.close_store(drop=True)
        written, _ = sync_store(library, report, rewrite=True)
        library.store.flush()
        library.store.optimise(report)
    return written


def compact(library: Library, report: Report) -> tuple[int, int]:
    """Write the codes of the pictures that are left into new files; return bytes before and after."""
    with writing(library.folder):
        before = library.shards.bytes()
        ids, fresh = library.manifest.ids(), library.generation + 1
        places, after = [], Place(fresh, 0, 0)
        library.shards.drop_generation(fresh)
        for start in range(0, len(ids), _BLOCK):
            some = ids[start : start + _BLOCK]
            written = library.shards.append(library.records(some), after)
            after = Place(fresh, written[-1].shard, written[-1].row + 1)
            places += zip(some, written, strict=True)
            report("compacting", start + len(some), len(ids))
        _move(library, places, {"generation": str(fresh)})
        library.shards.drop(keep=fresh)
        return before, library.shards.bytes()


def reencode(library: Library, model: Path, report: Report) -> int:
    """Encode all pictures by another model, from kept features where there are any; return how many.

    Until the last of them is written the library answers as before; a run that was killed begins anew.

    Raises:
        InputError: The model is none, or a picture can no longer be read.
    """
    bundle = load_bundle(model).to(choose_device("auto"))
    encoder = load_region_encoder(bundle.region_encoder)
    same_features = bundle.region_encoder == library.manifest.meta("region_encoder")
    with writing(library.folder):
        ids, fresh = library.manifest.ids(), library.generation + 1
        kind = library.layout.kind
        shards: Shards | None = None
        layout: Layout | None = None
        places: list[tuple[int, Place]] = []
        after = Place(fresh, 0, 0)
        with PictureLoader(encoder.image_size) as loader:
            for start in range(0, len(ids), 8):
                some = ids[start : start + 8]
                kept = FeatureFiles(library).read(some) if same_features else {}
                codes = [bundle.encode_pictures(_regions(library, n, kept.get(n), encoder, loader)) for n in some]
                if layout is None or shards is None:
                    layout = Layout.of(codes[0].index, codes[0].code, kind)
                    shards = Shards(library.folder / "codes", layout.dtype)
                    shards.drop_generation(fresh)
                records = np.concatenate([pack(layout, each.index, each.code) for each in codes])
                written = shards.append(records, after)
                after = Place(fresh, written[-1].shard, written[-1].row + 1)
                places += zip(some, written, strict=True)
                report("encoding", start + len(some), len(ids))
        copy_model(bundle, library.folder / "model")
        values = {"generation": str(fresh), "fingerprint": bundle.fingerprint, "model_name": bundle.name}
        values["region_encoder"] = bundle.region_encoder
        _move(library, places, values | ({"layout": layout.to_json()} if layout else {}))
        library.forget_model()
        library.shards.drop(keep=fresh)
        library.close_store(drop=True)
        sync_store(library, report, rewrite=True)
        library.store.flush()
        library.store.optimise(report)
    return len(ids)


def remove(library: Library, folder: Path, report: Report) -> int:
    """Take a root, or everything below a folder, out of the library; return how many files. No picture is touched.

    Raises:
        InputError: The library has nothing from there.
    """
    real = folder.resolve() if folder.exists() else Path(folder).absolute()
    with writing(library.folder):
        paths = [
            path
            for number in library.manifest.roots()
            for path in library.manifest.files(number)
            if Path(path) == real or Path(path).is_relative_to(real)
        ]
        roots = [number for number, root in library.manifest.roots().items() if root.is_relative_to(real)]
        if not paths and not roots:
            raise InputError(f"{folder}: the library has nothing from there", "see: crossgraph library info")
        Writer(library, False).forget(paths)
        with library.manifest.transaction() as connection:
            connection.executemany("DELETE FROM roots WHERE id = ?", [(number,) for number in roots])
        if library.manifest.meta("layout"):
            library.store.flush()
        report("removing", len(paths), len(paths))
    return len(paths)


def export(library: Library, out: Path, report: Report) -> int:
    """Write what is known of every picture as CSV or JSONL; return how many.

    Raises:
        InputError: The file cannot be written.
    """
    ids = library.manifest.ids()
    rows: list[dict[str, Any]] = []
    for start in range(0, len(ids), 500):
        found = library.manifest.get(ids[start : start + 500])
        rows += [_exported(found[number]) for number in ids[start : start + 500]]
        report("exporting", len(rows), len(ids))
    if out.suffix == ".csv":
        text = io.StringIO()
        table = csv.DictWriter(text, list(_exported_names()), lineterminator="\n")
        table.writeheader()
        table.writerows({key: "; ".join(v) if isinstance(v, list) else v for key, v in row.items()} for row in rows)
        write_text(out, text.getvalue())
    else:
        write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return len(rows)


def _exported_names() -> Sequence[str]:
    return ("id", "sha256", "paths", "width", "height", "date", "camera", "latitude", "longitude", "captions", "alike")


def _exported(picture: Picture) -> dict[str, Any]:
    values = vars(picture) | {
        "paths": [str(path) for path in picture.paths],
        "captions": list(picture.captions),
    }
    return {name: values[name] for name in _exported_names()}


def _lost_records(library: Library, ids: Sequence[int]) -> set[int]:
    """Return the pictures whose record is not whole, or not finite."""
    places = library.manifest.places(ids)
    held = {key: library.shards.rows(*key) for key in {(place.generation, place.shard) for place in places.values()}}
    lost = {number for number in ids if number not in places}
    lost |= {number for number, place in places.items() if place.row >= held[place.generation, place.shard]}
    for start in range(0, len(ids), _BLOCK):
        some = [number for number in ids[start : start + _BLOCK] if number not in lost]
        if some:
            index = library.records(some)["index"]
            good = np.isfinite(index).all(axis=1) & (np.abs(np.linalg.norm(index, axis=1) - 1) < 1e-2)
            lost |= {number for number, fine in zip(some, good, strict=True) if not fine}
    return lost


def _mend_thumbnail(library: Library, picture: Picture, loader: PictureLoader) -> int:
    path = library.thumbnail(picture.sha256)
    if path.exists() and path.stat().st_size:
        return 0
    for file in picture.paths:
        with contextlib.suppress(OSError, BrokenPicture):
            heif_is_read()
            put_thumbnail(path, read_photo(file.read_bytes(), loader, 8, DEFAULT_MEGAPIXELS).thumbnail)
            return 1
    return 0


def _regions(library: Library, number: int, kept: Regions | None, encoder: Any, loader: PictureLoader) -> Regions:
    if kept is not None:
        return kept
    picture = library.get(number)
    for path in picture.paths:
        with contextlib.suppress(OSError, BrokenPicture):
            return encoder.encode(torch.from_numpy(loader.load(path).pixels[None]))
    first = picture.paths[0] if picture.paths else f"picture {number}"
    raise InputError(f"{first}: can no longer be read", "run 'crossgraph index' first, so that the library knows")


def _move(library: Library, places: Sequence[tuple[int, Place]], values: dict[str, str]) -> None:
    """Point the manifest to records in new files, in one transaction with what else changes."""
    with library.manifest.transaction() as connection:
        connection.executemany(
            "UPDATE pictures SET generation = ?, shard = ?, row = ? WHERE id = ?",
            [(place.generation, place.shard, place.row, number) for number, place in places],
        )
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))
