"""Scores that are not numbers are refused by the name of the query, never ranked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from crossgraph.core.errors import InputError


class NonFiniteScore(InputError):
    """A score is NaN or infinite.

    Attributes:
        image: Row of its image.
        caption: Column of its caption.
        value: What stands there, "NaN", "+infinity" or "-infinity".
    """

    def __init__(self, image: int, caption: int, value: str) -> None:
        self.image, self.caption, self.value = image, caption, value
        super().__init__(
            f"the score of image {image} with caption {caption} (both from 0) is {value}",
            "the model has diverged or overflowed; score in float32 or choose an earlier checkpoint",
        )

    def __reduce__(self) -> tuple[type[NonFiniteScore], tuple[int, int, str]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Survive the trip between processes."""
        return type(self), (self.image, self.caption, self.value)

    def named(self, source: str, image_ids: Sequence[str], captions: Sequence[str]) -> InputError:
        """Return the same refusal with the file, the image's id and the caption's text."""
        text = captions[self.caption]
        short = text if len(text) <= 80 else text[:79] + "…"
        return InputError(
            f"{source}: the score of image '{image_ids[self.image]}' with the caption \"{short}\" is {self.value}",
            self.remedy,
        )


def refuse_nonfinite(block: Float[np.ndarray, "img txt"], first_row: int = 0) -> None:
    """Pass a block of scores only when every one is a finite number.

    Args:
        block: Consecutive rows of a score matrix.
        first_row: Row of the block's first.

    Raises:
        NonFiniteScore: Otherwise, naming the first in reading order.
    """
    if np.isfinite(block).all():
        return
    image, caption = (int(place) for place in np.argwhere(~np.isfinite(block))[0])
    value = float(block[image, caption])
    name = "NaN" if np.isnan(value) else ("+infinity" if value > 0 else "-infinity")
    raise NonFiniteScore(image + first_row, caption, name)
