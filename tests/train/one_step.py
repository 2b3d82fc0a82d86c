"""Run as a process: one training step's loss and gradients on a share of a fixed batch, written to a file.

python one_step.py OUT          RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun sets them
"""

from __future__ import annotations

import dataclasses
import sys

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import Tensor

from crossgraph.core import config as configs
from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import Hinge
from crossgraph.models import training_blocks
from crossgraph.models.base import MODELS, Batch, Inputs, Progress
from crossgraph.train.distributed import make_fabric
from crossgraph.train.step import StepInput, TrainingStep

MEASURED = ("sgr", "saf", "cgmn", "gpo", "vsrn captioning=attention", "tshsr", "imram", "sgraf-joint", "hsc")
MEASURED += (
    "vsepp",
    "vsepp-order",
    "scan",
    "bfan",
    "gsmn sim_size=4",
    "pfan",
    "camp",
    "dp-rnn",
    "mmca",
    "sgraf-average",
)
MEASURED += ("sgm",)
PAIRS, REGIONS, WIDTH, WORDS = 8, 5, 12, 7


def whole_batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(PAIRS, REGIONS, WIDTH, generator=generator)
    mask = torch.rand(PAIRS, REGIONS, generator=generator) < 0.7
    mask[:, 0] = True
    mask[:4, 3:] = False  # pictures of the first process have fewer regions
    lengths = torch.tensor([5, 3, 4, 2, 7, 6, 3, 7])
    ids = torch.randint(4, 20, (PAIRS, WORDS), generator=generator) * (torch.arange(WORDS) < lengths[:, None])
    corner = torch.rand(PAIRS, REGIONS, 2, generator=generator) / 2
    regions = Regions(features, mask, torch.cat([corner, corner + 0.3], dim=-1))
    return Batch(regions, Tokens(ids, lengths), torch.tensor([0, 1, 2, 3, 0, 5, 6, 7]))


def share(batch: Batch, rank: int, ranks: int) -> Batch:
    rows = slice(rank * PAIRS // ranks, (rank + 1) * PAIRS // ranks)
    regions, tokens = batch.regions.select(rows), batch.tokens.select(rows)
    longest = int(tokens.lengths.max())
    if not regions.mask[:, 3:].any():  # as a loader would, pad to this process's own largest
        assert regions.boxes is not None
        regions = Regions(regions.features[:, :3], regions.mask[:, :3], regions.boxes[:, :3])
    return Batch(regions, Tokens(tokens.ids[:, :longest], tokens.lengths), batch.image_ids[rows])


def measure(name: str, fabric: Fabric) -> dict[str, Tensor]:
    torch.manual_seed(0)
    registered, *choices = name.split()
    family = MODELS[registered]
    values = {"embed_size": 8, "word_size": 6, "sim_size": 5, "dropout": 0.0, "captioning_dropout": 0.0}
    fields = {item.name for item in dataclasses.fields(family.Config)}
    given = dict(choice.split("=") for choice in choices)
    values = {key: value for key, value in values.items() if key in fields}
    values |= {key: int(value) if value.isdigit() else value for key, value in given.items()}
    model = family(configs.build(family.Config, values, "test"), Inputs(WIDTH, 20))
    for key, parameter in model.named_parameters():
        if key.endswith(".norm.weight") and not parameter.any():  # as region graphs begin: they would do nothing
            torch.nn.init.uniform_(parameter, 0.1, 0.2)  # not steeper than float32 can follow
    step = fabric.setup(TrainingStep(model, Hinge(0.2, "hardest")))
    step.train()
    found = step(StepInput(share(whole_batch(), fabric.global_rank, fabric.world_size), Progress()))
    loss = torch.stack([term for key, term in found.items() if key != "spread"]).sum()
    fabric.backward(loss)
    tensors = {f"grad.{key}": p.grad for key, p in model.named_parameters() if p.grad is not None}
    tensors |= {f"buffer.{key}": b.float() for key, b in model.named_buffers()}
    tensors |= {key: term.detach() for key, term in found.items()}
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


def main(out: str) -> None:
    fabric = make_fabric("32", "cpu", 1)
    fabric.launch()
    if fabric.world_size > 1:  # the halves compute their blocks twice, the whole keeps its graph
        training_blocks.GRAPH_BYTES, training_blocks.BLOCK_BYTES = 0, 10_000
    tensors = {key: tensor for name in MEASURED for key, tensor in measure(name, fabric).items()}
    if fabric.global_rank == 0:
        save_file(tensors, out)
    fabric.barrier()


if __name__ == "__main__":
    main(sys.argv[1])
