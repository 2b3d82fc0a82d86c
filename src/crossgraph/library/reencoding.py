"""A library moved to another model, from kept region features where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from crossgraph.bundle.bundle import Bundle, EncodedPictures
from crossgraph.bundle.folder import copy_bundle, load_bundle
from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.library.features import KEY, FeatureFiles, layout_of, pack_features
from crossgraph.library.library import STALE, Library
from crossgraph.library.lock import writing
from crossgraph.library.maintenance import point_to
from crossgraph.library.manifest import Picture, Place
from crossgraph.library.records import Layout, Shards, pack
from crossgraph.library.writing import boxes_of, drop_orphans, sync_store
from crossgraph.progress import ProgressCallback
from crossgraph.scoring.engine import choose_device
from crossgraph.vision.pictures import BrokenPicture, PictureLoader
from crossgraph.vision.region_encoder import load_region_encoder, picture_loader

_BLOCK = 32  # pictures that are encoded together


def reencode(library: Library, model: Path, report: ProgressCallback, workers: int = 3) -> int:
    """Encode all pictures by another model, from kept features where they fit; return how many.

    Until the last of them is written the library answers as before. A run that is killed earlier begins anew; one
    that is killed while the store is filled is finished by the next command that writes.

    Args:
        library: Any with a model.
        model: A bundle or run.
        report: Hears of progress.
        workers: Threads that read pictures.

    Raises:
        InputError: The model is none, a picture can no longer be read, or the disk is full.
    """
    bundle = load_bundle(model).to(choose_device("auto"))
    with writing(library.folder):
        drop_orphans(library)
        if library.manifest.meta("layout") and not library.store_is_stale:
            _ = library.store  # another process's? then better to know it now
        run = _Run(library, bundle, workers)
        count = run.write(report)
        run.switch()
        if library.manifest.meta("layout"):
            sync_store(library, report)
            library.store.optimise(report)
    return count


class _Run:
    """One change of models: new files beside the old ones, then the switch."""

    def __init__(self, library: Library, bundle: Bundle, workers: int) -> None:
        self.library, self.bundle, self.workers = library, bundle, workers
        self.encoder = load_region_encoder(bundle.region_encoder)
        self.same_features = bundle.region_encoder == library.manifest.meta("region_encoder")
        self.generation = library.generation + 1
        self.places: dict[int, Place] = {}
        self.feature_places: dict[int, Place] = {}
        self.values = {"fingerprint": bundle.fingerprint, "model_name": bundle.name}
        self.values["region_encoder"] = bundle.region_encoder

    def write(self, report: ProgressCallback) -> int:
        ids = self.library.manifest.ids()
        with picture_loader(self.encoder) as loader, ThreadPoolExecutor(self.workers) as pool:
            for start in range(0, len(ids), _BLOCK):
                some = ids[start : start + _BLOCK]
                regions = self._regions(some, loader, pool)
                self._append(some, regions, _encoded(self.bundle, regions))
                report("encoding", start + len(some), len(ids))
        return len(ids)

    def switch(self) -> None:
        """Make the new model and files those that count."""
        library, folder = self.library, f"model-{self.generation:03d}"
        old_model, old_features = library.model_folder, FeatureFiles(library)
        copy_bundle(self.bundle, library.folder / folder)
        self.values |= {"generation": str(self.generation), "model_folder": folder}
        if self.places:
            self.values[STALE] = "1"
        point_to(library, self.places, self.values, None if self.same_features else self.feature_places)
        library.forget_model()
        if self.places:
            library.shards.drop(keep=self.generation)
        kept = old_features.layout
        if kept is not None:
            old_features.shards(kept).drop(keep=kept.generation)
        if old_model != library.model_folder:
            remove_folder(old_model)

    def _regions(self, ids: Sequence[int], loader: PictureLoader, pool: ThreadPoolExecutor) -> list[Regions]:
        """Return each picture's regions: kept ones, or encoded anew from its file."""
        kept = FeatureFiles(self.library).read(ids) if self.same_features else {}
        pictures = self.library.manifest.get(ids)
        absent = [number for number in ids if number not in kept]
        pixels = list(pool.map(lambda number: _pixels(pictures[number], loader), absent))
        for start in range(0, len(absent), 8):
            found = self.encoder.encode(torch.from_numpy(np.stack(pixels[start : start + 8])))
            kept |= zip(absent[start : start + 8], _each(found), strict=True)
        return [kept[number] for number in ids]

    def _append(self, ids: Sequence[int], regions: Sequence[Regions], codes: EncodedPictures) -> None:
        library, first = self.library, not self.places
        if first:
            kind = library.layout.kind
            self.layout = Layout.of(codes.index, codes.code, kind)
            self.values |= {"layout": self.layout.to_json(), "boxes": boxes_of(regions)}
            self.shards = Shards(library.folder / "codes", self.layout.dtype)
            self.shards.drop_generation(self.generation)
        records = pack(self.layout, codes.index, codes.code)
        self.places |= zip(ids, self.shards.append(records, _after(self.places, self.generation)), strict=True)
        kept = FeatureFiles(library).layout
        if kept is not None and not self.same_features:
            layout = layout_of(regions[0], kept.generation + 1)
            shards = Shards(library.folder / "features", layout.dtype)
            if first:
                self.values[KEY] = layout.to_text()
                shards.drop_generation(layout.generation)
            after = _after(self.feature_places, layout.generation)
            self.feature_places |= zip(ids, shards.append(pack_features(layout, regions), after), strict=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder that nothing names any more; what cannot be deleted stays."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _after(places: dict[int, Place], generation: int) -> Place:
    if not places:
        return Place(generation, 0, 0)
    last = places[next(reversed(places))]
    return Place(generation, last.shard, last.row + 1)


def _encoded(bundle: Bundle, regions: Sequence[Regions]) -> EncodedPictures:
    boxes = [each.boxes for each in regions if each.boxes is not None]
    features, mask = torch.cat([each.features for each in regions]), torch.cat([each.mask for each in regions])
    return bundle.encode_pictures(Regions(features, mask, torch.cat(boxes) if boxes else None))


def _each(regions: Regions) -> Iterator[Regions]:
    for row in range(len(regions)):
        boxes = None if regions.boxes is None else regions.boxes[row : row + 1]
        yield Regions(regions.features[row : row + 1], regions.mask[row : row + 1], boxes)


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
