"""`crossgraph extract`: extracts region features from pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from crossgraph.data.extraction import Outcome

# Waiting threads of GNU OpenMP spin by default: beside another busy program extraction then falls to a tenth
# of its rate, against a twentieth lost on an idle machine. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def extract(
    pictures: Path,
    *,
    out: Path,
    encoder: str = "efficientnet-lite0",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int = 4,
    workers: int = 2,
    max_megapixels: float = 200.0,
) -> None:
    """Turn a folder of pictures into region features.

    Stopped at any moment, the same command goes on. Run again, it takes in what was added or changed and
    drops what is gone. Pictures that cannot be read are listed at the end and never stop the run.

    Args:
        pictures: A folder of JPEG, PNG, WebP, GIF, TIFF and BMP files, subfolders included, or one picture.
        out: The feature folder to make or to bring up to date.
        encoder: The region encoder: efficientnet-lite0, efficientnet-lite0-multiscale, or transformers:FOLDER for
            the patches of a CLIP, SigLIP or DINOv2 model that lies in FOLDER.
        precision: bfloat16 is faster on processors that have it; features differ by about 6 %.
        batch_size: Pictures a forward pass.
        workers: Threads that read pictures.
        max_megapixels: Larger pictures are listed as broken.
    """
    from crossgraph.data.extraction import Settings, extract_features
    from crossgraph.progress import ProgressDisplay
    from crossgraph.vision.region_encoder import load_region_encoder

    settings = Settings(batch_size, workers, max_megapixels)
    network = load_region_encoder(encoder, None if encoder.endswith("+bfloat16") else precision)
    with ProgressDisplay() as progress:
        try:
            outcome = extract_features(pictures, out, network, settings, progress.update)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"whole shards in {out} are kept; the same command goes on from there") from None
    for line in summary(outcome, out):
        print(line)


def summary(outcome: Outcome, out: Path) -> list[str]:
    """Return the outcome of an extraction in a few lines."""
    from crossgraph.vision.scan import printable

    shape = f"{outcome.pictures:,} pictures × {outcome.regions} × {outcome.feature_size}"
    parts = [f"{shape} → {out}", _size(outcome.bytes)]
    if outcome.extracted == 0:
        parts.append("nothing to do: all were there already")
    else:
        parts.append(f"{outcome.extracted / max(outcome.seconds, 1e-3):.0f} pictures/s")
        if outcome.extracted < outcome.pictures:
            parts.append(f"{outcome.pictures - outcome.extracted:,} were there already")
    if outcome.dropped:
        parts.append(f"{outcome.dropped:,} no longer among the pictures dropped")
    head = ", ".join(parts) + (f"; {len(outcome.broken):,} broken:" if outcome.broken else "")
    broken = [f"  {printable(name)}: {printable(reason)}" for name, reason in outcome.broken]
    return [head, *broken, *(f"note: {note}" for note in outcome.notes)]


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
