"""The contract every published method fulfils: tensors in, tensors out.

Both sides are encoded alone, so codes can be computed once and stored. An *independent* model's score
is a dot product of `index` vectors; an *interaction* model's score needs both codes.
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
from crossgraph.models.folded import Precision
from crossgraph.models.training_blocks import Compute, PairComputation, Splits, in_blocks


@dataclass(frozen=True)
class Inputs:
    """What a model must know of the data before its layers can be sized.

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
    """Where training stands: `step` optimiser steps done, inside epoch `epoch`, both from 0."""

    step: int = 0
    epoch: int = 0


@dataclass(frozen=True)
class Batch:
    """Matched pairs: picture i with caption i. A picture stands in it once per caption drawn.

    Attributes:
        regions: The pictures.
        tokens: The captions.
        image_ids: Equal where two pairs share a picture, so that these are not negatives.
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
    """A two-sided hinge that a method prescribes for a term of its own, whatever the recipe's objective is.

    Attributes:
        margin: α.
        negatives: "sum" of all, or the "hardest" of each row and column.
    """

    margin: float
    negatives: Literal["hardest", "sum"]


@dataclass(frozen=True)
class PrescribedCrossEntropy:
    """Binary cross-entropy of matched and unmatched pairs, which a method prescribes for scores in 0..1.

    Attributes:
        negatives: The "hardest" of each row and column, or "all".
    """

    negatives: Literal["hardest", "all"]


@runtime_checkable
class RankingTerm(Protocol):
    """What the training step hands a model to turn a score block into the ranking loss.

    With several processes each holds all pictures and its own captions' columns; the term gathers the
    columns before it applies the objective, so that a model need not know how many processes there are.
    """

    def __call__(
        self,
        scores: Float[Tensor, "img txt"],
        prescribed: PrescribedHinge | PrescribedCrossEntropy | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss over all pairs of the batch, by the recipe's objective unless one is prescribed."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores codes: a model, or its folded form."""

    def score(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Return the scores of grouped codes; see `Matcher.score`."""
        ...


class Matcher(nn.Module, ABC):
    """A published method. Subclasses are registered by name with `@MODELS.register` and built by `(config, inputs)`.

    Attributes:
        Config: Dataclass of its sizes and choices.
        config: The choices this one was built with.
        inputs: The sizes of the data it was built for.
        kind: "independent" (the score is a dot product of `index`) or "interaction".
        paper: Authors, title, venue, for lists and cards.
        status: "implemented" where it is held to the authors' own code or equations; else what it is:
            "re-interpretation" (built from an abstract), "unverified" (built from a description).
        word_axes: Axes of the caption codes' parts that run over words, by the part's name.
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
        """Tell whether the order in which regions are stored changes the score."""
        return False

    @property
    def splits(self) -> Splits:
        """What the computation of pairs may be cut into while training, see `crossgraph.models.training_blocks`.

        "pair": no pair knows of another. "caption": statistics over all pictures of a caption. "whole": over all.
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
            return self._in_blocks(self._score_alone, images, texts, self._folded)["score"]
        return self.score(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))[0]

    def score_maps(self, images: ImageCode, texts: TextCode) -> Mapping[str, Float[Tensor, "group img txt"]]:
        """Return every map of scores that the losses read, by name, of grouped codes; by default "score" alone."""
        return self._score_alone(images, texts)

    def training_maps(self, images: ImageCode, texts: TextCode) -> dict[str, Float[Tensor, "img txt"]]:
        """Return `score_maps` of every picture with every caption, computed in blocks; codes without a group axis."""
        return self._in_blocks(self.score_maps, images, texts)

    def _score_alone(self, images: ImageCode, texts: TextCode) -> dict[str, Tensor]:
        return {"score": self.score(images, texts)}

    def _in_blocks(
        self,
        compute: Compute,
        images: ImageCode,
        texts: TextCode,
        fold: Callable[[], Scorer | None] = lambda: None,
    ) -> dict[str, Tensor]:
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        pairs = PairComputation(compute, parameters, self.splits, self.word_axes, self._pair_bytes, fold)
        return in_blocks(pairs, images, texts)

    def _folded(self) -> Scorer | None:
        """Return the folded form where it is exact while training too: where no pair knows of another."""
        parameter = next(self.parameters())
        if self.splits != "pair" or parameter.dtype != torch.float32:
            return None
        half = torch.is_autocast_enabled(parameter.device.type)
        folded = self.fold("bfloat16" if half else "float32")
        return None if folded is self else folded

    def losses(
        self, images: ImageCode, texts: TextCode, batch: Batch, ranking: RankingTerm, progress: Progress
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the named terms whose sum is minimised; methods with more than ranking override this.

        Args:
            images: Codes of all pictures of the batch.
            texts: Codes of this process's captions (all of them with one process).
            batch: What was encoded.
            ranking: Turns the score block (images × texts) into the ranking loss.
            progress: Where training stands.
        """
        return {"ranking": ranking(self.score_block(images, texts))}

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters whose training gradient is zero by construction, each with the reason."""
        return {}

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return an inference form with merged weights, equal to `score`; by default the model itself.

        Args:
            precision: What a form with weights of its own computes in; the model itself computes in that of its
                weights and of autocast.
        """
        return self


MODELS: Registry[type[Any]] = Registry("model", "crossgraph.models")
