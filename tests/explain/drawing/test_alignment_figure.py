"""The sheet that explains a pair can be drawn for any sentence and picture, and shows what the weights say."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossgraph.explain.description import alignment_lines, position_name, score_meaning, strongest_region
from crossgraph.explain.drawing.alignment_figure import draw_explanation
from crossgraph.explain.drawing.bar_chart import nearly_equal, strongest_tokens, token_bars
from crossgraph.explain.drawing.picture import density_shade, overlay_density, read_picture
from crossgraph.explain.drawing.theme import THEMES
from crossgraph.explain.drawing.word_maps import MAX_MAPS, plan_maps
from crossgraph.pipeline import AlignedToken, Alignment
from crossgraph.vision.boxes import grid_boxes


def alignment(
    words: list[str], boxes: np.ndarray | None = None, picture: Image.Image | None = None, unknown: tuple[str, ...] = ()
) -> Alignment:
    count = 12 if boxes is None else len(boxes)
    random = np.random.default_rng(0)
    tokens = [AlignedToken("<start>", 0, 0, True, True, False)]
    tokens += [AlignedToken(word, 0, len(word), word not in unknown, False, len(word) > 3) for word in words]
    tokens.append(AlignedToken("<end>", 0, 0, True, True, False))
    weights = random.random((len(tokens), count)).astype(np.float32) ** 3
    shares = random.random(len(tokens) + 1).astype(np.float32)
    shares /= shares.sum()
    return Alignment(
        " ".join(words),
        tuple(tokens),
        weights / weights.sum(axis=1, keepdims=True),
        shares[1:],
        float(shares[0]),
        0.42,
        boxes,
        picture,
        unknown,
        "saf",
        "a-run",
    )


def grid(rows: int = 3, columns: int = 4) -> np.ndarray:
    return grid_boxes(rows, columns).numpy()


def drawn(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_what_a_word_saw_shows_on_the_sheet(tmp_path):
    """The same picture and words with other weights make other pixels where the maps are, and only there."""
    flat = alignment(["kitten"], grid(), Image.new("RGB", (80, 60), "gray"))
    flat.weights[1] = 1 / 12
    draw_explanation(flat, tmp_path / "flat.png")
    even = drawn(tmp_path / "flat.png")
    flat.weights[1] = np.eye(12)[7]
    draw_explanation(flat, tmp_path / "peak.png")
    peaked = drawn(tmp_path / "peak.png")
    assert even.shape == peaked.shape
    changed = np.abs(even - peaked).sum(axis=2) > 60
    assert 0.005 < changed.mean() < 0.1
    assert changed[: len(changed) // 2].mean() == 0


@pytest.mark.parametrize("size", [(1000, 100), (10, 100)], ids=str)
def test_pictures_of_any_proportions(tmp_path, size):
    draw_explanation(alignment(["two", "dogs", "near", "water"], grid(), Image.new("RGB", size)), tmp_path / "why.png")
    height, width, _ = drawn(tmp_path / "why.png").shape
    assert width == 1800
    assert height < 5000


@pytest.mark.parametrize("aspect", [0.025, 0.3, 0.7, 1.0, 1.8, 3.0, 10.0, 40.0])
def test_panels_fit_the_page_and_keep_the_pictures_proportions(aspect):
    for count in range(1, 15):
        plan = plan_maps(alignment([f"word{number}" for number in range(count)], grid()), aspect, 11.0)
        assert plan.columns * plan.slot <= 11.0
        assert plan.width <= plan.slot
        assert plan.width / plan.height == pytest.approx(aspect)
        assert plan.slot > 1.2


def test_a_sentence_of_hundreds_of_words(tmp_path):
    words = [f"word{number}" for number in range(300)]
    draw_explanation(alignment(words, grid(), Image.new("RGB", (1, 1))), tmp_path / "why.png", "dark")
    assert drawn(tmp_path / "why.png").shape[0] < 8000


def test_more_words_than_panels_leaves_out_those_that_counted_least():
    long = alignment([f"word{number}" for number in range(40)], grid())
    plan = plan_maps(long, 1.3, 11.0)
    assert len(plan.rows) == MAX_MAPS
    assert plan.left_out == 40 - MAX_MAPS
    assert plan.rows == sorted(plan.rows)
    left = [row for row in long.content if row not in plan.rows]
    assert long.significance[plan.rows].min() >= long.significance[left].max()


def test_no_special_or_function_word_gets_a_panel():
    plan = plan_maps(alignment(["a", "dog", "runs", "."], grid()), 1.0, 11.0)
    assert plan.rows == [3]


SCRIPTS = {
    "Japanese": ["犬が", "走る"],
    "Arabic": ["كلب", "أحمر"],
    "Russian": ["собака", "бежит"],
    "emoji": ["🐶🐶🐶🐶", "👩‍👩‍👧‍👦"],
    "mathematics": ["$x_1$", "\\frac{1", "^^^^", "%$#&"],
    "broken": ["a\udcffbc\x00d", "\u202eabcd", "e\u0301e\u0301e\u0301"],
    "endless": ["w" * 400],
}


def test_sentences_in_any_script_draw_quietly(tmp_path, capfd):
    words = [word for some in SCRIPTS.values() for word in some]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_explanation(alignment(words, grid(), Image.new("RGB", (32, 32)), tuple(words)), tmp_path / "why.png")
    assert capfd.readouterr().err == ""


def test_a_detectors_boxes_are_outlined(tmp_path):
    boxes = np.array([[0.1, 0.2, 0.5, 0.9], [0.4, 0.1, 1.0, 0.6], [0.0, 0.0, 1.0, 1.0]], np.float32)
    found = alignment(["kitten"], boxes, Image.new("RGB", (90, 90)))
    draw_explanation(found, tmp_path / "why.png")
    yellow = np.array([0xF0, 0xE4, 0x42])
    assert (np.abs(drawn(tmp_path / "why.png") - yellow).sum(axis=2) < 30).sum() > 500


def test_without_boxes_or_picture_the_bars_are_still_there(tmp_path):
    draw_explanation(alignment(["kitten"]), tmp_path / "why.png")
    draw_explanation(alignment(["kitten"], None, Image.new("RGB", (9, 9))), tmp_path / "with.png")
    assert drawn(tmp_path / "why.png").shape[0] < drawn(tmp_path / "with.png").shape[0]


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_the_same_pair_is_the_same_file(tmp_path, suffix):
    found = alignment(["kitten"])
    files = [tmp_path / f"{number}{suffix}" for number in range(2)]
    for file in files:
        draw_explanation(found, file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_bars_tell_kinds_of_tokens_apart_by_more_than_colour():
    bars = token_bars(alignment(["a", "zorb", "kitten"], unknown=("zorb",)), [1, 2, 3], THEMES["light"])
    assert [bar.label for bar in bars] == ["a", "zorb", "kitten", "global node"]
    assert [(bar.unknown, bar.hatch != "", bar.strong) for bar in bars] == [
        (False, False, False),
        (True, True, True),
        (False, False, True),
        (False, True, True),
    ]
    assert len({bar.color for bar in bars}) == 4


def test_shares_that_say_nothing_are_said_to():
    found = alignment(["a", "kitten"])
    found.significance[:] = (1 - found.global_significance) / 4
    assert nearly_equal(token_bars(found, [1, 2], THEMES["dark"])[:2])
    assert not nearly_equal(token_bars(found, [1, 2], THEMES["dark"])) or found.global_significance == pytest.approx(
        0.2
    )


def test_of_too_many_tokens_the_strongest_are_kept_in_order():
    assert strongest_tokens(np.array([0.1, 0.4, 0.2, 0.3], np.float32), 2) == [1, 3]


def test_an_even_spread_hides_nothing_and_twice_it_is_the_first_step():
    np.testing.assert_allclose(density_shade(np.array([0.0, 1.0, 2.0, 4.0, 16.0, 50.0]), 16.0), [0, 0, 0.25, 0.5, 1, 1])
    grey = np.full((4, 4, 3), 120, np.uint8)
    plain = overlay_density(grey, np.ones((4, 4), np.float32), 16.0, THEMES["light"])
    np.testing.assert_allclose(plain, plain[0, 0, 0])
    assert np.ptp(overlay_density(grey, np.full((4, 4), 9, np.float32), 16.0, THEMES["light"])[0, 0]) > 0.2


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((0, 0, 0.2, 0.2), "upper left"),
        ((0.4, 0.4, 0.6, 0.6), "centre"),
        ((0.9, 0.3, 1, 0.6), "middle right"),
        ((0, 0, 1, 1), "centre"),
        ((1, 1, 1, 1), "lower right"),
    ],
)
def test_places_are_named_by_ninths(box, place):
    assert position_name(np.array(box, np.float32)) == place


def test_a_region_without_a_box_goes_by_its_number():
    found = alignment(["kitten"])
    assert strongest_region(found, 1).position == f"region {int(found.weights[1].argmax())}"


def test_even_shares_point_nowhere():
    found = alignment(["kitten"])
    found.weights[1] = 1 / found.weights.shape[1]
    assert strongest_region(found, 1).position == "anywhere"


@pytest.mark.parametrize(("model", "bounded"), [("saf", True), ("tshsr", True), ("vsepp", False), ("cgmn", False)])
def test_only_a_sigmoid_is_said_to_lie_between_0_and_1(model, bounded):
    assert ("from 0 to 1" in score_meaning(model)) == bounded


def test_without_a_global_node_none_is_shown():
    found = alignment(["kitten"])
    assert any("global node" in line for line in alignment_lines(found))
    object.__setattr__(found, "global_significance", 0.0)
    assert not any(line.startswith("global node") for line in alignment_lines(found))
    assert len(token_bars(found, [1], THEMES["light"])) == 1


def test_transparent_and_turned_pictures_are_shown_as_they_are_seen(tmp_path):
    clear = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    assert (read_picture(clear).pixels == 255).all()
    turned = Image.new("RGB", (20, 10))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg").aspect == 0.5
    assert read_picture(tmp_path / "turned.jpg", longest=8).pixels.shape == (8, 4, 3)
