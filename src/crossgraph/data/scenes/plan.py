"""Draw at random what a scene holds: a ground, clusters of things from left to right, their relations.

A plan is drawn from a random generator alone. `choose` gives ordinary plans; `choose_hard` gives two that
differ in one respect only (relation, count or colour).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from crossgraph.data.scenes import objects
from crossgraph.data.scenes.objects import COLOURS, Thing

GROUNDS: tuple[str, ...] = ("meadow", "beach", "snow", "street", "room", "night", "desert", "sunset")

Relation = Literal["left of", "right of", "above", "below", "on", "under", "behind", "in front of", "inside"]
Factor = Literal["relation", "count", "colour"]
FACTORS: tuple[Factor, ...] = ("relation", "count", "colour")
GROUP_SIZE = 2
MOST_OBJECTS = 5


@dataclass(frozen=True)
class Group:
    """Equal objects: "two small red cars".

    Attributes:
        thing: Their kind.
        count: Their number.
        colour: A name of `COLOURS`, or empty for OpenMoji's own look.
        size: "big", "small" or empty.
    """

    thing: Thing
    count: int = 1
    colour: str = ""
    size: str = ""


@dataclass(frozen=True)
class Cluster:
    """A position in the row: a group, or a group that is `relation` to `other` there (above it, inside it)."""

    main: Group
    relation: Relation | None = None
    other: Group | None = None

    @property
    def groups(self) -> tuple[Group, ...]:
        """The one or two groups."""
        return (self.main,) if self.other is None else (self.main, self.other)


@dataclass(frozen=True)
class Fact:
    """Group number `subject` is `relation` to group number `target`."""

    subject: int
    relation: Relation
    target: int


@dataclass(frozen=True)
class Plan:
    """A ground and the clusters on it, from left to right."""

    ground: str
    clusters: tuple[Cluster, ...]

    @property
    def groups(self) -> tuple[Group, ...]:
        """All groups, cluster by cluster, a cluster's main group first."""
        return tuple(group for cluster in self.clusters for group in cluster.groups)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Relations inside the clusters, then between the main groups of neighbouring clusters."""
        inside: list[Fact] = []
        between: list[Fact] = []
        row, last = 0, -1
        for cluster in self.clusters:
            if cluster.relation is not None:
                inside.append(Fact(row, cluster.relation, row + 1))
            if last >= 0:
                between.append(Fact(last, "left of", row))
            last, row = row, row + len(cluster.groups)
        return (*inside, *between)


def choose(rng: Random) -> Plan:
    """Draw an ordinary plan of 2 to 5 objects."""
    ground = rng.choice(GROUNDS)
    pattern = rng.choices(("crowd", "two", "three", "pair", "pair and one"), (8, 36, 18, 22, 16))[0]
    if pattern == "crowd":
        return Plan(ground, (Cluster(_group(rng, _any_thing(rng), rng.randint(2, MOST_OBJECTS))),))
    if pattern in ("two", "three"):
        return Plan(ground, _row(rng, 2 if pattern == "two" else 3))
    pair = _pair(rng)
    if pattern == "pair":
        return Plan(ground, (pair,))
    left = MOST_OBJECTS - sum(group.count for group in pair.groups)
    used = {group.thing.name for group in pair.groups}
    extra = Cluster(_group(rng, _any_thing(rng, used), _count(rng, min(left, 2))))
    return Plan(ground, (pair, extra) if rng.random() < 0.5 else (extra, pair))


def choose_hard(rng: Random, factor: Factor) -> tuple[Plan, ...]:
    """Draw `GROUP_SIZE` plans of the same two kinds of things that differ in `factor` only.

    Counts and colours are swapped between the two kinds, so that the plans are alike but for what
    belongs to what.
    """
    ground = rng.choice(GROUNDS)
    if factor == "relation":
        return tuple(Plan(ground, clusters) for clusters in _relation_variants(rng))
    if factor == "count":
        a, b = rng.sample(objects.STANDING + objects.FLOATING, 2)
        n, m = rng.choice(((1, 2), (1, 3), (1, 4), (2, 3)))
        pairs = [(Group(a, n), Group(b, m)), (Group(a, m), Group(b, n))]
    else:
        a, b = rng.sample(objects.PAINTED, 2)
        c, d = rng.sample(tuple(COLOURS), 2)
        pairs = [(Group(a, colour=c), Group(b, colour=d)), (Group(a, colour=d), Group(b, colour=c))]
    return tuple(Plan(ground, (Cluster(first), Cluster(second))) for first, second in pairs)


def _relation_variants(rng: Random) -> tuple[tuple[Cluster, ...], ...]:
    """Return two things side by side and the other way round, or a thing in two relations to another."""
    form = rng.choice(("row", "air", "depth", "support", "container"))
    if form in ("row", "depth"):
        a, b = _alike(rng)
    elif form == "air":
        a, b = rng.sample(objects.FLOATING, 2)
    else:
        a = rng.choice(objects.SMALL)
        b = objects.BY_NAME["table"] if form == "support" else rng.choice(objects.CONTAINERS)
    first, second = _painted(rng, Group(a)), _painted(rng, Group(b))
    if form == "row":
        return (Cluster(first), Cluster(second)), (Cluster(second), Cluster(first))
    relations: Mapping[str, tuple[Relation, Relation]] = {
        "air": ("above", "below"),
        "depth": ("behind", "in front of"),
        "support": ("on", "under"),
        "container": ("inside", "in front of"),
    }
    return tuple((Cluster(first, relation, second),) for relation in relations[form])


def _row(rng: Random, length: int) -> tuple[Cluster, ...]:
    used: set[str] = set()
    groups: list[Group] = []
    left = MOST_OBJECTS
    for groups_left in range(length, 0, -1):
        twin = groups[-1] if groups and groups[-1].colour and rng.random() < 0.2 else None
        thing = twin.thing if twin else _any_thing(rng, used)
        group = _group(rng, thing, _count(rng, min(left - groups_left + 1, 3)))
        if twin:
            group = replace(group, colour=rng.choice([c for c in COLOURS if c != twin.colour]))
        used.add(thing.name)
        groups.append(group)
        left -= group.count
    return tuple(Cluster(group) for group in groups)


def _pair(rng: Random) -> Cluster:
    relations: tuple[Relation, ...] = ("above", "on", "under", "behind", "in front of", "inside")
    relation = rng.choices(relations, (5, 3, 3, 3, 3, 5))[0]
    if relation == "above":
        below = rng.choice(objects.FLOATING if rng.random() < 0.3 else objects.STANDING)
        above = rng.choice([thing for thing in objects.FLOATING if thing is not below])
        return Cluster(_group(rng, above, _count(rng, 2)), relation, _group(rng, below))
    if relation in ("behind", "in front of"):
        main, other = _alike(rng)
        return Cluster(_painted(rng, Group(main)), relation, _painted(rng, Group(other)))
    others = {"on": objects.SUPPORTS, "under": objects.ROOFS, "inside": objects.CONTAINERS}[relation]
    other = rng.choice(others)
    most = 1 if other.name in ("bucket", "basket") else 2
    main = _group(rng, rng.choice(objects.SMALL), _count(rng, most))
    return Cluster(replace(main, size=""), relation, _painted(rng, Group(other)))


def _alike(rng: Random) -> tuple[Thing, Thing]:
    """Return two standing things of like size, so that the one in front covers a part of the other."""
    first = rng.choice(objects.STANDING)
    alike = [t for t in objects.STANDING if t is not first and 0.8 <= t.size / first.size <= 1.25]
    return first, rng.choice(alike)


def _any_thing(rng: Random, used: set[str] = frozenset()) -> Thing:  # pyright: ignore[reportArgumentType]
    pool = objects.PAINTED if rng.random() < 0.3 else objects.CATALOGUE
    return rng.choice([thing for thing in pool if thing.name not in used])


def _count(rng: Random, most: int) -> int:
    return rng.choices(range(1, most + 1), (6, 3, 2)[:most])[0]


def _group(rng: Random, thing: Thing, count: int = 1) -> Group:
    size = rng.choice(("big", "small")) if count == 1 and rng.random() < 0.2 else ""
    return _painted(rng, Group(thing, count, size=size))


def _painted(rng: Random, group: Group) -> Group:
    """Return the group, with a colour most of the time if it can be painted."""
    colour = rng.choice(tuple(COLOURS))
    return replace(group, colour=colour) if group.thing.paint and rng.random() < 0.85 else group
