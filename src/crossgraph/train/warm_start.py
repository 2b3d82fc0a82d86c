"""Fine-tuning: begin from another run's weights, its words kept and new ones added behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crossgraph.core import config as configs
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.files import sha256
from crossgraph.models.base import Matcher
from crossgraph.runs import Run, load_run
from crossgraph.text.pieces import PieceVocabulary
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.train.config import Recipe
from crossgraph.train.run_folder import first_difference


@dataclass(frozen=True)
class WarmStart:
    """A run to begin from.

    Attributes:
        run: It, loaded.
        fingerprint: Of its weights.
    """

    run: Run
    fingerprint: str

    @classmethod
    def load(cls, path: Path, recipe: Recipe) -> WarmStart:
        """Load a run whose model is the recipe's.

        Raises:
            InputError: There is no run, or its model or the model's fields differ.
        """
        run = load_run(path)
        if run.info.model != recipe.model.name:
            raise InputError(
                f"{path}: is a run of '{run.info.model}', the recipe trains '{recipe.model.name}'",
                f"give a recipe of '{run.info.model}' or a run of '{recipe.model.name}'",
            )
        stored = _decisive(configs.to_dict(run.model.config))
        if difference := first_difference(stored, _decisive(recipe.model.config)):
            key, old, new = difference
            raise InputError(
                f"{path}: was trained with model.config.{key} {old}, the recipe says {new}",
                f"add --model.config.{key}={old}",
            )
        return cls(run, sha256(path / "model.safetensors"))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The earlier runs, oldest first, for `run.json`."""
        info = self.run.info
        entry = {
            "run": str(self.run.path),
            "weights": self.fingerprint,
            "data": info.data,
            "region_encoder": info.region_encoder,
            "chosen_by": info.chosen_by,
            "origin": info.origin,
        }
        return [*info.history, entry]

    def extend(self, words: Sequence[str]) -> Vocabulary:
        """Return the run's vocabulary with the words it lacks appended, so that old rows keep their numbers."""
        known = self.run.vocabulary
        if isinstance(known, PieceVocabulary):
            return known
        return Vocabulary([*known.words, *(word for word in words if word not in known)])

    def fill(self, model: Matcher, vocabulary: Vocabulary, train: Split) -> None:
        """Copy the run's weights into a fresh model; rows of new words keep their fresh values.

        Args:
            model: Of the same family and fields, for the new data and `vocabulary`.
            vocabulary: What `extend` gave.
            train: For messages.

        Raises:
            InputError: The features have another width, or a tensor does not fit.
        """
        old, new = self.run.model.inputs, model.inputs
        if old.feature_size != new.feature_size:
            raise InputError(
                f"{train.source}: features are {new.feature_size:,} wide, {self.run.path} takes {old.feature_size:,}",
                "use features of the region encoder that the run was trained with",
            )
        have, want = self.run.model.state_dict(), model.state_dict()
        for name, tensor in want.items():
            source = have.get(name)
            if source is None or (source.shape != tensor.shape and not _grows(source, tensor, len(vocabulary))):
                shape = "nothing" if source is None else tuple(source.shape)
                raise InputError(
                    f"{self.run.path}: holds {shape} for '{name}' where the recipe's model has {tuple(tensor.shape)}",
                    "give the recipe the run's own model.config",
                )
        with torch.no_grad():
            for name, tensor in want.items():
                if tensor.ndim == 0:
                    tensor.copy_(have[name])
                else:
                    tensor[: len(have[name])] = have[name]


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what changes no weight and no score: fine-tuning may drop out more, or train more."""
    free = ("text_model", "text_training")
    return {key: value for key, value in config.items() if "dropout" not in key and key not in free}


def _grows(old: torch.Tensor, new: torch.Tensor, words: int) -> bool:
    """Whether `new` is `old` with rows for more words."""
    return old.ndim == new.ndim and old.shape[1:] == new.shape[1:] and new.shape[0] == words > old.shape[0]
