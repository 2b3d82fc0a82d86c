"""Encodes a library anew by another model, from stored region features where there are any.

All records of the new model are written to files of the next generation first; the old files stay as they are. One
transaction of the manifest then switches codes, features and model together and marks the store as stale. Only after
it are the old files deleted and the store filled: a kill before the transaction leaves the old library, one after it
is completed by the next command that writes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from crossgraph.bundle.bundle import Bundle, EncodedPictures
from crossgraph.bundle.folder import copy_bundle, load_bundle
from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.library.features import KEY, FeatureFiles, layout_of, pack_features
from crossgraph.library.library import STALE, Library, model_values
from crossgraph.library.lock import write_lock
from crossgraph.library.maintenance import set_positions
from crossgraph.library.manifest import Picture, RecordPosition
from crossgraph.library.records import Layout, Shards, pack
from crossgraph.library.writer import boxes_of, delete_orphans, sync_store
from crossgraph.progress import ProgressCallback
from crossgraph.scoring.engine import choose_device
from crossgraph.vision.pictures import BrokenPicture, PictureLoader
from crossgraph.vision.region_encoder import load_region_encoder, picture_loader

_BLOCK = 32  # pictures that are encoded together


def reencode(library: Library, model: Path, report: ProgressCallback, workers: int = 3) -> int:
    """Encode all pictures by another model, from stored features where they fit; return how many.

    Args:
        library: Any with a model.
        model: A bundle or run.
        report: Progress callback.
        workers: Threads that read pictures.

    Raises:
        InputError: The model is none, a picture can no longer be read, or the disk is full.
    """
    bundle = load_bundle(model).to(choose_device("auto"))
    with write_lock(library.folder):
        delete_orphans(library)
        if library.manifest.meta("layout") and not library.store_is_stale:
            _ = library.store  # fails now, not after the encoding, where another process has it open
        run = _Run(library, bundle, workers)
        count = run.write(report)
        run.switch()
        if library.manifest.meta("layout"):
            sync_store(library, report)
            library.store.optimise(report)
    return count


class _Run:
    """One change of models."""

    def __init__(self, library: Library, bundle: Bundle, workers: int) -> None:
        self.library, self.bundle, self.workers = library, bundle, workers
        self.encoder = load_region_encoder(bundle.region_encoder)
        self.same_features = bundle.region_encoder == library.manifest.meta("region_encoder")
        self.generation = library.generation + 1
        self.positions: dict[int, RecordPosition] = {}
        self.feature_positions: dict[int, RecordPosition] = {}
        self.values = model_values(bundle)

    def write(self, report: ProgressCallback) -> int:
        """Write the records of all pictures into new files; return how many."""
        ids = self.library.manifest.ids()
        with picture_loader(self.encoder) as loader, ThreadPoolExecutor(self.workers) as pool:
            for start in range(0, len(ids), _BLOCK):
                block = ids[start : start + _BLOCK]
                regions = self._regions(block, loader, pool)
                self._append(block, regions, _encode(self.bundle, regions))
                report("encoding", start + len(block), len(ids))
        return len(ids)

    def switch(self) -> None:
        """Switch the library to the new model and files, then delete the old ones."""
        library, folder = self.library, f"model-{self.generation:03d}"
        old_model, old_features = library.model_folder, FeatureFiles(library)
        copy_bundle(self.bundle, library.folder / folder)
        self.values |= {"generation": str(self.generation), "model_folder": folder}
        if self.positions:
            self.values[STALE] = "1"
        set_positions(library, self.positions, self.values, None if self.same_features else self.feature_positions)
        library.unload_model()
        if self.positions:
            library.shards.drop(keep=self.generation)
        if layout := old_features.layout:
            old_features.shards(layout).drop(keep=layout.generation)
        if old_model != library.model_folder:
            shutil.rmtree(old_model, ignore_errors=True)

    def _regions(self, ids: Sequence[int], loader: PictureLoader, pool: ThreadPoolExecutor) -> list[Regions]:
        """Return each picture's regions: the stored ones, or those encoded anew from its file."""
        regions = FeatureFiles(self.library).read(ids) if self.same_features else {}
        pictures = self.library.manifest.get(ids)
        absent = [number for number in ids if number not in regions]
        pixels = list(pool.map(lambda number: _pixels(pictures[number], loader), absent))
        for start in range(0, len(absent), 8):
            encoded = self.encoder.encode(torch.from_numpy(np.stack(pixels[start : start + 8])))
            regions |= {
                number: encoded.select(slice(row, row + 1)) for row, number in enumerate(absent[start : start + 8])
            }
        return [regions[number] for number in ids]

    def _append(self, ids: Sequence[int], regions: Sequence[Regions], codes: EncodedPictures) -> None:
        library, first = self.library, not self.positions
        if first:
            self.layout = Layout.of(codes.index, codes.code, library.layout.kind)
            self.values |= {"layout": self.layout.to_json(), "boxes": boxes_of(regions)}
            self.shards = Shards(library.folder / "codes", self.layout.dtype)
            self.shards.drop_generation(self.generation)
        records = pack(self.layout, codes.index, codes.code)
        self.positions |= zip(ids, self.shards.append(records, _after(self.positions, self.generation)), strict=True)
        stored = FeatureFiles(library).layout
        if stored is not None and not self.same_features:
            layout = layout_of(regions[0], stored.generation + 1)
            shards = Shards(library.folder / "features", layout.dtype)
            if first:
                self.values[KEY] = layout.to_text()
                shards.drop_generation(layout.generation)
            after = _after(self.feature_positions, layout.generation)
            self.feature_positions |= zip(ids, shards.append(pack_features(layout, regions), after), strict=True)


def _after(positions: dict[int, RecordPosition], generation: int) -> RecordPosition:
    """Return the position behind the last of some records."""
    return positions[next(reversed(positions))].following if positions else RecordPosition(generation)


def _encode(bundle: Bundle, regions: Sequence[Regions]) -> EncodedPictures:
    boxes = [each.boxes for each in regions if each.boxes is not None]
    features, mask = torch.cat([each.features for each in regions]), torch.cat([each.mask for each in regions])
    return bundle.encode_pictures(Regions(features, mask, torch.cat(boxes) if boxes else None))


def _pixels(picture: Picture, loader: PictureLoader) -> np.ndarray:
    reason = "lies nowhere"
    for path in picture.paths:
        try:
            return loader.load(path).pixels
        except BrokenPicture as error:
            reason = str(error)
    first = picture.paths[0] if picture.paths else f"picture {picture.id}"
    raise InputError(
        f"{first}: can no longer be read ({reason})",
        "mount its folder, or run 'crossgraph index' first, so that the library knows",
    )
