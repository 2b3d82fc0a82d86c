"""Check that a model can score a split, before any work is done."""

from __future__ import annotations

import warnings

from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.models.base import Inputs
from crossgraph.runs import Run
from crossgraph.text.vocabulary import Vocabulary


def check_fits(inputs: Inputs, vocabulary: Vocabulary, split: Split, name: str) -> None:
    """Check that a split fits a model's inputs.

    Args:
        inputs: The sizes the model was built for.
        vocabulary: The words it will be given.
        split: Pictures and captions.
        name: What the model is called in messages.

    Raises:
        InputError: Features of another width, another number of regions where that is fixed, another
            vocabulary size, or no picture or caption.
    """
    where = split.source or f"split '{split.name}'"
    _, regions, width = split.features.shape
    if width != inputs.feature_size:
        raise InputError(
            f"{where}: features are {width:,} wide, {name} takes {inputs.feature_size:,}",
            "use features of the region encoder that the model was trained with",
        )
    if inputs.regions is not None and regions != inputs.regions:
        raise InputError(
            f"{where}: pictures have {regions} regions, {name} takes exactly {inputs.regions}",
            "use features with that many regions, or a model with region_norm: feature",
        )
    if len(vocabulary) != inputs.vocabulary_size:
        raise InputError(
            f"{name}: a vocabulary of {len(vocabulary):,} entries where the model has {inputs.vocabulary_size:,}",
            "use the vocabulary that the model was trained with",
        )
    if not split.image_ids or not split.captions:
        missing = "captions" if split.image_ids else "pictures"
        raise InputError(f"{where}: no {missing} in split '{split.name}'", "choose another split")


def check_run_fits(run: Run, split: Split) -> None:
    """Check that a split fits a run, and that its features come from the run's region encoder.

    Two encoders may be equally wide, and scores of one's features by the other's model are noise. Published features
    are of unknown origin and taken; so is another precision. Of encoders that load a model from a folder only the
    folder's name is known, so these are warned of.

    Args:
        run: A trained model.
        split: Pictures and captions.

    Raises:
        InputError: As `check_fits`, or the features are another encoder's.
    """
    check_fits(run.model.inputs, run.vocabulary, split, str(run.path))
    trained, given = (_network(name) for name in (run.info.region_encoder, split.features.encoder))
    if trained == given or _UNKNOWN in (trained, given):
        return
    problem = f"{split.source or split.name}: features are made by '{given}', {run.path} was trained on '{trained}'"
    if ":" not in trained + given:
        raise InputError(problem, f"make them with: crossgraph extract PICTURES --encoder {trained} --out FEATURES")
    warnings.warn(f"{problem}; unless these are the same network, scores mean nothing", stacklevel=2)


_UNKNOWN = "published"


def _network(encoder: str) -> str:
    """Return an encoder's name without the precision that it computed in."""
    return encoder.removesuffix("+bfloat16") or _UNKNOWN
