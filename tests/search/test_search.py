"""Pictures found by words, by a picture, by what they must not show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from references.tiny_bundle import write_tiny_bundle
from references.tiny_library import index, names, new_library, write_picture, write_pictures

from crossgraph.core.errors import InputError
from crossgraph.library import Library
from crossgraph.search import Query, Searcher
from crossgraph.store import parse_filter

COUNT = 24


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Iterator[Library]:
    """Uncalibrated: a bare run."""
    folder = tmp_path_factory.mktemp("plain")
    photos = write_pictures(folder / "photos", COUNT)
    shutil.copy(photos / "003.png", photos / "003 copy.png")
    (photos / "captions.csv").write_text("image,caption\n007.png,a dog in the snow\n008.png,zebra\n")
    with new_library(folder / "library") as made:
        index(made, photos)
        yield made


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory) -> Iterator[Library]:
    """A bundle with head, short list and calibration; with near-duplicates of one picture."""
    folder = tmp_path_factory.mktemp("calibrated")
    photos = write_pictures(folder / "photos", COUNT)
    write_picture(photos / "large.png", 77, (480, 320))
    with Image.open(photos / "large.png") as image:
        for side in (240, 228, 216):
            image.resize((side, side * 2 // 3)).save(photos / f"small{side}.png")
    with new_library(folder / "library", model=write_tiny_bundle(folder / "bundle")) as made:
        index(made, photos)
        yield made


def ids(library: Library, query: Query) -> list[int]:
    return [hit.id for hit in Searcher(library).search(query).hits]


def test_hits_are_ordered_by_the_re_rankers_score(library):
    found = Searcher(library).search(Query("a red dog", k=COUNT))
    text = library.bundle.encode_text("a red dog")
    everything = library.manifest.ids()
    scores = library.bundle.score(text.code, library.codes(everything))
    order = [everything[row] for row in np.argsort(-scores, kind="stable")]
    assert [hit.id for hit in found.hits] == order
    assert [hit.score for hit in found.hits] == pytest.approx(sorted(scores, reverse=True), abs=1e-6)
    assert (found.pictures, found.short_list, found.matching) == (COUNT, COUNT, COUNT)


def test_a_short_list_holds_the_nearest_and_grows_with_the_recall_asked_for(calibrated):
    searcher = Searcher(calibrated)
    few, many = (searcher.search(Query("a red dog", k=1, recall=recall)) for recall in (0.9, 0.99))
    assert 0 < few.short_list <= many.short_list < few.pictures + 1
    assert few.wanted <= many.wanted


def test_k_hits_are_given_where_there_are_as_many(library):
    assert [len(ids(library, Query("a dog", k=k))) for k in (1, 5, COUNT, 1000)] == [1, 5, COUNT, COUNT]


def test_a_copy_counts_with_its_picture(library):
    hits = Searcher(library).search(Query("a dog", k=COUNT)).hits
    (double,) = [hit for hit in hits if hit.copies]
    assert double.copies == 1
    assert Path(double.path).name in ("003.png", "003 copy.png")


def test_near_duplicates_are_one_hit_with_a_count(calibrated):
    hits = Searcher(calibrated).search(Query("a dog", k=COUNT + 4, recall=0.99)).hits
    names_found = [Path(hit.path).name for hit in hits]
    alike = [name for name in names_found if name.startswith(("large", "small"))]
    assert alike in ([], ["large.png"]), "the largest stands for the group"
    all_hits = Searcher(calibrated).search(Query(like=(1,), k=1000)).hits
    assert max(hit.copies for hit in all_hits) == 3
    assert len(all_hits) == COUNT  # of 28 pictures four are one, and the one asked by is left out


def test_the_largest_near_duplicate_is_shown_whichever_was_found_and_also_when_it_comes_later(tmp_path):
    photos = write_pictures(tmp_path / "photos", 3)
    write_picture(tmp_path / "large.png", 77, (480, 320))
    with Image.open(tmp_path / "large.png") as image:
        image.resize((240, 160)).save(photos / "a.png")
        image.resize((120, 80)).save(photos / "b.png")
    with new_library(tmp_path / "library") as made:
        index(made, photos)
        assert shown(made, Query("a dog", k=9)) == ["a.png"]
        shutil.move(tmp_path / "large.png", photos / "large.png")
        index(made, photos)
        assert shown(made, Query("a dog", k=9)) == ["large.png"]
        filtered = Query("a dog", k=9, where=parse_filter("width < 200"))
        assert shown(made, filtered) == ["b.png"], "a filter holds for what is shown"


def shown(library: Library, query: Query) -> list[str]:
    """Return the names of the hits that stand for the group of near-duplicates."""
    found = [Path(hit.path).name for hit in Searcher(library).search(query).hits]
    return [name for name in found if not name[0].isdigit()]


def test_words_that_the_model_does_not_know_are_named(library):
    found = Searcher(library).search(Query("a zyzzyva dog", minus=("quux cat",)))
    assert found.unknown == ("zyzzyva", "quux")
    assert [token.text for token in found.tokens if not token.known] == ["zyzzyva"]


def test_without_a_known_word_nothing_is_searched(library):
    with pytest.raises(InputError, match="zyzzyva"):
        Searcher(library).search(Query("zyzzyva"))


def test_an_unknown_minus_is_passed_over_and_said(library):
    found = Searcher(library).search(Query("a dog", minus=("zyzzyva", "snow")))
    assert found.hits == Searcher(library).search(Query("a dog", minus=("snow",))).hits
    assert found.unknown == ("zyzzyva",)
    assert any("zyzzyva" in note and "not taken out" in note for note in found.notes)


@pytest.mark.parametrize("named", [{"like": (999,)}, {"unlike": (999,)}])
def test_a_picture_that_is_not_there_is_named(library, named):
    with pytest.raises(InputError, match="picture 999 is not in the library"):
        Searcher(library).search(Query("a dog", **named))


def test_lost_neighbours_are_told_from_a_filter_that_nothing_fulfils(tmp_path):
    photos = write_pictures(tmp_path / "photos", 3)
    with new_library(tmp_path / "library") as library:
        index(library, photos)
        assert not Searcher(library).search(Query("a dog", where=parse_filter("width > 9999"))).hits
        library.drop_store()
        with pytest.raises(InputError, match="crossgraph library rebuild"):
            Searcher(library).search(Query("a dog"))


def test_what_is_taken_away_lowers_the_score(library):
    plain = {hit.id: hit.score for hit in Searcher(library).search(Query("a dog", k=COUNT)).hits}
    less = {hit.id: hit.score for hit in Searcher(library).search(Query("a dog", minus=("snow",), k=COUNT)).hits}
    unwanted = library.bundle.score(library.bundle.encode_text("snow").code, library.codes(list(plain)))
    for number, share in zip(plain, unwanted, strict=True):
        assert less[number] == pytest.approx(plain[number] * (1 - min(max(share, 0), 1)), abs=1e-5)


def test_filters_hold_for_every_hit(library):
    found = ids(library, Query("a dog", where=parse_filter("name ~ '01' and width >= 48"), k=COUNT))
    assert set(found) == {number for name, number in names(library).items() if "01" in name}


def test_a_filter_that_nothing_fulfils_gives_no_hit_and_no_good_match(library):
    found = Searcher(library).search(Query("a dog", where=parse_filter("width > 10000")))
    assert found.hits == []
    assert not found.any_good


def test_a_picture_finds_itself(library):
    path = library.get(5).paths[0]
    found = Searcher(library).search(Query(picture=path, k=3))
    assert found.hits[0].id == 5
    assert found.hits[0].probability is None
    assert found.short_list == 0


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_weight_decides_between_words_and_picture(library, weight):
    path = library.get(5).paths[0]
    both = ids(library, Query("a dog", picture=path, picture_weight=weight, k=COUNT))
    alone = Query("a dog", k=COUNT) if weight == 0 else Query(picture=path, k=COUNT)
    assert both[:3] == ids(library, alone)[:3]


def test_more_like_this_leaves_this_out(library):
    found = ids(library, Query(like=(5,), k=COUNT))
    assert 5 not in found
    assert len(found) == COUNT - 1
    vectors = library.records(found)["index"] @ library.records([5])["index"][0]
    assert vectors[0] == pytest.approx(vectors.max(), abs=1e-5)


def test_less_like_this_moves_it_back(library):
    plain = ids(library, Query(like=(5,), k=COUNT))
    without = ids(library, Query(like=(5,), unlike=(plain[0],), k=COUNT))
    assert without.index(plain[0]) > 0


def test_an_unknown_picture_is_named(library):
    with pytest.raises(InputError, match="picture 9999"):
        Searcher(library).search(Query(like=(9999,)))


def test_words_beside_a_picture_count_by_choice(library):
    number = names(library)["007.png"]
    plain = {hit.id: hit.score for hit in Searcher(library).search(Query("a dog", k=COUNT)).hits}
    joined = {hit.id: hit.score for hit in Searcher(library).search(Query("a dog", join_words=True, k=COUNT)).hits}
    assert joined[number] > plain[number]
    others = [other for other in plain if other != number]
    assert [joined[other] for other in others] == pytest.approx([plain[other] for other in others], abs=1e-5)


def test_probabilities_follow_the_calibration_and_good_means_half(calibrated):
    found = Searcher(calibrated).search(Query("a red dog", k=1000))
    chances = [hit.probability for hit in found.hits if hit.probability is not None]
    assert len(chances) == len(found.hits)
    assert all(0 <= chance <= 1 for chance in chances)
    assert chances == sorted(chances, reverse=True)
    assert found.any_good == (chances[0] >= 0.5)


def test_hits_below_the_least_probability_are_left_out(calibrated):
    everything = Searcher(calibrated).search(Query("a red dog", k=1000)).hits
    middle = sorted(hit.probability or 0 for hit in everything)[len(everything) // 2]
    some = Searcher(calibrated).search(Query("a red dog", k=1000, min_probability=middle)).hits
    assert [hit.id for hit in some] == [hit.id for hit in everything if (hit.probability or 0) >= middle]
    nothing = Searcher(calibrated).search(Query("a red dog", min_probability=1.0))
    assert nothing.hits == []
    assert not nothing.any_good


def test_without_calibration_a_least_probability_is_refused(library):
    with pytest.raises(InputError, match=r"not calibrated.*crossgraph bundle"):
        Searcher(library).search(Query("a dog", min_probability=0.5))


def test_where_nothing_fits_that_is_said(tmp_path):
    photos = write_pictures(tmp_path / "photos", 4)
    with new_library(tmp_path / "library", model=write_tiny_bundle(tmp_path / "bundle", middle=5.0)) as library:
        index(library, photos)
        found = Searcher(library).search(Query("a red dog"))
        assert len(found.hits) == 4
        assert not found.any_good


def test_an_empty_library_says_how_to_fill_it(tmp_path):
    with new_library(tmp_path / "library") as library, pytest.raises(InputError, match="crossgraph index PICTURES"):
        Searcher(library).search(Query("a dog"))


def test_timings_add_up(library):
    t = Searcher(library).search(Query("a dog")).timings
    assert min(t.encode, t.nearest, t.rerank) >= 0
    assert t.encode + t.nearest + t.rerank <= t.total + 1e-6


def test_a_hit_can_be_explained(library):
    found = Searcher(library).explain(5, "a red dog")
    assert found.picture == library.get(5).paths[0]
    assert found.weights.shape == (len(found.tokens), 4)
    assert found.weights.sum(axis=1) == pytest.approx(1, abs=1e-3)
    text = library.bundle.encode_text("a red dog")
    assert found.score == pytest.approx(float(library.bundle.score(text.code, library.codes([5]))[0]), abs=1e-4)


def test_explanations_keep_the_order_asked_for(library):
    assert [each.picture for each in Searcher(library).explain_many([9, 2, 5], "a dog")] == [
        library.get(number).paths[0] for number in (9, 2, 5)
    ]


def test_captions_are_ranked_for_a_picture(library):
    texts = ["a red dog", "zyzzyva", "the green grass", "snow"]
    ranked = Searcher(library).captions_for(library.get(5).paths[0], texts)
    assert {text for text, _, _ in ranked} == set(texts) - {"zyzzyva"}
    assert [score for _, score, _ in ranked] == sorted((score for _, score, _ in ranked), reverse=True)
    by_id = Searcher(library).captions_for(5, texts)
    assert [text for text, _, _ in by_id] == [text for text, _, _ in ranked]


def test_the_librarys_own_captions_are_ranked_where_none_are_given(library):
    assert [text for text, _, _ in Searcher(library).captions_for(5)] == ["a dog in the snow"]  # it knows no zebra


def test_no_sentence_to_rank_is_said(library):
    with pytest.raises(InputError, match="no sentence"):
        Searcher(library).captions_for(5, ["zyzzyva"])


# files that are not there any more


def test_hits_name_a_path_that_exists_and_count_only_copies_that_do(tmp_path):
    photos = write_pictures(tmp_path / "a", 3)
    shutil.copy(photos / "000.png", photos / "zero.png")
    with new_library(tmp_path / "library") as library:
        index(library, photos)
        moved = photos.rename(tmp_path / "b")
        index(library, moved)
        found = Searcher(library).search(Query("a red dog", k=3))
        assert {Path(hit.path).parent for hit in found.hits} == {moved}
        zero = names(library)["zero.png"]
        assert {hit.id: hit.copies for hit in found.hits} == {hit.id: int(hit.id == zero) for hit in found.hits}
        assert Searcher(library).explain(zero, "a red dog").picture == moved / "000.png"
        (note,) = found.notes
        assert note.startswith(f"{photos}: is not there")
        assert f"crossgraph library remove '{photos}'" in note


def test_pictures_of_a_root_that_is_gone_are_still_found(tmp_path):
    photos = write_pictures(tmp_path / "a", 2)
    with new_library(tmp_path / "library") as library:
        index(library, photos)
        shutil.rmtree(photos)
        found = Searcher(library).search(Query("a red dog", k=2))
        assert [(Path(hit.path).parent, hit.copies) for hit in found.hits] == [(photos, 0)] * 2
