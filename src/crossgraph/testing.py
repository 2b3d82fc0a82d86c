"""Checks that every model must pass, for models of this package and of plugins alike.

`check_model("my-model")` runs them all on small random data; `MODEL_CHECKS` are the single ones, for a test each:

    @pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__)
    def test_my_model(check):
        check(SmallModel("my-model"))
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import hinge, prescribed_loss
from crossgraph.models.base import MODELS, Batch, Inputs, Matcher, Progress
from crossgraph.runs import RunInfo, describe_model, load_run, save_run
from crossgraph.text.vocabulary import Vocabulary

INPUTS = Inputs(feature_size=20, vocabulary_size=30)
SMALL_SIZES: dict[str, Any] = {"embed_size": 16, "word_size": 12, "sim_size": 8}
TOLERANCE = 1e-5  # of scores that are equal but for rounding
LENGTHS = (9, 3, 6, 2, 5)  # tokens of the captions


@dataclass(frozen=True)
class SmallModel:
    """Builds a registered model at small sizes, with every weight and statistic random.

    Attributes:
        name: Registered name.
        choices: Fields of its config that differ from the defaults; sizes are small where the config has them.
    """

    name: str
    choices: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def build(self, seed: int = 0, dropout: float | None = None) -> Matcher:
        """Return the model in evaluation mode."""
        torch.manual_seed(seed)
        family = MODELS[self.name]
        fields = {item.name for item in dataclasses.fields(family.Config)}
        choices = SMALL_SIZES | dict(self.choices) | ({} if dropout is None else {"dropout": dropout})
        model: Matcher = family(family.Config(**{key: choices[key] for key in choices if key in fields}), INPUTS)
        with torch.no_grad():
            for key, tensor in model.state_dict().items():
                if key.endswith("running_var") or ("norm" in key and key.endswith("weight")):
                    tensor.uniform_(0.5, 1.5)
                elif key.endswith(("running_mean", "bias")):
                    tensor.normal_(0, 0.1)
        return model.eval()


def check_model(name: str, choices: Mapping[str, Any] | None = None) -> None:
    """Check that a registered model keeps what commands, training and search rely on.

    Args:
        name: Registered name.
        choices: Fields of its config that differ from the defaults.

    Raises:
        AssertionError: A check failed; its name comes first in the message.
        InputError: No model has that name.
    """
    small = SmallModel(name, choices or {})
    small.build()
    for check in MODEL_CHECKS:
        try:
            check(small)
        except AssertionError as error:
            said = str(error).strip() or (check.__doc__ or "").partition("\n")[0]
            raise AssertionError(f"{check.__name__}: {said}") from error


def sample_regions(count: int = 5, regions: int = 7, seed: int = 1) -> Regions:
    """Return random regions of some pictures, with boxes."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, regions, INPUTS.feature_size, generator=generator)
    low = torch.rand(count, regions, 2, generator=generator) / 3
    return Regions(features, torch.ones(count, regions, dtype=torch.bool), torch.cat([low, low + 0.4], dim=-1))


def sample_tokens(lengths: Sequence[int] = LENGTHS, width: int | None = None, seed: int = 2) -> Tokens:
    """Return random captions of given lengths, padded to `width`."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(lengths), width or max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, INPUTS.vocabulary_size, (length,), generator=generator)
    return Tokens(ids, torch.tensor(lengths))


def score_all(model: Matcher, regions: Regions, tokens: Tokens) -> Float[Tensor, "img txt"]:
    """Return the scores of all pairs, without gradient."""
    with torch.no_grad():
        return model.score_block(model.encode_images(regions), model.encode_texts(tokens))


def training_loss(model: Matcher, regions: Regions, tokens: Tokens, negatives: Any) -> Float[Tensor, ""]:
    """Return the sum of the model's loss terms; the ranking term is a hinge over `negatives` unless prescribed."""
    batch = Batch(regions, tokens, torch.arange(len(tokens)))
    same = torch.eye(len(tokens), dtype=torch.bool)

    def ranking(scores: Tensor, prescribed: Any = None) -> Tensor:
        return prescribed_loss(prescribed, scores, same) if prescribed else hinge(scores, same, 0.2, negatives)

    images, texts = model.encode_images(regions), model.encode_texts(tokens)
    return torch.stack(list(model.losses(images, texts, batch, ranking, Progress()).values())).sum()


def check_scores(small: SmallModel) -> None:
    """Scores are one finite number per pair, and differ between pairs."""
    matrix = score_all(small.build(), sample_regions(), sample_tokens())
    assert matrix.shape == (5, 5), f"scores have shape {tuple(matrix.shape)}, not (5, 5)"
    assert torch.isfinite(matrix).all(), "a score is NaN or infinite"
    assert matrix.std() > 0, "all scores are equal"


def check_caption_alone(small: SmallModel) -> None:
    """A caption alone scores as it does in a batch."""
    model, regions, tokens = small.build(), sample_regions(), sample_tokens()
    together = score_all(model, regions, tokens)
    for row, length in enumerate(LENGTHS):
        alone = Tokens(tokens.ids[row : row + 1, :length], tokens.lengths[row : row + 1])
        _assert_close(score_all(model, regions, alone)[:, 0], together[:, row])


def check_padding(small: SmallModel) -> None:
    """More padding, and the ids in it, change no score."""
    model, regions, tokens = small.build(), sample_regions(), sample_tokens(width=14)
    filled = Tokens(torch.where(tokens.mask, tokens.ids, torch.full_like(tokens.ids, 7)), tokens.lengths)
    _assert_close(score_all(model, regions, filled), score_all(model, regions, sample_tokens()))


def check_order_of_items(small: SmallModel) -> None:
    """The order of pictures and captions in a batch changes no score."""
    model, regions, tokens = small.build(), sample_regions(), sample_tokens()
    rows, columns = torch.tensor([3, 1, 4, 0, 2]), torch.tensor([4, 2, 0, 1, 3])
    moved = score_all(model, regions.select(rows), tokens.select(columns))
    _assert_close(moved, score_all(model, regions, tokens)[rows][:, columns])


def check_order_of_regions(small: SmallModel) -> None:
    """The order of regions changes scores exactly where the model says so (`reads_region_order`)."""
    model, regions, tokens = small.build(), sample_regions(), sample_tokens()
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert regions.boxes is not None
    shuffled = Regions(regions.features[:, order], regions.mask, regions.boxes[:, order])
    drift = float((score_all(model, shuffled, tokens) - score_all(model, regions, tokens)).abs().max())
    expected = drift > 1e-3 if model.reads_region_order else drift < TOLERANCE
    assert expected, f"scores move by {drift:.1e}, and reads_region_order is {model.reads_region_order}"


def check_masked_regions(small: SmallModel) -> None:
    """Masked regions change no score, whatever is in them."""
    model, regions, tokens = small.build(), sample_regions(), sample_tokens()
    assert regions.boxes is not None
    junk, hidden = torch.full((5, 3, INPUTS.feature_size), 9.0), torch.zeros(5, 3, dtype=torch.bool)
    padded = Regions(
        torch.cat([regions.features[:, :4], junk, regions.features[:, 4:]], dim=1),  # as when regions are dropped
        torch.cat([regions.mask[:, :4], hidden, regions.mask[:, 4:]], dim=1),
        torch.cat([regions.boxes[:, :4], torch.ones(5, 3, 4), regions.boxes[:, 4:]], dim=1),
    )
    _assert_close(score_all(model, padded, tokens), score_all(model, regions, tokens))


def check_short_list(small: SmallModel) -> None:
    """Scores of short lists equal the entries of the matrix."""
    model = small.build()
    with torch.no_grad():
        images, texts = model.encode_images(sample_regions()), model.encode_texts(sample_tokens())
        matrix = model.score_block(images, texts)
        lists = torch.tensor([[0, 3], [1, 1], [4, 2], [2, 0], [3, 4]])  # two pictures for each caption
        short = model.score(images.map(lambda t: t[lists]), texts.map(lambda t: t[:, None]))
    assert short.shape == (5, 2, 1), f"scores of short lists have shape {tuple(short.shape)}, not (5, 2, 1)"
    _assert_close(short[:, :, 0], torch.stack([matrix[lists[row], row] for row in range(5)]))


def check_alignment(small: SmallModel) -> None:
    """An alignment has the score of its pair, weights that sum to 1 a word, and significance that sums to at most 1."""
    model = small.build()
    with torch.no_grad():
        images, texts = model.encode_images(sample_regions()), model.encode_texts(sample_tokens())
        matrix = model.score_block(images, texts)
        for row, column in ((0, 0), (4, 1), (2, 3)):
            pair = images.select(slice(row, row + 1)), texts.select(slice(column, column + 1))
            attention, length = model.align(*pair), LENGTHS[column]
            shapes = tuple(attention.weights.shape), tuple(attention.significance.shape)
            assert shapes == ((length, 7), (length,)), f"weights and significance have shapes {shapes}"
            _assert_close(attention.score, matrix[row, column])
            _assert_close(attention.weights.sum(dim=1), torch.ones(length))
            assert attention.significance.min() >= 0, "a word's significance is negative"
            assert attention.significance.sum() <= 1 + TOLERANCE, "the words' significance sums to more than 1"


def check_code_shapes(small: SmallModel) -> None:
    """Codes without a group axis, or in different groups, are refused."""
    model = small.build()
    with torch.no_grad():
        images, texts = model.encode_images(sample_regions()), model.encode_texts(sample_tokens())
    for codes in ((images, texts), (images.map(lambda t: t[:, None]), texts.map(lambda t: t[None]))):
        try:
            model.score(*codes)
        except ValueError:
            continue
        raise AssertionError("codes that do not belong together are scored")


def check_fast_form(small: SmallModel) -> None:
    """The fast form gives the scores of the plain form."""
    model = small.build()
    with torch.no_grad():
        images = model.encode_images(sample_regions()).map(lambda t: t[None])
        texts = model.encode_texts(sample_tokens()).map(lambda t: t[None])
        _assert_close(model.fold().score(images, texts), model.score(images, texts))


def check_training_splits(small: SmallModel) -> None:
    """In training, the score of a pair depends on other pairs of the batch only as `splits` declares."""
    model, part = small.build(dropout=0.0).train(), slice(1, 4)
    with torch.no_grad():
        images, texts = model.encode_images(sample_regions()), model.encode_texts(sample_tokens())
        whole = model.score(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))[0]
        if model.splits != "whole":
            some = model.score(images.map(lambda t: t[None]), texts.map(lambda t: t[None, part]))[0]
            _assert_close(some, whole[:, part])
        if model.splits == "pair":
            some = model.score(images.map(lambda t: t[None, part]), texts.map(lambda t: t[None]))[0]
            _assert_close(some, whole[part])


def check_gradients(small: SmallModel) -> None:
    """Every parameter gets a gradient, except those that `dead_parameters` lists."""
    model = small.build().double().train()  # in float64 what is zero by construction is below 1e-13 of the rest
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    regions = sample_regions().map(lambda t: t.double() if t.is_floating_point() else t)
    training_loss(model, regions, sample_tokens(), "sum").backward()
    norms = {key: None if p.grad is None else float(p.grad.norm()) for key, p in model.named_parameters()}
    without = [key for key, norm in norms.items() if norm is None]
    assert not without, f"no gradient reaches {', '.join(without)}"
    total = sum((norm or 0.0) ** 2 for norm in norms.values()) ** 0.5
    still = {key for key, norm in norms.items() if norm is not None and norm <= 1e-13 * total}
    expected = set(model.dead_parameters())
    assert still == expected, f"gradients of {sorted(still)} are zero, dead_parameters lists {sorted(expected)}"


def check_saved_run(small: SmallModel) -> None:
    """A saved run gives the same config, vocabulary and scores."""
    words = [f"w{number}" for number in range(INPUTS.vocabulary_size - 4)]
    vocabulary = Vocabulary.build([" ".join(words)], minimum=1)
    model, regions, tokens = small.build(), sample_regions(), sample_tokens()
    with tempfile.TemporaryDirectory() as folder:
        described = describe_model(model)
        info = RunInfo(small.name, described["config"], described["inputs"], plugin=described["plugin"])
        save_run(Path(folder), model, vocabulary, info)
        again = load_run(Path(folder))
    assert again.info.model == small.name, f"the run's model is '{again.info.model}'"
    assert again.model.config == model.config, "the config changed"
    assert again.vocabulary.words == vocabulary.words, "the vocabulary changed"
    assert torch.equal(score_all(again.model, regions, tokens), score_all(model, regions, tokens)), "scores changed"


MODEL_CHECKS: tuple[Callable[[SmallModel], None], ...] = (
    check_scores,
    check_caption_alone,
    check_padding,
    check_order_of_items,
    check_order_of_regions,
    check_masked_regions,
    check_short_list,
    check_alignment,
    check_code_shapes,
    check_fast_form,
    check_training_splits,
    check_gradients,
    check_saved_run,
)
"""All checks, each of a `SmallModel`."""


def _assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE)
