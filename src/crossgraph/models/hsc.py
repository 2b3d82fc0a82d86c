"""HSC: hierarchical semantic correspondences (its code is named LHSC).

Zeng, Liu, Zhou, Chen, Jiang, Li: "Learning Hierarchical Semantic Correspondences for Cross-Modal Image-Text
Retrieval", ICMR 2022. What is computed follows the authors' code; the names of the levels are the paper's.

What is unusual:
- The similarity is SGRAF's filtration (SAF), unchanged; the new layers are in the two encoders.
- Regions pass four layers of a learned graph. The paper reads them as objects (layer 1), relations of objects (2) and
  higher levels (3, 4); the code uses the last layer alone, and so do we.
- Words pass four layers of self-attention *before* the GRU, which weaken uninformative words.
- Each graph layer starts as the identity: its batch norm's weight is zero at the start.

The authors' word attention includes padding, so that a caption's score depends on its batch. Ours excludes it:
see `crossgraph.text.word_attention`. Their weights fit, and give their scores for captions of one length.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.ranges import Count, Probability
from crossgraph.core.types import Regions
from crossgraph.graphs.region_hierarchy import RegionHierarchy
from crossgraph.models.base import MODELS
from crossgraph.models.sgraf import SAF, SAFConfig
from crossgraph.text.choice import build_text_encoder
from crossgraph.text.word_attention import AttentiveTextEncoder


@dataclass(frozen=True)
class HSCConfig(SAFConfig):
    """Sizes and choices: SAF's, and the layers on either side; the defaults are the authors'."""

    region_layers: Count = 4  # of the region graph
    word_layers: Count = 4  # of self-attention before the GRU; a transformer has its own
    word_attention_dropout: Probability = 0.0  # in these layers


@MODELS.register("hsc")
class HSC(SAF):
    """SAF over regions after a graph and words after self-attention."""

    Config = HSCConfig
    paper = (
        "Zeng et al., Learning Hierarchical Semantic Correspondences for Cross-Modal Image-Text Retrieval, ICMR 2022"
    )
    config: HSCConfig

    def build_encoders(self) -> None:
        """Build the region graph and, before a GRU, the self-attention of words."""
        config, inputs = self.config, self.inputs
        self.project_regions = nn.Linear(inputs.feature_size, config.embed_size)
        self.hierarchy = RegionHierarchy(config.embed_size, config.region_layers)
        if config.text_encoder == "gru":
            sizes = inputs.vocabulary_size, config.word_size, config.embed_size, config.text_direction, config.dropout
            self.encode_words = AttentiveTextEncoder(*sizes, config.word_layers, config.word_attention_dropout)
        else:
            self.encode_words = build_text_encoder(
                config, inputs.vocabulary_size, config.text_direction, config.dropout
            )

    def embed_regions(self, regions: Regions) -> Float[Tensor, "img region dim"]:
        """Return the region embeddings after the graph, before their norm."""
        return self.hierarchy(self.project_regions(regions.features), regions.mask)
