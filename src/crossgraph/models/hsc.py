"""HSC: hierarchical semantic correspondences (its code is named LHSC).

Zeng, Liu, Zhou, Chen, Jiang, Li: "Learning Hierarchical Semantic Correspondences for Cross-Modal Image-Text
Retrieval", ICMR 2022. What is computed follows the authors' code; the names of the levels are the paper's.

What is unusual:
- The similarity is SGRAF's filtration (SAF), unchanged; what is new happens on each side alone, before the two meet.
- Regions pass four layers of a learned graph. The paper reads them as objects (layer 1), relations of objects (2) and
  what is above (3, 4); the code reads the last layer alone, and so do we.
- Words pass four layers of self-attention *before* the GRU, which weaken words that say little.
- Each graph layer begins as the identity: its batch norm's weight is zero at the start.

The authors' word attention lets padding take part, so that a caption's score depends on its batch. Ours does not:
see `crossgraph.text.word_attention`. Their weights fit, and give their scores for captions of one length.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.graphs.region_hierarchy import RegionHierarchy
from crossgraph.models.base import MODELS
from crossgraph.models.sgraf import SAF, SAFConfig
from crossgraph.text.choice import build_text_encoder
from crossgraph.text.word_attention import AttentiveTextEncoder


@dataclass(frozen=True)
class HSCConfig(SAFConfig):
    """Sizes and choices: SAF's, and the layers on either side; the defaults are the authors'."""

    region_layers: int = 4  # of the region graph
    word_layers: int = 4  # of self-attention before the GRU; a transformer has its own and gets none
    word_attention_dropout: float = 0.0  # inside these

    def __post_init__(self) -> None:
        """Refuse what makes no model; see `SGRAFConfig`.

        Raises:
            InputError: A number of layers below 0, or no probability.
        """
        super().__post_init__()
        for name in ("region_layers", "word_layers"):
            if getattr(self, name) < 0:
                raise InputError(f"model.config.{name} is {getattr(self, name)}", "give 0 or more layers")
        if not 0 <= self.word_attention_dropout < 1:
            raise InputError(
                f"model.config.word_attention_dropout is {self.word_attention_dropout}",
                "give a probability from 0 to below 1",
            )


@MODELS.register("hsc")
class HSC(SAF):
    """SAF on regions that reasoned and words that attended to each other."""

    Config = HSCConfig
    paper = (
        "Zeng et al., Learning Hierarchical Semantic Correspondences for Cross-Modal Image-Text Retrieval, ICMR 2022"
    )
    config: HSCConfig

    def build_encoders(self) -> None:
        """Make the region graph, and the self-attention of words where a GRU follows it."""
        config, inputs = self.config, self.inputs
        self.project_regions = nn.Linear(inputs.feature_size, config.embed_size)
        self.hierarchy = RegionHierarchy(config.embed_size, config.region_layers)
        sizes = inputs.vocabulary_size, config.word_size, config.embed_size, config.text_direction, config.dropout
        if config.text_encoder == "gru":
            self.encode_words = AttentiveTextEncoder(*sizes, config.word_layers, config.word_attention_dropout)
        else:
            self.encode_words = build_text_encoder(config, *sizes)

    def embed_regions(self, regions: Regions) -> Float[Tensor, "img region dim"]:
        """Return the region embeddings after the graph, before their norm."""
        return self.hierarchy(self.project_regions(regions.features), regions.mask)

    def dead_parameters(self) -> dict[str, str]:
        """Add the graph's biases that a batch norm takes out again."""
        hierarchy = {f"hierarchy.{name}": why for name, why in self.hierarchy.dead_parameters().items()}
        return super().dead_parameters() | hierarchy
