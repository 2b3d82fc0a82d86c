"""The interface of search to models: index vectors, and score, alignment and probability of pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from crossgraph.bundle.calibration import Calibration
from crossgraph.bundle.head import IndexHead
from crossgraph.bundle.late_interaction import LateInteractionRetriever
from crossgraph.bundle.short_list import ShortList
from crossgraph.core.errors import InputError
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode
from crossgraph.files import sha256
from crossgraph.graphs.normalization import l2norm, masked_mean
from crossgraph.models.base import Scorer
from crossgraph.pipeline.alignment import AlignedToken, encode_sentence, tokens_of
from crossgraph.runs import Run
from crossgraph.scoring.encode import device_of, inference
from crossgraph.text.packing import collate

EXHAUSTIVE = 2000
"""Up to so many pictures an interaction model without a head scores all of them."""
_PAIRS = 256


@dataclass(frozen=True)
class EncodedPictures:
    """Index vectors and codes of pictures.

    Attributes:
        index: Unit vectors.
        code: The re-ranker's codes, float32, on the CPU.
    """

    index: Float32[np.ndarray, "img code"]
    code: ImageCode


@dataclass(frozen=True)
class EncodedText:
    """Index vector and code of a sentence.

    Attributes:
        index: A unit vector.
        code: The re-ranker's code, leading axis 1.
        tokens: What the model read.
        unknown: Words that it does not know.
    """

    index: Float32[np.ndarray, " code"]
    code: TextCode
    tokens: tuple[AlignedToken, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Bundle:
    """A retriever and a re-ranker, loaded.

    Attributes:
        path: Its folder; a run's, where it was made from a bare run.
        reranker: The model whose scores count.
        retriever: An independent model of its own, where there is one.
        head: The index head on the re-ranker's codes, where there is one.
        short_list: Measured sizes; None where nothing was measured.
        calibration: From scores to probabilities; None where there is none.
        late_interaction: Retriever of a cascade, where one was trained; search does not use it.
    """

    path: Path
    reranker: Run
    retriever: Run | None = None
    head: IndexHead | None = None
    short_list: ShortList | None = None
    calibration: Calibration | None = None
    late_interaction: LateInteractionRetriever | None = None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.path.name or str(self.path)

    @property
    def region_encoder(self) -> str:
        """Name of the region encoder whose features it takes."""
        return self.reranker.info.region_encoder

    @property
    def kind(self) -> Literal["independent", "two-stage"]:
        """Whether the index score is final, or a short list is re-ranked."""
        alone = self.retriever is None and self.head is None
        return "independent" if alone and self.reranker.model.kind == "independent" else "two-stage"

    @property
    def index_by(self) -> str:
        """The kind of index vectors, in words."""
        if self.retriever is not None:
            return f"{self.retriever.info.model}'s index vector"
        if self.head is not None:
            return "an index head trained on the re-ranker's codes"
        if self.reranker.model.kind == "independent":
            return f"{self.reranker.info.model}'s index vector"
        return "the re-ranker's global vector, which was not trained for this: make a bundle for a better one"

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all weights and vocabularies; a library records it."""
        digest = hashlib.sha256()
        for run in (self.reranker, self.retriever):
            if run is not None:
                digest.update(sha256(run.path / "model.safetensors").encode())
                digest.update(run.vocabulary.fingerprint().encode())
        if self.head is not None:
            for name, tensor in sorted(self.head.state_dict().items()):
                digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def index_size(self) -> int:
        """Size of an index vector."""
        inputs = self.reranker.model.inputs
        regions = Regions(
            torch.zeros(1, inputs.regions or 1, inputs.feature_size),
            torch.ones(1, inputs.regions or 1, dtype=torch.bool),
        )
        return self.encode_pictures(regions).index.shape[1]

    def to(self, device: torch.device) -> Bundle:
        """Move all weights; return the same bundle."""
        parts: Sequence[nn.Module | None] = (
            self.reranker.model,
            self.retriever.model if self.retriever else None,
            self.head,
            self.late_interaction,
        )
        for part in parts:
            if part is not None:
                part.to(device)
        return self

    def encode_pictures(self, regions: Regions) -> EncodedPictures:
        """Encode pictures from their regions, features (n, R, D).

        Raises:
            InputError: The features are of another width than the model takes.
        """
        inputs = self.reranker.model.inputs
        if regions.features.shape[-1] != inputs.feature_size:
            raise InputError(
                f"features are {regions.features.shape[-1]:,} wide, {self.name} takes {inputs.feature_size:,}",
                f"use features of {self.region_encoder}",
            )
        with inference(self.reranker.model):
            on_device = regions.to(device_of(self.reranker.model))
            code = self.reranker.model.encode_images(on_device)
            if self.retriever is not None:
                with inference(self.retriever.model):
                    index = _unit(self.retriever.model.encode_images(on_device))
            else:
                index = self.head.index_images(code) if self.head is not None else _unit(code)
        return EncodedPictures(index.float().cpu().numpy(), code.map(_plain))

    def encode_text(self, sentence: str) -> EncodedText:
        """Encode a sentence.

        Raises:
            InputError: It is empty, or none of its words is known.
        """
        run = self.reranker
        encoded = encode_sentence(run.vocabulary, sentence, self.name)
        with inference(run.model):
            code = run.model.encode_texts(collate([encoded]).to(device_of(run.model)))
            if self.retriever is not None:
                own = encode_sentence(self.retriever.vocabulary, sentence, self.name)
                with inference(self.retriever.model):
                    tokens = collate([own]).to(device_of(self.retriever.model))
                    index = _unit(self.retriever.model.encode_texts(tokens))
            else:
                index = self.head.index_texts(code) if self.head is not None else _unit(code)
        return EncodedText(
            index[0].float().cpu().numpy(),
            code.map(_plain),
            tokens_of(run.vocabulary, sentence, encoded),
            tuple(encoded.unknown),
        )

    @cached_property
    def scorer(self) -> Scorer:
        """The re-ranker's fast form, built once."""
        with inference(self.reranker.model):
            return self.reranker.model.fold()

    def score(self, text: TextCode, images: ImageCode) -> Float32[np.ndarray, " img"]:
        """Score one sentence with some pictures, as the re-ranker does.

        Args:
            text: Leading axis 1.
            images: Leading axis n; on the CPU.
        """
        model = self.reranker.model
        device = device_of(model)
        scores = np.empty(len(images), dtype=np.float32)
        with inference(model):
            scorer, words = self.scorer, text.map(lambda tensor: tensor[None].to(device))
            for start in range(0, len(images), _PAIRS):
                rows = slice(start, start + _PAIRS)
                some = images.select(rows).map(lambda tensor: tensor[None].to(device))
                scores[rows] = scorer.score(some, words)[0, :, 0].float().cpu().numpy()
        return scores

    def align(self, text: TextCode, image: ImageCode) -> Attention:
        """Return the alignment of one pair; both codes have a leading axis of 1."""
        model = self.reranker.model
        with inference(model):
            found = model.align(image.to(device_of(model)), text.to(device_of(model)))
        return Attention(_plain(found.weights), _plain(found.significance), _plain(found.score))

    def probability(self, scores: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."] | None:
        """Return P(match) of re-ranker scores; None for bundles without calibration."""
        return None if self.calibration is None else self.calibration.probability(scores)

    def short_list_size(self, pictures: int, recall: float | None = None) -> int:
        """Return how many of a library's pictures to re-rank for a recall target."""
        if self.kind == "independent":
            return 0
        if self.short_list is not None:
            return self.short_list.size(pictures, recall)
        return min(pictures, EXHAUSTIVE)


def _unit(code: ImageCode | TextCode) -> torch.Tensor:
    """Return a model's index vector, or else its global vector, or the mean of its local vectors."""
    if code.index is not None:
        return l2norm(code.index)
    overall = code.parts.get("global")
    return l2norm(masked_mean(code.local, code.mask) if overall is None else overall)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu()
