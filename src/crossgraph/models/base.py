"""The contract of a matching model (encode, score, align, losses) and the registry of models.

Each side is encoded without the other, so that codes can be computed once and stored. An *independent* model's
score is a dot product of `index` vectors; an *interaction* model's score needs both codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from crossgraph.core.registry import Registry
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.models.fast.form import Precision, Scorer
from crossgraph.models.training_blocks import PairComputation, PairScores, Splits, score_in_blocks


@dataclass(frozen=True)
class Inputs:
    """Sizes of the data that determine the sizes of a model's layers.

    Attributes:
        feature_size: Width of a region's raw feature, D.
        vocabulary_size: Entries of the vocabulary, specials included.
        regions: Regions a picture has when that is fixed, else None.
    """

    feature_size: int
    vocabulary_size: int
    regions: int | None = None


@dataclass(frozen=True)
class Progress:
    """Progress of training: optimiser steps done and the current epoch, both from 0."""

    step: int = 0
    epoch: int = 0


@dataclass(frozen=True)
class Batch:
    """A training batch of matched pairs: picture i with caption i. A picture occurs once per caption drawn.

    Attributes:
        regions: The pictures.
        tokens: The captions.
        image_ids: Equal where two pairs share a picture, which are not negatives of each other.
    """

    regions: Regions
    tokens: Tokens
    image_ids: Int[Tensor, " pair"]

    def to(self, device: torch.device | str) -> Batch:
        """Return a copy on `device`."""
        return Batch(self.regions.to(device), self.tokens.to(device), self.image_ids.to(device))


@runtime_checkable
class Objective(Protocol):
    """A loss on a square score matrix whose diagonal holds the matched pairs; see `crossgraph.losses`."""

    def __call__(
        self,
        scores: Float[Tensor, "pair pair"],
        same_image: Bool[Tensor, "pair pair"],
        progress: Progress,
    ) -> Float[Tensor, ""]:
        """Return the loss; `same_image` is True where row and column belong to one picture."""
        ...


@dataclass(frozen=True)
class PrescribedHinge:
    """A two-sided hinge loss that a method prescribes for one of its terms, whatever the recipe's objective is.

    Attributes:
        margin: α.
        negatives: "sum" of all, or the "hardest" of each row and column.
    """

    margin: float
    negatives: Literal["hardest", "sum"]


@dataclass(frozen=True)
class PrescribedCrossEntropy:
    """A binary cross-entropy of matched and unmatched pairs that a method prescribes for scores in 0..1.

    Attributes:
        negatives: The "hardest" of each row and column, or "all".
    """

    negatives: Literal["hardest", "all"]


@runtime_checkable
class RankingTerm(Protocol):
    """A function from a score matrix to the ranking loss, given to a model by the training step.

    With several processes each holds all pictures and its own captions' columns. The term gathers the columns
    before it applies the objective, so that models are independent of the number of processes.
    """

    def __call__(
        self,
        scores: Float[Tensor, "img txt"],
        prescribed: PrescribedHinge | PrescribedCrossEntropy | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss over all pairs of the batch, by the recipe's objective unless one is prescribed."""
        ...


class Matcher(nn.Module, ABC):
    """A published method. Subclasses are registered by name with `@MODELS.register` and built by `(config, inputs)`.

    Attributes:
        Config: Dataclass of its sizes and choices.
        config: The choices this one was built with.
        inputs: The sizes of the data it was built for.
        kind: "independent" (the score is a dot product of `index`) or "interaction".
        paper: Authors, title, venue, for lists and cards.
        status: "implemented" where tests compare it with the authors' code or equations; otherwise
            "re-interpretation" (built from an abstract) or "unverified" (built from a description).
        word_axes: Axes that run over words in the parts of caption codes, by the part's name.
    """

    kind: ClassVar[Literal["independent", "interaction"]]
    paper: ClassVar[str]
    status: ClassVar[Literal["implemented", "re-interpretation", "unverified"]] = "implemented"
    Config: ClassVar[type[Any]]
    word_axes: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    config: Any
    inputs: Inputs

    def __init__(self) -> None:
        super().__init__()
        self._pair_bytes: dict[tuple[Any, ...], int] = {}  # measured, see `crossgraph.models.training_blocks`

    @property
    def reads_region_order(self) -> bool:
        """Whether the order in which regions are stored changes the score."""
        return False

    @property
    def splits(self) -> Splits:
        """The units that pairs may be split into while training, see `crossgraph.models.training_blocks`.

        "pair": pairs are independent. "caption": there are statistics over all pictures of a caption. "whole": over
        all pairs.
        """
        return "pair"

    @abstractmethod
    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures alone: features (n, R, D) to a code whose leading axis is n."""

    @abstractmethod
    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions alone: ids (n, L) to a code whose leading axis is n."""

    @abstractmethod
    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score grouped codes whose sizes have been checked; what a subclass writes."""

    @abstractmethod
    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair; both codes have a leading axis of 1."""

    def score(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every picture of a group with every caption of the same group.

        One group of (a, b) is a full block. As many groups as queries with a or b = 1 is a short list.

        Args:
            images: `local` (g, a, R, d).
            texts: `local` (g, b, L, d).

        Returns:
            Scores (g, a, b).

        Raises:
            ValueError: The codes have no group axis, or their groups or widths differ.
        """
        image_shape, text_shape = tuple(images.local.shape), tuple(texts.local.shape)
        if len(image_shape) != 4 or len(text_shape) != 4:
            raise ValueError(
                f"codes need a group axis: images (g, a, R, d), texts (g, b, L, d); got {image_shape}, {text_shape}"
            )
        if image_shape[0] != text_shape[0] or image_shape[3] != text_shape[3]:
            raise ValueError(f"images {image_shape} and texts {text_shape} differ in groups or width")
        scores = self.pair_scores(images, texts)
        expected = (image_shape[0], image_shape[1], text_shape[1])
        if tuple(scores.shape) != expected:
            raise ValueError(f"{type(self).__name__}.pair_scores gave {tuple(scores.shape)}, not {expected}")
        return scores

    def score_block(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "img txt"]:
        """Score every picture with every caption: codes without a group axis, scores (a, b).

        In training the pairs are scored in blocks, see `crossgraph.models.training_blocks`.
        """
        if self.training and torch.is_grad_enabled() and self.kind == "interaction":
            return self._score_in_blocks(self._score_map, images, texts, self._fast_training_form)["score"]
        return self.score(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))[0]

    def score_maps(self, images: ImageCode, texts: TextCode) -> Mapping[str, Float[Tensor, "group img txt"]]:
        """Return every score matrix that the losses read, by name, of grouped codes; by default "score" alone."""
        return self._score_map(images, texts)

    def training_maps(self, images: ImageCode, texts: TextCode) -> dict[str, Float[Tensor, "img txt"]]:
        """Return `score_maps` of every picture with every caption, computed in blocks; codes without a group axis."""
        return self._score_in_blocks(self.score_maps, images, texts)

    def _score_map(self, images: ImageCode, texts: TextCode) -> dict[str, Tensor]:
        return {"score": self.score(images, texts)}

    def _score_in_blocks(
        self,
        compute: PairScores,
        images: ImageCode,
        texts: TextCode,
        fast_form: Callable[[], Scorer | None] = lambda: None,
    ) -> dict[str, Tensor]:
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        pairs = PairComputation(compute, parameters, self.splits, self.word_axes, self._pair_bytes, fast_form)
        return score_in_blocks(pairs, images, texts)

    def _fast_training_form(self) -> Scorer | None:
        """Return the fast form where it is exact in training too, which needs pairs to be independent."""
        parameter = next(self.parameters())
        if self.splits != "pair" or parameter.dtype != torch.float32:
            return None
        half = torch.is_autocast_enabled(parameter.device.type)
        fast = self.fold("bfloat16" if half else "float32")
        return None if fast is self else fast

    def losses(
        self, images: ImageCode, texts: TextCode, batch: Batch, ranking: RankingTerm, progress: Progress
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the loss terms by name, whose sum is minimised; methods with more than a ranking loss override this.

        Args:
            images: Codes of all pictures of the batch.
            texts: Codes of this process's captions (all of them with one process).
            batch: What was encoded.
            ranking: Turns the score block (images × texts) into the ranking loss.
            progress: Progress of training.
        """
        return {"ranking": ranking(self.score_block(images, texts))}

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters whose training gradient is zero by construction, each with the reason.

        By default those that the layers name themselves (by a method `dead_parameters`).
        """
        dead: dict[str, str] = {}
        for layer, module in self.named_modules():
            if layer and hasattr(module, "dead_parameters"):
                own: dict[str, str] = module.dead_parameters()  # pyright: ignore[reportCallIssue, reportAssignmentType]
                dead |= {f"{layer}.{name}": reason for name, reason in own.items()}
        return dead

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return the model's fast form, whose scores equal `score`'s; by default the model itself.

        Args:
            precision: Of a form with weights of its own. The model itself computes in the precision of its weights
                and of autocast.
        """
        return self


MODELS: Registry[type[Any]] = Registry("model", "crossgraph.models")
