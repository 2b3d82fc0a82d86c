"""Writes the page of `crossgraph table`, from kept cards and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from crossgraph.models.catalogue import NOT_IMPLEMENTED, catalogue
from crossgraph.scoring.recall import CUTOFFS
from crossgraph.sweep.cards import (
    MISSING,
    Card,
    PageContent,
    about_model,
    format_duration,
    parameters,
    rsum_with_interval,
)
from crossgraph.sweep.definition import Planned
from crossgraph.tables import Table

_ABSENT = "–"
_STATUS = {
    "re-interpretation": "Re-interpretation: built from an abstract",
    "unverified": "Unverified: built after descriptions, held to nobody's code",
}


def markdown(page: PageContent) -> str:
    """Return the page as Markdown."""
    statuses = {about_model(planned)["status"] for planned in page.planned.values()}
    parts = [f"# {page.sweep.title}", *_introduction(page)]
    for status in [status for status in ("implemented", *_STATUS) if status in statuses]:
        planned = [entry for entry in page.planned.values() if about_model(entry)["status"] == status]
        if status == "implemented":
            parts += _tables(page, planned, "##")
            continue
        parts += [f"## {_STATUS.get(status, status)}", _CAUTION, *_tables(page, planned, "###")]
    parts += [*_absent(), "## How to read it", _ABOUT_EXPLANATIONS, _about_cost(page)]
    return "\n\n".join(parts) + "\n"


def _introduction(page: PageContent) -> list[str]:
    """Return the paragraphs before the figures."""
    parts = [_MADE_BY.format(trained=page.budget(), seed=page.sweep.seeds[0]), _SMALL]
    data = {split: card["data"] for split in page.splits for cell, card in page.cards.items() if cell[2] == split}
    if data:
        sizes = [f"{split}: {of['images']:,} pictures and {of['captions']:,} captions" for split, of in data.items()]
        parts.append(f"Splits: {'; '.join(sizes)}. Region features: {next(iter(data.values()))['region_encoder']}.")
    return parts


def _tables(page: PageContent, planned: Sequence[Planned], level: str) -> list[str]:
    """Return the tables of some models: recall on every split, explanations, and cost."""
    parts: list[str] = []
    for split in page.splits:
        parts += [f"{level} Recall: {split}", _grid(page, planned, split, _RECALL, both=True)]
    first = page.splits[0]
    parts += [f"{level} Explanations: {first}", _grid(page, planned, first, _EXPLANATIONS)]
    parts += [f"{level} Cost", _grid(page, planned, first, _COST)]
    return parts


def _grid(
    page: PageContent,
    planned: Sequence[Planned],
    split: str,
    columns: Mapping[str, Callable[[Card], str]],
    both: bool = False,
) -> str:
    rows: list[list[str]] = []
    for entry in planned:
        name, card = entry.variant.name, page.cards.get((entry.variant.name, entry.seed, split))
        label = f"{name} ({' '.join(entry.variant.label.split())})" if entry.variant.label else name
        label += f" — **failed**: {page.problems[name]}" if name in page.problems else ""
        kind = [about_model(entry)["kind"]] if both else []
        rows.append([label, *kind, *(MISSING if card is None else cell(card) for cell in columns.values())])
    return Table(["model", *(["kind"] if both else []), *columns], rows, 2 if both else 1).to_markdown()


def _recalls(card: Card, direction: str) -> str:
    figures = card["results"]["whole"]["figures"]
    return " ".join(f"{figures[f'{direction} R@{cutoff}']:.1f}" for cutoff in CUTOFFS)


def _explained(part: str, key: str, name: str, digits: int) -> Callable[[Card], str]:
    """Return a function that formats one figure of the explanations, with its interval."""

    def cell(card: Card) -> str:
        try:
            figure = card["explanations"]["models"][0][part][key][name]
        except (KeyError, IndexError):
            return _ABSENT
        numbers = [f"{number:.{digits}f}".replace("-", "−") for number in (figure["value"], *figure["interval"])]
        return f"{numbers[0]} ({numbers[1]} to {numbers[2]})"

    return cell


def _seconds(name: str) -> Callable[[Card], str]:
    """Return a function that formats one duration of a card."""

    def cell(card: Card) -> str:
        seconds = card["table"].get(name)
        return MISSING if seconds is None else format_duration(seconds)

    return cell


def _speed(card: Card) -> str:
    speed = card["table"].get("pairs_per_core_second")
    return MISSING if speed is None else f"{speed:,.0f}"


_RECALL: dict[str, Callable[[Card], str]] = {
    "image→text R@1 R@5 R@10": lambda card: _recalls(card, "i2t"),
    "text→image R@1 R@5 R@10": lambda card: _recalls(card, "t2i"),
    "rSum (95 %)": rsum_with_interval,
}
_EXPLANATIONS: dict[str, Callable[[Card], str]] = {
    "pointing game, %": _explained("pointing", "pointing", "model", 0),
    "the centre would, %": _explained("pointing", "pointing", "centre", 0),
    "regions hidden: gain": _explained("regions", "deletion", "gain", 3),
    "beats random, %": _explained("regions", "deletion", "beats_random", 0),
    "words hidden: gain": _explained("words", "deletion", "gain", 3),
    "beats random, % ": _explained("words", "deletion", "beats_random", 0),
}
_COST: dict[str, Callable[[Card], str]] = {
    "parameters": parameters,
    "training": _seconds("training_seconds"),
    "a core's time": _seconds("training_core_seconds"),
    "pairs/s of a core": _speed,
    "bytes a picture": lambda card: f"{card['table']['picture']['bytes']:,}",
    "which are": lambda card: str(card["table"]["picture"]["what"]),
}
_MADE_BY = (
    "Made by `crossgraph table` from the cards of each run; nothing here is typed by hand. One budget: {trained}, "
    "one seed ({seed}). Loss and learning rate are each recipe's own, chosen on dev; weights were chosen on dev while "
    "training, and no other split chose anything. `?`: not measured yet."
)
_SMALL = (
    "The models are small, the pictures drawn, and the budget a few minutes: the order of two rows here says nothing "
    "of their order on photographs at the papers' sizes. Intervals are 95 % bootstrap intervals over the pictures "
    "asked about; they do not say how much another seed would change."
)
_CAUTION = (
    "No published code or weights stand behind these, so that what they reach says little of the papers they are "
    "named after."
)
_ABOUT_EXPLANATIONS = (
    "Pointing game: how often the strongest region's centre lies in the box of the thing that the word names. Gain: "
    "how much lower the score's curve lies when regions (words) are hidden in the order that the model says than in a "
    "random one; scores differ in scale, so compare the share of pairs in which it beats random. A card's small sample."
)


def _about_cost(page: PageContent) -> str:
    machines = {f"{card['hardware']['processor']}, {card['hardware']['cores']} cores" for card in page.cards.values()}
    where = f" on {' / '.join(sorted(machines))}" if machines else ""
    return (
        f"Training: minutes at work{where}, on whatever else the machine did; a core's time: what it took of all "
        f"processors together, which other work hardly changes. So is the speed: pairs of {page.splits[0]} in "
        "a second of one core, both sides' encoding included. Bytes a picture: what an index keeps of it."
    )


def _absent() -> list[str]:
    """Return the methods that are only named, each with the reason."""
    rows = [[entry.name, entry.note] for entry in catalogue() if entry.status == NOT_IMPLEMENTED]
    return ["## Not implemented", Table(["model", "why"], rows, 2).to_markdown()] if rows else []
