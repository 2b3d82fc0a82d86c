"""Write the captions of a scene: five true sentences that say different things in different ways.

A *frame* is a sentence with names in braces for its parts: {A} and {B} are what a relation holds
between, {r} the relation from A to B, {are} the verb for A, {pro} "on it" (seen from B), {all} the list
of everything, {place} the ground ("in the snow"), {view} the ground as a thing ("a snowy field").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from crossgraph.data.scenes.objects import article, plural
from crossgraph.data.scenes.plan import Fact, Factor, Group, Plan, Relation

NUMBERS = ("no", "one", "two", "three", "four", "five")

RELATIONS: Mapping[Relation, tuple[str, ...]] = {
    "left of": ("to the left of", "left of", "on the left of"),
    "right of": ("to the right of", "right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "beneath"),
    "on": ("on", "on top of"),
    "under": ("under", "underneath"),
    "behind": ("behind", "partly hidden behind"),
    "in front of": ("in front of", "right in front of"),
    "inside": ("inside", "in"),
}
INVERSE: Mapping[Relation, Relation] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "behind": "in front of",
    "in front of": "behind",
}
SEEN_FROM: Mapping[Relation, tuple[str, str]] = {
    "left of": ("to its left", "to their left"),
    "right of": ("to its right", "to their right"),
    "above": ("above it", "above them"),
    "below": ("below it", "below them"),
    "on": ("on it", "on them"),
    "under": ("under it", "under them"),
    "behind": ("behind it", "behind them"),
    "in front of": ("in front of it", "in front of them"),
    "inside": ("in it", "in them"),
}
PLACES: Mapping[str, tuple[str, ...]] = {
    "meadow": ("in a meadow", "on the grass", "on a green field"),
    "beach": ("on a beach", "on the sand", "by the sea"),
    "snow": ("in the snow", "on a snowy field", "in winter"),
    "street": ("on a street", "in the city", "in town"),
    "room": ("in a room", "on a wooden floor", "indoors"),
    "night": ("at night", "under the stars", "in the moonlight"),
    "desert": ("in the desert", "among the dunes", "on the hot sand"),
    "sunset": ("at sunset", "in the evening", "as the sun goes down"),
}
VIEWS: Mapping[str, tuple[str, ...]] = {
    "meadow": ("a meadow", "a green field"),
    "beach": ("a beach", "a sandy beach"),
    "snow": ("a snowy field", "a winter landscape"),
    "street": ("a city street", "a street"),
    "room": ("a room", "a room with a wooden floor"),
    "night": ("a starry night", "a dark field at night"),
    "desert": ("a desert", "a hot desert"),
    "sunset": ("a sunset", "a field at sunset"),
}

FULL = ("{A} {are} {r} {B}.", "{A} {r} {B}.", "{A} {are} {r} {B} {place}.", "there {are} {A} {r} {B}.")
LISTED = ("{there} {all}.", "{there} {all} {place}.", "{all}.", "{all} {place}.", "a picture of {all}.")
GROUND = (
    "{view} with {all}.",
    "{place}, {A} {are} {r} {B}.",
    "{place} there {all_are} {all}.",
    "{all} can be seen {place}.",
)
PARTIAL = (
    "{one} {place}.",
    "{one} {one_are} {place}.",
    "one can see {one} here.",
    "there {are} {kind} {r} {B}.",
    "{A} and {other} {place}.",
)
TURNED = (
    "{B} {b_are} {inverse} {A}.",
    "{B} {inverse} {A} {place}.",
    "{B} with {A} {pro}.",
    "{B} with {A} {pro} {place}.",
)
ALONE = (
    ("{there} {all}.", "{all} and nothing else."),
    ("{there} {all} {place}.", "a picture of {all}."),
    ("{view} with {all}.", "{place} there {all_are} {all}."),
    ("{kind} {place}.", "one can see {plain} here."),
    ("{all} {place}.", "{all} are together {place}."),
)
HARD_RELATION = (
    "{A} {are} {r} {B}.",
    "{A} {r} {B} {place}.",
    "{place}, {A} {are} {r} {B}.",
    "there {are} {A} {r} {B}.",
    "{B} with {A} {pro}.",
    "{view} with {A} {r} {B}.",
)
HARD_LIST = (
    "{A} {are} {r} {B}.",
    "{B} {b_are} {inverse} {A} {place}.",
    "there {are} {A} and {B}.",
    "{B} and {A} can be seen {place}.",
    "{view} with {A} and {B}.",
    "a picture of {B} next to {A}.",
)


def describe(plan: Plan, rng: Random) -> tuple[str, ...]:
    """Write five captions: a full relation, a list with counts, the ground, a part, a relation turned round."""
    slots = (FULL, LISTED, GROUND, PARTIAL, TURNED) if plan.facts else ALONE
    sentences: list[str] = []
    for frames in slots:
        usable = _usable_frames(frames, plan)
        sentence = _fill(plan, rng, rng.choice(usable))
        while sentence in sentences:
            sentence = _fill(plan, rng, rng.choice(usable))
        sentences.append(sentence)
    return tuple(sentences)


def describe_hard(plans: Sequence[Plan], factor: Factor, rng: Random) -> list[tuple[str, ...]]:
    """Write five captions for each plan of a hard group, alike but for what `factor` changes.

    Every caption names both kinds of things and says what tells its picture from the other ones.
    """
    frames = rng.sample(HARD_RELATION if factor == "relation" else HARD_LIST, 5)
    seed = rng.random()
    invertible = all(fact.relation in INVERSE for plan in plans for fact in plan.facts)
    return [
        tuple(_fill_hard(plan, Random(f"{seed}/{k}"), frame, invertible) for k, frame in enumerate(frames))
        for plan in plans
    ]


def phrase(group: Group) -> str:
    """Return the noun phrase of a group: "a big red car", "three penguins"."""
    words = [word for word in (group.size, group.colour) if word]
    if group.count > 1:
        return " ".join((NUMBERS[group.count], *words, group.thing.plural))
    noun = " ".join((*words, group.thing.name))
    return f"{article(noun)} {noun}"


def _usable_frames(frames: Sequence[str], plan: Plan) -> list[str]:
    """Return the frames without those that need an inverse, where a relation has none."""
    complete = all(fact.relation in INVERSE for fact in plan.facts)
    return [frame for frame in frames if complete or "{inverse}" not in frame]


def _fill(plan: Plan, rng: Random, frame: str) -> str:
    if not plan.facts:
        return _sentence(frame, _parts(plan, rng, None))
    fact = rng.choice(plan.facts)
    if fact.relation in INVERSE and "{inverse}" not in frame and rng.random() < 0.4:
        fact = Fact(fact.target, INVERSE[fact.relation], fact.subject)
    if len(plan.clusters) == 3 and frame in FULL and rng.random() < 0.4:
        return _between(plan, rng)
    return _sentence(frame, _parts(plan, rng, fact))


def _fill_hard(plan: Plan, rng: Random, frame: str, invertible: bool) -> str:
    """Fill a frame so that A and B are the same kinds of things in every plan of the group.

    A is what carries or holds nothing; where every relation of the group can be turned round, a coin
    decides instead. The generator is in the same state for every plan of the group.
    """
    fact = plan.facts[0]
    names = sorted((group.thing.role != "", group.thing.name) for group in plan.groups)
    first = rng.choice(names) if invertible else names[0]
    if plan.groups[fact.subject].thing.name != first[1]:
        fact = Fact(fact.target, INVERSE[fact.relation], fact.subject)
    return _sentence(frame, _parts(plan, rng, fact))


def _between(plan: Plan, rng: Random) -> str:
    left, middle, right = (cluster.main for cluster in plan.clusters)
    frame = rng.choice(("{A} {are} between {B} and {C}.", "{A} between {B} and {C} {place}."))
    parts = _parts(plan, rng, None)
    parts |= {"A": phrase(middle), "are": _verb(middle), "B": phrase(left), "C": phrase(right)}
    return _sentence(frame, parts)


def _parts(plan: Plan, rng: Random, fact: Fact | None) -> dict[str, str]:
    groups = plan.groups
    order = rng.sample(groups, len(groups))
    one, view = rng.choice(groups), rng.choice(VIEWS[plan.ground])
    has_floating = any(group.thing.air for group in groups)
    place = rng.choice([p for p in PLACES[plan.ground] if not (has_floating and p.startswith(("on ", "among ")))])
    parts = {
        "all": _listed([phrase(group) for group in order]),
        "all_are": _verb(order[0]),
        "there": rng.choice((f"there {_verb(order[0])}", "this picture shows", "one can see")),
        "one": phrase(one),
        "one_are": _verb(one),
        "plain": f"some {one.thing.plural}",
        "kind": _kind(groups[fact.subject] if fact else groups[0]),
        "place": place,
        "view": view,
    }
    if fact is None:
        return parts
    subject, target = groups[fact.subject], groups[fact.target]
    wording = rng.random()
    parts |= {
        "A": phrase(subject),
        "B": phrase(target),
        "are": _verb(subject),
        "b_are": _verb(target),
        "r": _worded(fact.relation, wording),
        "inverse": _worded(INVERSE[fact.relation], wording) if fact.relation in INVERSE else "",
        "pro": SEEN_FROM[fact.relation][0 if target.count == 1 else 1],
        "other": _kind(target),
    }
    return parts


def _worded(relation: Relation, choice: float) -> str:
    """Return the wording that a number in 0..1 chooses, so that opposite relations are worded alike."""
    wordings = RELATIONS[relation]
    return wordings[int(choice * len(wordings))]


def _verb(group: Group) -> str:
    return "are" if group.count > 1 else "is"


def _kind(group: Group) -> str:
    """Return a noun phrase without the thing's name: "an animal", "two red vehicles"."""
    kind = "object" if group.thing.kind == "thing" else group.thing.kind
    words = [group.colour] if group.colour else []
    if group.count > 1:
        return " ".join((NUMBERS[group.count], *words, plural(kind) if kind != "food" else "pieces of food"))
    noun = " ".join((*words, kind if kind != "food" else "piece of food"))
    return f"{article(noun)} {noun}"


def _listed(phrases: Sequence[str]) -> str:
    if len(phrases) == 1:
        return phrases[0]
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _sentence(frame: str, parts: Mapping[str, str]) -> str:
    text = frame.format_map(parts)
    return text[0].upper() + text[1:]
