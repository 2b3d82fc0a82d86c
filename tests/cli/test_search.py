"""`crossgraph search`, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from references.tiny_bundle import write_tiny_bundle
from references.tiny_library import index, new_library, write_pictures

from crossgraph.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("search")
    photos = write_pictures(place / "photos", 8)
    with new_library(place / "library", model=write_tiny_bundle(place / "bundle")) as library:
        index(library, photos)
    return place


@pytest.fixture(autouse=True)
def _named(folder, monkeypatch):
    monkeypatch.setenv("CROSSGRAPH_LIBRARY", str(folder / "library"))


def search(*words: object) -> int:
    return main(["search", *map(str, words)])


def test_hits_are_listed_with_chance_path_and_id(folder, capfd):
    assert search("a red dog", "-k", 3) == 0
    lines = capfd.readouterr().out.splitlines()
    hits = [line for line in lines if "%" in line]
    assert len(hits) == 3
    assert all(str(folder / "photos") in line and line.endswith("]") for line in hits)


def test_json_holds_all_that_there_is_to_know(folder, capfd):
    assert search("a red zyzzyva dog -snow", "--json", "--k", 4, "--explain") == 0
    printed = capfd.readouterr()
    found = json.loads(printed.out)
    assert len(found["hits"]) == 4
    assert {"id", "path", "score", "probability", "copies", "width", "height", "date"} <= set(found["hits"][0])
    assert found["hits"][0]["alignment"]["tokens"]
    assert found["unknown"] == ["zyzzyva"]
    assert found["pictures"] == 8
    assert "'zyzzyva'" in printed.err


def test_timings_tell_where_the_time_went_and_how_long_the_short_list_was(folder, capfd):
    assert search("a dog", "--timings", "--recall", 0.9) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    assert "8 pictures" in last
    assert "encode" in last and "nearest" in last and "re-rank" in last and "short list" in last


def test_a_minus_that_the_model_does_not_know_is_said_and_the_rest_searched(folder, capfd):
    assert search("a dog -zyzzyva", "-k", 2) == 0
    printed = capfd.readouterr()
    assert printed.out.count("[") == 2
    assert "'zyzzyva'" in printed.err
    assert "not taken out" in printed.err


def test_a_query_may_begin_with_a_minus(folder, capfd):
    assert search("-snow a dog", "--json") == 0
    assert json.loads(capfd.readouterr().out)["hits"]


def test_a_name_of_two_lines_is_printed_in_one(folder, tmp_path, capfd):
    photos = write_pictures(tmp_path / "photos", 1)
    (photos / "000.png").rename(photos / "two\nlines.png")
    with new_library(tmp_path / "library") as library:
        index(library, photos)
    assert search("a dog", "--library", tmp_path / "library") == 0
    assert r"two\nlines.png" in capfd.readouterr().out


def test_a_picture_can_be_asked_by(folder, capfd):
    assert search("--image", folder / "photos" / "004.png", "-k", 1, "--json") == 0
    assert json.loads(capfd.readouterr().out)["hits"][0]["path"].endswith("004.png")


def test_minus_terms_come_both_ways(folder, capfd):
    assert search("a dog -snow", "--json") == 0
    short = json.loads(capfd.readouterr().out)["hits"]
    assert search("a dog", "--not", "snow", "--json") == 0
    assert json.loads(capfd.readouterr().out)["hits"] == short


def test_filters_are_applied(folder, capfd):
    assert search("a dog", "--where", "name = '003.png'", "--json") == 0
    assert [Path(hit["path"]).name for hit in json.loads(capfd.readouterr().out)["hits"]] == ["003.png"]
    assert search("a dog", "--where", "width > 9999") == 0
    assert "no picture fits" in capfd.readouterr().out


def test_captions_of_a_file_are_ranked_for_a_picture(folder, tmp_path, capfd):
    (tmp_path / "lines.txt").write_text("a dog\n\nthe green grass\n")
    assert search("--image", folder / "photos" / "001.png", "--captions", tmp_path / "lines.txt", "--json") == 0
    assert {each["text"] for each in json.loads(capfd.readouterr().out)} == {"a dog", "the green grass"}


def test_hits_become_a_page(folder, tmp_path, capfd):
    assert search("a dog", "--html", tmp_path / "hits.html") == 0
    assert "a dog" in (tmp_path / "hits.html").read_text()


def test_a_page_and_json_can_be_had_at_once(folder, tmp_path, capfd):
    assert search("a dog", "--html", tmp_path / "hits.html", "--json", "-k", 2) == 0
    assert len(json.loads(capfd.readouterr().out)["hits"]) == 2
    assert (tmp_path / "hits.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is asked"),
        (("",), "nothing is asked"),
        (("-people",), "-people"),
        (("zyzzyva",), "zyzzyva"),
        (("dog " * 10_000,), "10,000 words"),
        (("dog", "-k", "0"), "k is 0"),
        (("dog", "--min-score", "2"), "--min-score 2"),
        (("dog", "--not", " "), "--not"),
        (("dog", "--html", "/nowhere/hits.html"), "--html"),
        (("dog", "--image", "/dev/null"), "not a regular file"),
        (("dog", "--where", "date >> 2020"), "character 7 (date >»>« 2020)"),
        (("dog", "--where", "colour = 'red'"), "colour"),
        (("dog", "--image", "/nowhere.jpg"), "no such file"),
        (("dog", "--image", "/"), "is a folder"),
        (("--captions", "x.txt"), "--image"),
        (("dog", "--library", "/nowhere"), "is no picture library"),
        (("dog", "--like", "999"), "picture 999"),
    ],
)
def test_what_cannot_be_answered_is_one_line(capfd, words, said):
    assert search(*words) == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert said in " ".join(lines)
    assert "Traceback" not in " ".join(lines)


def test_an_image_that_is_no_picture_is_named(tmp_path, capfd):
    (tmp_path / "letter.jpg").write_text("dear")
    assert search("--image", tmp_path / "letter.jpg") == 2
    assert "letter.jpg" in capfd.readouterr().err
