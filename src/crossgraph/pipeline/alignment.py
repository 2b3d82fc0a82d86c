"""The alignment of a sentence and a picture: word × region weights with their words and boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.core.types import Attention, Regions
from crossgraph.runs import Run
from crossgraph.scoring.encode import device_of, inference
from crossgraph.text.content_words import is_content
from crossgraph.text.packing import collate
from crossgraph.text.vocabulary import EncodedCaption, Vocabulary


@dataclass(frozen=True)
class AlignedToken:
    """One token as the model read it.

    Attributes:
        text: As written in the sentence; "<start>" or "<end>" for those.
        start: Where it begins in the sentence, in characters; 0 for specials.
        end: Where it ends, exclusive; 0 for specials.
        known: Whether the vocabulary has it; else the model read `<unk>`.
        special: Whether it is `<start>` or `<end>`.
        content: Whether it is a word that can name something seen, see `crossgraph.text.content_words`.
    """

    text: str
    start: int
    end: int
    known: bool
    special: bool
    content: bool


@dataclass(frozen=True)
class Alignment:
    """The alignment of one pair.

    Attributes:
        sentence: As given.
        tokens: One per row of `weights`.
        weights: Share of each region in what each token saw; rows sum to 1.
        significance: How much each token counted in the score: SAF's weights, SGR's last edges from the
            global node, or what else the model means by it.
        global_significance: What is left to 1: the share of the comparison of the whole picture with the
            whole sentence.
        score: Of the pair.
        boxes: xyxy in 0..1 of each region, or None where unknown.
        picture: The picture, where it is at hand.
        unknown: Words of the sentence that the vocabulary lacks.
        model: Registered name.
        run: Name of the run's folder.
    """

    sentence: str
    tokens: tuple[AlignedToken, ...]
    weights: Float32[np.ndarray, "word region"]
    significance: Float32[np.ndarray, " word"]
    global_significance: float
    score: float
    boxes: Float32[np.ndarray, "region 4"] | None
    picture: Path | Image.Image | None
    unknown: tuple[str, ...]
    model: str
    run: str

    @property
    def content(self) -> list[int]:
        """Rows of the words that can name something seen."""
        return [row for row, token in enumerate(self.tokens) if token.content]

    def as_json(self) -> dict[str, Any]:
        """Return plain values: everything but the picture's pixels."""
        return {
            "sentence": self.sentence,
            "picture": str(self.picture) if isinstance(self.picture, Path) else None,
            "run": self.run,
            "model": self.model,
            "score": self.score,
            "global_significance": self.global_significance,
            "unknown": list(self.unknown),
            "tokens": [
                vars(token) | {"significance": float(self.significance[i])} for i, token in enumerate(self.tokens)
            ],
            "weights": [[float(value) for value in row] for row in self.weights],
            "boxes": None if self.boxes is None else [[float(value) for value in box] for box in self.boxes],
        }


def alignment_of(run: Run, regions: Regions, sentence: str, picture: Path | Image.Image | None = None) -> Alignment:
    """Return the alignment of one pair.

    Args:
        run: Whose model reads it.
        regions: Of one picture.
        sentence: Any.
        picture: Stored in the result.

    Raises:
        InputError: The sentence is empty or the vocabulary knows none of its words.
        ValueError: `regions` holds not exactly one picture.
    """
    if len(regions) != 1:
        raise ValueError(f"one picture is aligned at a time, got {len(regions)}")
    encoded = encode_sentence(run.vocabulary, sentence, run.path.name)
    device = device_of(run.model)
    with inference(run.model):
        image = run.model.encode_images(regions.to(device))
        text = run.model.encode_texts(collate([encoded]).to(device))
        found = run.model.align(image, text)
    boxes = None if regions.boxes is None else regions.boxes[0].numpy().astype(np.float32)
    tokens = tokens_of(run.vocabulary, sentence, encoded)
    return build_alignment(
        found, sentence, tokens, tuple(encoded.unknown), regions.mask[0], boxes, picture, run.info.model, run.path.name
    )


def build_alignment(
    attention: Attention,
    sentence: str,
    tokens: tuple[AlignedToken, ...],
    unknown: tuple[str, ...],
    mask: Bool[Tensor, " region"],
    boxes: Float32[np.ndarray, "region 4"] | None,
    picture: Path | Image.Image | None,
    model: str,
    run: str,
) -> Alignment:
    """Return the alignment of a model's attention, without padding regions.

    Args:
        attention: Of one pair.
        sentence: As given.
        tokens: Its tokens, one a row of the weights.
        unknown: Its words that the vocabulary lacks.
        mask: True where a region is real.
        boxes: xyxy in 0..1 of each region, or None.
        picture: Stored in the result.
        model: Registered name.
        run: Name of the run.
    """
    is_region = mask.numpy()
    significance = attention.significance.float().cpu().numpy()
    return Alignment(
        sentence=sentence,
        tokens=tokens,
        weights=attention.weights.float().cpu().numpy()[:, is_region],
        significance=significance,
        global_significance=max(0.0, 1.0 - float(significance.sum())),
        score=float(attention.score),
        boxes=None if boxes is None else boxes[is_region],
        picture=picture,
        unknown=unknown,
        model=model,
        run=run,
    )


def encode_sentence(vocabulary: Vocabulary, sentence: str, name: str) -> EncodedCaption:
    """Return the vocabulary rows of a sentence's words.

    Raises:
        InputError: It is no string, it is empty, or none of its words is known.
    """
    if not isinstance(sentence, str):
        raise InputError(f"a sentence is {type(sentence).__name__}", "give a string")
    encoded = vocabulary.encode(sentence)
    if len(encoded.ids) <= 2:
        raise InputError("the sentence is empty", "give a few words, such as 'a dog in the snow'")
    if not encoded.has_known_word:
        raise InputError(
            f"{shortened(sentence)}: {name} knows no word of it",
            f"it was trained with {len(vocabulary):,} words, listed in its vocabulary.json",
        )
    return encoded


def shortened(sentence: str, most: int = 60) -> str:
    """Return a sentence in quotes, cut where it is long: for messages."""
    flat = " ".join(sentence.split())
    return f"'{flat}'" if len(flat) <= most else f"'{flat[: most - 1]}…'"


def tokens_of(vocabulary: Vocabulary, sentence: str, encoded: EncodedCaption) -> tuple[AlignedToken, ...]:
    """Return the tokens of a sentence, one a row of its alignment."""
    tokens: list[AlignedToken] = []
    unknown = set(encoded.unknown)
    for row, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
        if start == end:
            tokens.append(AlignedToken(vocabulary.words[row], 0, 0, True, True, False))
            continue
        text = sentence[start:end]
        known = text.lower() not in unknown and vocabulary.words[row] != "<unk>"
        tokens.append(AlignedToken(text, start, end, known, False, is_content(text)))
    return tuple(tokens)
