"""Every registered model, small, with the choices that take other ways than the defaults; for tests over all models."""

from __future__ import annotations

from typing import Any

from crossgraph.models.base import Matcher
from crossgraph.testing import SmallModel

# Choices within a registered model that take other ways than its defaults: "model field=choice ..."
# Two steps where the mean is read: after three fresh ones all nodes agree to 17 digits, and so do the edges.
VARIANTS = [
    "sgr steps=0",
    "sgr steps=0 nodes=global",
    "sgr steps=0 nodes=local",
    "sgr steps=1",
    "sgr nodes=local steps=2",
    "sgr attention=i2t",
    "sgr attention=i2t nodes=local",
    "saf nodes=local",
    "saf attention=i2t",
    "saf attention_statistics=per_batch attention=i2t nodes=local",
    "sgraf-average similarity=scalar",
    "sgraf-average similarity=scalar attention=i2t",
    "sgraf-average similarity=scalar nodes=both",
    "sgraf-average attention=i2t nodes=both",
    "sgraf-average nodes=global",
    "sgraf-joint nodes=local steps=2",
    "sgraf-joint attention=i2t steps=1",
    "cgmn spatial_layers=2",
    "cgmn spatial_layers=1 region_norm=region edge_weight=published without_edges=full",
    "cgmn read_out=mean semantic_layers=1",
    "vsepp image_norm=none",
    "vsepp signs=absolute",
    "vsrn input_norm=none node_norm=region read_norm=none",
    "vsrn input_norm=region layers=1",
    "vsrn captioning=attention captioning_size=10",
    "gpo text_norm=none text_direction=forward",
    "scan attention=i2t aggregation=lse",
    "scan aggregation=lse",
    "scan aggregation=max",
    "scan attention=i2t aggregation=sum",
    "scan affinity_norm=softmax",
    "scan affinity_norm=l2norm",
    "scan affinity_norm=clipped attention=i2t",
    "scan affinity_norm=no_norm",
    "scan region_layer=weight_norm text_direction=forward",
    "scan image_norm=none text_norm=none",
    "bfan focus=equal",
    "bfan text_direction=forward",
    "imram form=image",
    "sgm image_norm=none text_direction=forward",
    "imram form=text memory_norm=l2",
    "imram steps=1",
    "imram form=image steps=2 affinity_norm=l2norm",
    "pfan attention=i2t",
    "pfan aggregation=lse position_size=4 grid=4",
    "pfan aggregation=max blocks=40",
    "gsmn boxes=zero",
    "gsmn messages=dense",
    "gsmn messages=sparse",
    "camp negatives=all",
    "camp loss=ranking",
    "camp form=gate_fusion",
    "camp form=cross_attention text_norm=l2 loss=ranking",
    "camp form=cross_attention_new loss=ranking",
    "camp form=cross_attention_new word_average=published_50 loss=ranking",
    "hsc region_layers=1 word_layers=0",
    "hsc attention=i2t text_direction=forward word_layers=1 region_layers=0",
    "tshsr fusion=learned levels=2",
    "tshsr interaction=replace levels=1",
    "tshsr streams=t2i",
    "tshsr streams=i2t context_nodes=1",
    "dp-rnn recurrent=none",
    "dp-rnn text_direction=forward image_norm=none",
    "mmca heads=2 text_direction=forward",
]


def parse(text: str) -> SmallModel:
    """Return the model that "name field=choice ..." names."""
    name, *choices = text.split()
    pairs = (choice.split("=") for choice in choices)
    return SmallModel(name, {key: int(value) if value.isdigit() else value for key, value in pairs})


def make(text: str, seed: int = 0, **choices: Any) -> Matcher:
    """Build a small model with every weight and statistic random."""
    small = parse(text)
    return SmallModel(small.name, dict(small.choices) | choices).build(seed)
