"""`crossgraph bundle`: a run made ready for search."""

from __future__ import annotations

from pathlib import Path

from crossgraph.cli.output import log
from crossgraph.core.errors import InputError


def bundle(
    run: Path,
    *,
    data: Path,
    features: Path | None = None,
    retriever: Path | None = None,
    out: Path,
    index_size: int = 256,
    epochs: int = 4,
    max_steps: int = 3000,
    lr: float = 2e-3,
    sieve: bool = False,
    seed: int = 0,
) -> None:
    """Make a run ready for search: a fast retriever, short-list sizes, and probabilities.

    A re-ranker like SGRAF has no vector for nearest neighbours, so a small index head is trained on its codes;
    --retriever takes an independent model instead. How many neighbours must be re-ranked and what a score means
    is measured on the dev split; the test split is not opened.

    Args:
        run: The re-ranker, a run that `crossgraph train` made; an independent model is calibrated alone.
        data: The data it was trained on.
        features: Region features, where they lie elsewhere.
        retriever: A run of an independent model over the same features.
        out: The bundle's folder.
        index_size: Numbers of an index vector.
        epochs: Passes over the captions of train for the head.
        max_steps: At most so many steps for the head; 0 is no limit.
        lr: The head's learning rate.
        sieve: Also train what chooses pairs for `crossgraph evaluate --cascade`: it looks at all of them, as the
            re-ranker does but coarsely, and leaves it fewer than an index does. Takes a quarter of an hour or more.
        seed: Of the index head and the late-interaction retriever.
    """
    from crossgraph.bundle.folder import MANIFEST
    from crossgraph.bundle_training.head_training import HeadRecipe
    from crossgraph.bundle_training.late_interaction_training import LateInteractionRecipe
    from crossgraph.bundle_training.make import NEW, BundleRequest, make_bundle
    from crossgraph.files import check_output_folder, is_leftover
    from crossgraph.progress import ProgressDisplay

    check_output_folder(out)
    ours = any((out / name).exists() for name in (MANIFEST, "reranker", NEW))
    if out.exists() and any(not is_leftover(path.name) for path in out.iterdir()) and not ours:
        raise InputError(f"{out}: holds other files and no bundle", "give a new folder for --out")
    recipe = HeadRecipe(index_size=index_size, epochs=epochs, max_steps=max_steps, lr=lr, seed=seed)
    request = BundleRequest(
        run, data, out, retriever, features, recipe, LateInteractionRecipe(seed=seed) if sieve else None
    )
    with ProgressDisplay() as progress:
        made = make_bundle(request, log=log, progress=progress.for_task)
    print(f"{out}: {made.reranker.info.model}, retrieved by {made.index_by}")
    if made.short_list is not None:
        sizes = ", ".join(f"{size} for {recall:g}" for recall, size in made.short_list.sizes.items())
        print(f"short list of {made.short_list.gallery:,} dev pictures, by recall of the re-ranker's best: {sizes}")
    if made.calibration is not None:
        found = made.calibration
        print(
            f"calibrated on {found.pairs:,} short-list pairs, {100 * found.prior:.1f} % of them matches; "
            f"mean gap between predicted and found share {100 * found.expected_error:.1f} points"
        )
