"""Training in blocks gives the plain form's losses, gradients and running statistics, whatever the model."""

from __future__ import annotations

import pytest
import torch
from references.every_model import VARIANTS, make

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.losses import hinge
from crossgraph.models import training_blocks
from crossgraph.models.base import MODELS, Matcher
from crossgraph.testing import sample_regions, sample_tokens, training_loss

LENGTHS = (9, 3, 6, 2, 5, 3, 9)
NAMES = [name for name in [*MODELS, *VARIANTS] if MODELS[name.split()[0]].kind == "interaction"]


def plainly(pairs: training_blocks.PairComputation, images: ImageCode, texts: TextCode) -> dict[str, torch.Tensor]:
    return pairs.score_all(images, texts)


def step(model: Matcher, negatives: str, half: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """One training step's loss; gradients and running statistics by name."""
    torch.manual_seed(7)
    kind = next(model.parameters()).dtype
    regions = sample_regions(len(LENGTHS)).map(lambda t: t.to(kind) if t.is_floating_point() else t)
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = training_loss(model, regions, sample_tokens(LENGTHS), negatives)
    loss.backward()
    found = {f"{key}.gradient": p.grad for key, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), found | {key: buffer.clone() for key, buffer in model.named_buffers()}


def both(model: Matcher, monkeypatch, negatives: str, half: bool = False):
    """The step in blocks, and the plain form's."""
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    in_blocks = step(model, negatives, half)
    model.load_state_dict(state)
    with monkeypatch.context() as patched:
        patched.setattr("crossgraph.models.base.score_in_blocks", plainly)
        return in_blocks, step(model, negatives, half)


def compare(name: str, monkeypatch, negatives: str, budget: int, kept: int = 0) -> None:
    monkeypatch.setattr(training_blocks, "BLOCK_BYTES", budget)
    monkeypatch.setattr(training_blocks, "GRAPH_BYTES", kept)
    (loss, found), (expected_loss, expected) = both(make(name).double().train(), monkeypatch, negatives)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=0)
    assert found.keys() == expected.keys()
    steepest = max(float(t.abs().max()) for key, t in expected.items() if key.endswith("gradient"))
    for key, tensor in expected.items():
        largest = steepest if key.endswith("gradient") else 1.0
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-12 * largest, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize("negatives", ["hardest", "sum"])
@pytest.mark.parametrize("name", NAMES)
def test_blocks_give_the_plain_form_s_loss_gradients_and_statistics(name, negatives, monkeypatch):
    compare(name, monkeypatch, negatives, budget=60_000)


@pytest.mark.parametrize("name", [name for name in NAMES if " " not in name])
def test_blocks_of_one_pair_do(name, monkeypatch):
    compare(name, monkeypatch, "sum", budget=1)


@pytest.mark.parametrize("name", [name for name in NAMES if " " not in name])
def test_a_small_batch_keeps_its_graph_with_the_same_result(name, monkeypatch):
    compare(name, monkeypatch, "sum", budget=60_000, kept=1 << 30)


@pytest.mark.parametrize("negatives", ["sum", "hardest"])
@pytest.mark.parametrize("name", ["sgr", "saf", "tshsr", "imram", "camp", "dp-rnn"])
def test_blocks_compute_in_the_precision_of_the_step(name, negatives, monkeypatch):
    monkeypatch.setattr(training_blocks, "BLOCK_BYTES", 30_000)
    monkeypatch.setattr(training_blocks, "GRAPH_BYTES", 0)
    (loss, found), (expected_loss, expected) = both(make(name).train(), monkeypatch, negatives, half=True)
    torch.testing.assert_close(loss, expected_loss, rtol=2e-3, atol=0)
    keys = [key for key in expected if key.endswith("gradient")]
    gradient, other = (torch.cat([side[key].flatten() for key in keys]) for side in (expected, found))
    assert (other - gradient).norm() < 0.05 * gradient.norm()


@pytest.mark.parametrize("name", [name for name in NAMES if " " not in name])
def test_in_float32_the_folded_form_scores_and_the_plain_one_learns(name, monkeypatch):
    monkeypatch.setattr(training_blocks, "BLOCK_BYTES", 60_000)
    monkeypatch.setattr(training_blocks, "GRAPH_BYTES", 0)
    (loss, found), (expected_loss, expected) = both(make(name).train(), monkeypatch, "hardest")
    torch.testing.assert_close(loss, expected_loss, rtol=1e-6, atol=0)
    keys = [key for key in expected if key.endswith("gradient")]
    gradient, other = (torch.cat([side[key].flatten() for key in keys]) for side in (expected, found))
    assert (other - gradient).abs().max() < 1e-5 * gradient.abs().max()


def test_what_a_pair_computation_draws_is_drawn_alike_in_the_backward_pass(monkeypatch):
    monkeypatch.setattr(training_blocks, "BLOCK_BYTES", 1)
    monkeypatch.setattr(training_blocks, "GRAPH_BYTES", 0)
    drawn: list[torch.Tensor] = []

    def compute(images: ImageCode, texts: TextCode) -> dict[str, torch.Tensor]:
        scores = images.local.sum(dim=(2, 3))[:, :, None] * texts.local.sum(dim=(2, 3))[:, None]
        drawn.append(torch.rand_like(scores))
        return {"score": scores * drawn[-1]}

    images = ImageCode(torch.rand(3, 2, 4, requires_grad=True), torch.ones(3, 2, dtype=torch.bool))
    texts = TextCode(torch.rand(3, 2, 4, requires_grad=True), torch.ones(3, 2, dtype=torch.bool))
    scores = training_blocks.score_in_blocks(training_blocks.PairComputation(compute, []), images, texts)["score"]
    state = torch.get_rng_state()
    scores.sum().backward()
    assert torch.equal(torch.get_rng_state(), state)
    factors = torch.stack(drawn[-9:]).view(3, 3)  # a caption after the other
    expected = (factors.T * texts.local.detach().sum(dim=(1, 2))).sum(dim=1)
    torch.testing.assert_close(images.local.grad, expected[:, None, None].expand(3, 2, 4))


def test_a_hinge_on_the_hardest_negatives_computes_few_pairs_again(monkeypatch):
    monkeypatch.setattr(training_blocks, "BLOCK_BYTES", 1)
    monkeypatch.setattr(training_blocks, "GRAPH_BYTES", 0)
    seen: list[int] = []

    def compute(images: ImageCode, texts: TextCode) -> dict[str, torch.Tensor]:
        scores = torch.einsum("gard,gbwd->gab", images.local, texts.local)
        seen.append(scores.numel())
        return {"score": scores}

    images = ImageCode(torch.rand(30, 2, 4, requires_grad=True), torch.ones(30, 2, dtype=torch.bool))
    texts = TextCode(torch.rand(30, 2, 4, requires_grad=True), torch.ones(30, 2, dtype=torch.bool))
    scores = training_blocks.score_in_blocks(training_blocks.PairComputation(compute, []), images, texts)["score"]
    seen.clear()
    hinge(scores, torch.eye(30, dtype=torch.bool), 0.2, "hardest").backward()
    assert 0 < sum(seen) <= 90
