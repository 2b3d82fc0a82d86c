"""`crossgraph import`: turns a published checkpoint into a run."""

from __future__ import annotations

import sys
from pathlib import Path

from crossgraph.core.errors import InputError


def import_(model: str, checkpoint: Path, *, vocab: Path, out: Path) -> None:
    """Turn a published checkpoint and its vocabulary into a run.

    Args:
        model: Whose checkpoint, by the model's name: sgraf, cgmn, vsepp, vsrn, gpo, scan and so on.
        checkpoint: The authors' file (.pth.tar).
        vocab: The vocabulary it was trained with: JSON, or the pickle that VSRN and CGMN publish.
        out: Folder of the new run.
    """
    from crossgraph.graphs.word_graph import reads_word_edges
    from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint
    from crossgraph.runs import RunInfo, describe_model, save_run
    from crossgraph.text.dependencies import PUBLISHED
    from crossgraph.text.pickled_vocabulary import is_pickle, load_pickled
    from crossgraph.text.vocabulary import Vocabulary

    importer = IMPORTERS[model]
    if (out / "run.json").exists():
        raise InputError(f"{out}: already holds a run", "choose another folder")
    vocabulary = load_pickled(vocab) if is_pickle(vocab) else Vocabulary.load(vocab)
    file = read_checkpoint(checkpoint)
    published = importer(file.states, file.options, str(checkpoint))
    if published.added_words and published.inputs.vocabulary_size == len(vocabulary) + len(published.added_words):
        vocabulary = Vocabulary([*vocabulary.words, *published.added_words])
    if published.inputs.vocabulary_size != len(vocabulary):
        raise InputError(
            f"{vocab}: {len(vocabulary):,} entries where {checkpoint} has {published.inputs.vocabulary_size:,}",
            "give the vocabulary published with this checkpoint",
        )
    matcher = published.build(str(checkpoint))
    chosen_by = {"split": "unknown (published)", "epoch": file.epoch, "rsum": file.best_rsum}
    described = describe_model(matcher)
    info = RunInfo(
        published.name,
        config=described["config"],
        inputs=described["inputs"],
        chosen_by=chosen_by,
        origin=checkpoint.name,
        command=" ".join(["crossgraph", *sys.argv[1:]]),
        word_edges=PUBLISHED if reads_word_edges(matcher) else "",
    )
    save_run(out, matcher, vocabulary, info)
    parameters = sum(p.numel() for p in matcher.parameters())
    sizes = published.inputs
    regions = f"{sizes.regions} regions" if sizes.regions else "any number of regions"
    print(
        f"{published.name}: {parameters:,} parameters, {regions} × {sizes.feature_size}, "
        f"{sizes.vocabulary_size:,} words -> {out}"
    )
