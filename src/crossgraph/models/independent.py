"""Base class of models whose score is a dot product of one index vector a side."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.initialisation import xavier
from crossgraph.graphs.normalization import at_least_float32
from crossgraph.models.base import Inputs, Matcher
from crossgraph.text.choice import TextChoice


class IndependentMatcher(Matcher):
    """A model whose codes have an index vector, and whose score is the dot product of the two."""

    kind = "independent"
    config: TextChoice

    def __init__(self, config: TextChoice, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.project_regions = xavier(nn.Linear(inputs.feature_size, config.embed_size))

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Return the dot product of every picture's and every caption's index vector."""
        assert images.index is not None
        assert texts.index is not None
        return at_least_float32(images.index @ texts.index.transpose(1, 2))
