"""From a batch to a loss."""

from __future__ import annotations

import pytest
import torch

from crossgraph.core import config as configs
from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import Hinge, InfoNCE
from crossgraph.models.base import MODELS, Batch, Inputs, Matcher, Progress
from crossgraph.train.config import LossChoice, Regularisation
from crossgraph.train.step import StepInput, TrainingStep, make_objective

SPECIALS = (0, 1, 2, 3)


def batch(pairs: int = 6, regions: int = 5, words: int = 7) -> Batch:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 20, (pairs, words), generator=generator)
    ids[:, 0], ids[:, -1] = 1, 2
    lengths = torch.full((pairs,), words)
    features = torch.randn(pairs, regions, 12, generator=generator)
    mask = torch.ones(pairs, regions, dtype=torch.bool)
    mask[0, 1:] = False
    return Batch(Regions(features, mask), Tokens(ids, lengths), torch.tensor([0, 1, 2, 0, 4, 5]))


def model() -> Matcher:
    torch.manual_seed(0)
    family = MODELS["sgr"]
    values = {"embed_size": 8, "word_size": 6, "sim_size": 5, "dropout": 0.0}
    return family(configs.build(family.Config, values, "test"), Inputs(12, 20))


class Seen(TrainingStep):
    """Keeps what the model is given."""

    def disturbed(self) -> tuple[Regions, Tokens]:
        given = batch()
        return self._add_noise(given.regions, given.tokens)


@pytest.mark.parametrize("masked", [True, False])
def test_the_loss_is_the_objective_on_all_scores_of_the_batch(masked: bool) -> None:
    given, matcher = batch(), model()
    found = TrainingStep(matcher, Hinge(0.2, "sum"), masked)(StepInput(given, Progress()))
    scores = matcher.score_block(matcher.encode_images(given.regions), matcher.encode_texts(given.tokens))
    same = given.image_ids[:, None] == given.image_ids if masked else torch.eye(6, dtype=torch.bool)
    torch.testing.assert_close(found["ranking"], Hinge(0.2, "sum")(scores, same, Progress()))
    torch.testing.assert_close(found["spread"], scores.std())


def test_dropped_words_become_unknown_but_specials_stay() -> None:
    torch.manual_seed(0)
    step = Seen(model(), Hinge(), noise=Regularisation(word_dropout=0.999), unknown=3, specials=SPECIALS)
    _, tokens = step.disturbed()
    assert tokens.ids[:, 0].eq(1).all() and tokens.ids[:, -1].eq(2).all()
    assert tokens.ids[:, 1:-1].eq(3).float().mean() > 0.9


def test_dropped_regions_leave_every_picture_at_least_one_of_its_own() -> None:
    torch.manual_seed(0)
    regions, _ = Seen(model(), Hinge(), noise=Regularisation(region_dropout=0.999)).disturbed()
    assert regions.mask.any(dim=1).all()
    assert not (regions.mask & ~batch().regions.mask).any()
    assert regions.mask.sum() < batch().regions.mask.sum()


def test_noise_is_a_share_of_the_features_own_spread() -> None:
    torch.manual_seed(0)
    regions, _ = Seen(model(), Hinge(), noise=Regularisation(feature_noise=0.5)).disturbed()
    before = batch().regions.features
    assert float((regions.features - before).std() / before.std()) == pytest.approx(0.5, rel=0.2)


def test_without_regularisation_the_batch_is_untouched() -> None:
    given = batch()
    regions, tokens = TrainingStep(model(), Hinge())._add_noise(given.regions, given.tokens)
    assert regions is given.regions and tokens is given.tokens


def test_the_warm_up_lasts_until_both_its_epochs_and_its_steps_are_over() -> None:
    by_epochs = make_objective(LossChoice(negatives="warm-up", warm_up_epochs=2, warm_up_steps=5), steps_per_epoch=10)
    by_steps = make_objective(LossChoice(negatives="warm-up", warm_up_epochs=1, warm_up_steps=50), steps_per_epoch=10)
    assert by_epochs == Hinge(0.2, "hardest", 20)
    assert by_steps == Hinge(0.2, "hardest", 50)
    assert make_objective(LossChoice(name="infonce", temperature=0.1), 10) == InfoNCE(0.1)
    assert make_objective(LossChoice(negatives="sum", margin=0.3), 10) == Hinge(0.3, "sum")
