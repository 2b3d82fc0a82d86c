"""Every registered model, small, with the choices that take other ways than the defaults; for tests over all models."""

from __future__ import annotations

import dataclasses

import torch

from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import hinge, prescribed_loss
from crossgraph.models.base import MODELS, Batch, Inputs, Progress

INPUTS = Inputs(feature_size=20, vocabulary_size=30)
SMALL = {"embed_size": 16, "word_size": 12, "sim_size": 8}

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


def make(name, seed=0, **choices):
    """Build a small model with every weight and statistic random."""
    torch.manual_seed(seed)
    name, *own = name.split()
    choices |= {key: int(value) if value.isdigit() else value for key, value in (word.split("=") for word in own)}
    family = MODELS[name]
    fields = {item.name for item in dataclasses.fields(family.Config)}
    config = family.Config(**{k: v for k, v in (SMALL | choices).items() if k in fields})
    model = family(config, INPUTS)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("running_var") or ("norm" in key and key.endswith("weight")):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1)
    return model.eval()


def some_regions(count=5, regions=7, seed=1):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, regions, INPUTS.feature_size, generator=generator)
    low = torch.rand(count, regions, 2, generator=generator) / 3
    boxes = torch.cat([low, low + 0.4], dim=-1)
    return Regions(features, torch.ones(count, regions, dtype=torch.bool), boxes)


def some_tokens(lengths=(9, 3, 6, 2, 5), width=None, seed=2):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(lengths), width or max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, INPUTS.vocabulary_size, (length,), generator=generator)
    return Tokens(ids, torch.tensor(lengths))


def training_loss(model, regions, tokens, negatives):
    """The sum of the terms that the model names."""
    batch = Batch(regions, tokens, torch.arange(len(tokens)))
    same = torch.eye(len(tokens), dtype=torch.bool)

    def ranking(matrix, prescribed=None):
        if prescribed is not None:
            return prescribed_loss(prescribed, matrix, same)
        return hinge(matrix, same, 0.2, negatives)

    images, texts = model.encode_images(regions), model.encode_texts(tokens)
    return torch.stack(list(model.losses(images, texts, batch, ranking, Progress()).values())).sum()
