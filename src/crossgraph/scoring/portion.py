"""A part of a score matrix, on its way to wherever the whole is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class Portion:
    """Scores of consecutive pictures with consecutive captions.

    Attributes:
        image: Row of the first picture.
        caption: Column of the first caption.
        scores: Of all pairs of these.
    """

    image: int
    caption: int
    scores: Float32[np.ndarray, "img txt"]
