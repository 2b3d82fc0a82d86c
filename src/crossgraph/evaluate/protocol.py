"""The protocols: the whole gallery, and the mean of consecutive slices ("1K" on COCO's 5,000 images)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from crossgraph.bootstrap import RESAMPLES
from crossgraph.core.errors import InputError
from crossgraph.evaluate.bootstrap import intervals, mean_samples, resample
from crossgraph.evaluate.matrices import select_pairs
from crossgraph.evaluate.metrics import Figures, direction_figures, mean_figures
from crossgraph.evaluate.outcomes import Outcomes, outcomes
from crossgraph.scoring.recall import ScoreRows, Ties

Samples = dict[str, Float[np.ndarray, " resample"]]


@dataclass(frozen=True)
class Protocol:
    """Ties and slices of an evaluation.

    Attributes:
        ties: "expected", the mean over all orders of equal scores, or "worst".
        slices: Consecutive slices of equal size beside the whole gallery; 1 for none.
        resamples: Draws of the bootstrap.
        seed: Of the draws.
    """

    ties: Ties = "expected"
    slices: int = 1
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """Figures, intervals and outcomes of a score matrix.

    Attributes:
        whole: The whole gallery.
        slices: Each slice; empty without slices.
        slice_mean: Their mean, or None.
        left_out: Images at the end that no slice holds, because the slices are of equal size.
        i2t: The whole gallery's queries, image to captions.
        t2i: The whole gallery's queries, caption to image.
    """

    whole: Figures
    slices: list[Figures]
    slice_mean: Figures | None
    left_out: int
    i2t: Outcomes
    t2i: Outcomes


def evaluate_scores(
    scores: ScoreRows, caption_image: Int64[np.ndarray, " caption"], protocol: Protocol | None = None
) -> Evaluation:
    """Evaluate a score matrix.

    Args:
        scores: (images, captions), higher is better; read in blocks of rows.
        caption_image: Row of the image that each caption describes.
        protocol: How; the defaults of `Protocol` otherwise.

    Raises:
        InputError: NaN or infinity in the scores, a map that does not fit them, or slices that are
            fewer than one, more than the images, or without captions.
    """
    protocol = protocol or Protocol()
    images = scores.shape[0]
    check_slices(protocol.slices, images)
    whole, _, i2t, t2i = _gallery(f"all {images:,} images", scores, caption_image, protocol, 0)
    if protocol.slices == 1:
        return Evaluation(whole, [], None, 0, i2t, t2i)
    size = images // protocol.slices
    found: list[Figures] = []
    drawn: list[Samples] = []
    for number in range(protocol.slices):
        part, own = select_pairs(scores, caption_image, slice(number * size, (number + 1) * size))
        name = f"slice {number + 1} of {protocol.slices}"
        if not len(own):
            raise InputError(f"{name} holds no caption", "ask for fewer slices")
        figures, samples, _, _ = _gallery(name, part, own, protocol, number + 1)
        found.append(figures)
        drawn.append(samples)
    mean = mean_figures(f"mean of {protocol.slices} slices of {size:,} images", found, mean_samples(drawn))
    return Evaluation(whole, found, mean, images - size * protocol.slices, i2t, t2i)


def check_slices(slices: int, images: int) -> None:
    """Check that a split can be cut into so many slices.

    Raises:
        InputError: Fewer than one, or more than there are images.
    """
    if slices < 1:
        raise InputError(f"--slices {slices}", "give at least 1")
    if slices > images:
        raise InputError(f"--slices {slices}: there are {images:,} images", "ask for fewer slices")


def _gallery(
    name: str, scores: ScoreRows, caption_image: Int64[np.ndarray, " caption"], protocol: Protocol, number: int
) -> tuple[Figures, Samples, Outcomes, Outcomes]:
    i2t, t2i = outcomes(scores, caption_image, protocol.ties)
    samples = resample(i2t, t2i, (protocol.seed, number), protocol.resamples)
    first, second = direction_figures(i2t), direction_figures(t2i)
    rsum = sum(first.hit.values()) + sum(second.hit.values())
    images, captions = scores.shape
    return Figures(name, images, captions, first, second, rsum, intervals(samples)), samples, i2t, t2i
