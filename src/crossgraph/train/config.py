"""Training settings: one dataclass per topic, a comment on every field that is not obvious.

A recipe is a YAML file of these fields (`recipes/`), changed field by field from the command line with
`--optimiser.lr=1e-4`. The defaults are the published settings of SGRAF on Flickr30K.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from crossgraph.core.errors import InputError
from crossgraph.core.ranges import CheckedSettings, Count, NotNegative, Positive, Probability, Range, Size


@dataclass(frozen=True)
class ModelChoice:
    """Which model, and its own fields.

    Attributes:
        name: A registered model, see `crossgraph.models`.
        config: Fields of that model's `Config`; the rest keep their defaults.
    """

    name: str
    config: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class LossChoice(CheckedSettings, prefix="loss."):
    """The ranking loss on a batch's score matrix; see `crossgraph.losses`.

    Attributes:
        name: Two-sided hinge (a sum over the batch, as published) or InfoNCE.
        negatives: Of the hinge: the hardest one, the sum of all, or the sum first and then the hardest.
        warm_up_epochs: With "warm-up": epochs that use the sum.
        warm_up_steps: With "warm-up": optimiser steps that use the sum; both must have passed.
        margin: Of the hinge.
        temperature: Of InfoNCE: scores are divided by it.
        same_image: Whether another caption of the same picture counts as a negative; "negatives" is what
            published code does, "masked" is right.
    """

    name: Literal["hinge", "infonce"] = "hinge"
    negatives: Literal["hardest", "sum", "warm-up"] = "hardest"
    warm_up_epochs: Count = 0
    warm_up_steps: Count = 0
    margin: NotNegative = 0.2
    temperature: Positive = 0.05
    same_image: Literal["masked", "negatives"] = "masked"

    def __post_init__(self) -> None:
        """Refuse a warm-up that never is.

        Raises:
            InputError: A value is out of its range, or the warm-up has no length.
        """
        super().__post_init__()
        has_warm_up = self.warm_up_epochs or self.warm_up_steps
        if self.name == "hinge" and self.negatives == "warm-up" and not has_warm_up:
            raise InputError("loss.negatives is 'warm-up' for no time", "set loss.warm_up_epochs or loss.warm_up_steps")


@dataclass(frozen=True)
class OptimiserChoice(CheckedSettings, prefix="optimiser."):
    """The optimiser.

    Attributes:
        name: "adam" (weight decay as an L2 term, as published) or "adamw" (decoupled).
        lr: Learning rate before the schedule; the hinge being a sum over the batch, it belongs to the batch size.
        weight_decay: 0 as published.
        clip: Largest 2-norm of the whole gradient; 0 turns clipping off.
        text_model_lr: Share of the learning rate that a fine-tuned text model's own weights get.
    """

    name: Literal["adam", "adamw"] = "adam"
    lr: Positive = 2e-4
    weight_decay: NotNegative = 0.0
    clip: NotNegative = 2.0
    text_model_lr: Positive = 0.1


@dataclass(frozen=True)
class ScheduleChoice(CheckedSettings, prefix="schedule."):
    """The learning rate over time, as a factor on `optimiser.lr`.

    Attributes:
        name: "constant"; "step": times `factor` after every `drop_every` epochs; "cosine": down to `floor`
            at the last step.
        drop_every: In epochs, for "step".
        drop_at: For "step", instead of `drop_every`: the epochs, counted from 0, that begin a lower rate.
        factor: For "step".
        floor: For "cosine".
        warm_up_steps: Optimiser steps over which the factor rises linearly from near 0, before any of these.
    """

    name: Literal["constant", "step", "cosine"] = "constant"
    drop_every: Size = 30
    drop_at: list[int] = field(default_factory=list[int])
    factor: Positive = 0.1
    floor: NotNegative = 0.0
    warm_up_steps: Count = 0


@dataclass(frozen=True)
class Regularisation(CheckedSettings, prefix="regularise."):
    """Noise on the inputs while training, for small data sets; all off by default, as published.

    Attributes:
        region_dropout: Probability that a region is hidden (masked out); one always stays.
        word_dropout: Probability that a word is replaced by `<unk>`.
        feature_noise: Standard deviation of Gaussian noise, as a share of the batch features' own.
        average: Decay of a moving average of the weights per optimiser step (0.999, say), which is then
            what is evaluated and kept; 0 keeps the weights themselves.
    """

    region_dropout: Probability = 0.0
    word_dropout: Probability = 0.0
    feature_noise: NotNegative = 0.0
    average: Probability = 0.0


@dataclass(frozen=True)
class Evaluation(CheckedSettings, prefix="evaluate."):
    """When the dev split is ranked, and when to stop.

    Attributes:
        every_epochs: Rank it after every so many epochs; always after the last.
        every_steps: And after every so many optimiser steps; 0 is never.
        dev_limit: Use only the first so many pictures of dev; 0 is all of them.
        patience: Stop after so many evaluations without a new best; 0 never stops early.
    """

    every_epochs: Size = 1
    every_steps: Count = 0
    dev_limit: Count = 0
    patience: Count = 0


@dataclass(frozen=True)
class Checkpoints(CheckedSettings, prefix="checkpoint."):
    """How much work a power cut may cost; there is always one after an evaluation.

    Attributes:
        every_minutes: Of training; 0 is never.
        every_steps: Optimiser steps; 0 is never.
    """

    every_minutes: NotNegative = 5.0
    every_steps: Count = 0


@dataclass(frozen=True)
class CollapseWatch(CheckedSettings, prefix="collapse."):
    """What happens when the loss freezes where all scores are equal.

    Attributes:
        action: Print a line and continue, stop with exit code 2, or do not check.
        after_steps: Consecutive optimiser steps that must show a collapse.
    """

    action: Literal["warn", "stop", "off"] = "warn"
    after_steps: Size = 300


@dataclass(frozen=True)
class Recipe(CheckedSettings):
    """Everything that decides what a training run computes, its data apart.

    Attributes:
        model: Which model, with its own fields.
        loss: The ranking loss.
        optimiser: The optimiser and clipping.
        schedule: The learning rate over time.
        regularise: Noise on the inputs, averaging of weights.
        evaluate: Ranking of the dev split; early stop.
        checkpoint: How often the state is saved.
        collapse: The watch on frozen losses.
        batch: Pairs per batch, over all processes.
        accumulate: Batches per optimiser step, their gradients added (negatives stay within a batch).
        epochs: Passes over all captions of the train split.
        max_steps: Stop after so many optimiser steps; 0 is never.
        precision: "32", or "bf16" for bfloat16 products with float32 weights.
        workers: Loader processes; 0 reads in the training process.
        seed: Of weights, order, dropout.
        vocabulary_minimum: Occurrences that a word needs to enter a vocabulary built here.
        log_every: Optimiser steps per row of `log.csv`.
    """

    model: ModelChoice
    loss: LossChoice = field(default_factory=LossChoice)
    optimiser: OptimiserChoice = field(default_factory=OptimiserChoice)
    schedule: ScheduleChoice = field(default_factory=ScheduleChoice)
    regularise: Regularisation = field(default_factory=Regularisation)
    evaluate: Evaluation = field(default_factory=Evaluation)
    checkpoint: Checkpoints = field(default_factory=Checkpoints)
    collapse: CollapseWatch = field(default_factory=CollapseWatch)
    batch: Annotated[int, Range(least=2)] = 128  # one pair has no negatives
    accumulate: Size = 1
    epochs: Size = 30
    max_steps: Count = 0
    precision: Literal["32", "bf16"] = "32"
    workers: Count = 0
    seed: Count = 0
    vocabulary_minimum: Size = 4
    log_every: Size = 10


# Fields that change when things happen or how fast, but no number that is computed: `--resume` may change them.
FREE_ON_RESUME = ("workers", "checkpoint", "collapse")
