"""Searching over HTTP: by words, by pictures, by both; page after page; what is not understood is said."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from references.tiny_served import COUNT, calibration, problem, service_of


def ask(client: TestClient, **parameters: object) -> dict:
    response = client.get("/api/search", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


def png(size: tuple[int, int] = (32, 24)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_words_find_pictures_best_first(client: TestClient) -> None:
    found = ask(client, q="a dog runs over the snow", k=5)
    scores = [hit["score"] for hit in found["hits"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert found["pictures"] == found["total"] == COUNT
    assert set(found["timings"]) == {"encode", "nearest", "rerank", "total"}
    assert [token["text"] for token in found["tokens"]][1:3] == ["a", "dog"]


def test_a_hit_says_what_the_page_shows(client: TestClient, made: Path) -> None:
    (hit,) = [hit for hit in ask(client, q="dog", k=50)["hits"] if hit["name"] == "turned.jpg"]
    assert (hit["width"], hit["height"], hit["date"]) == (40, 80, "2021-05-03T12:30:00")
    assert hit["path"] == str(made / "pictures" / "turned.jpg")
    assert client.get(hit["thumbnail"]).headers["content-type"] == "image/webp"
    assert hit["probability"] is None  # this model is not calibrated


def test_copies_are_one_hit_with_a_count(client: TestClient) -> None:
    (hit,) = [hit for hit in ask(client, q="dog", k=50)["hits"] if hit["name"] == "00.png"]
    assert hit["copies"] == 1


def test_pages_follow_each_other_without_gap_or_repeat(client: TestClient) -> None:
    whole = [hit["id"] for hit in ask(client, q="red cat", k=COUNT)["hits"]]
    pages = [hit["id"] for offset in (0, 5, 10) for hit in ask(client, q="red cat", k=5, offset=offset)["hits"]]
    assert pages == whole
    assert ask(client, q="red cat", k=5, offset=500)["hits"] == []


def test_explanations_come_along_when_asked_for(client: TestClient) -> None:
    found = ask(client, q="red cat", k=3, explain=1)
    apart = client.get(
        "/api/explain", params={"ids": ",".join(str(hit["id"]) for hit in found["hits"]), "q": "red cat"}
    )
    for hit, why in zip(found["hits"], apart.json()["pictures"], strict=True):
        assert hit["weights"] == why["weights"]
        assert why["grids"] == [[0, 2, 2]]
        assert np.allclose(np.sum(why["weights"], axis=1), 1, atol=1e-3)
        assert len(why["significance"]) == len(found["tokens"])
        assert sum(why["significance"]) + why["global"] == pytest.approx(1, abs=1e-3)
    assert "weights" not in ask(client, q="red cat", k=3)["hits"][0]


def test_a_filter_and_a_minus_narrow_the_search(client: TestClient) -> None:
    found = ask(client, q="dog", where="name ~ 'turned' or name = '03.png'")
    assert {hit["name"] for hit in found["hits"]} == {"turned.jpg", "03.png"}
    assert found["total"] == 2
    typed, apart = ask(client, q="dog -cat"), ask(client, q="dog", minus="cat")
    assert typed["hits"] == apart["hits"] != ask(client, q="dog")["hits"]
    nothing = ask(client, q="dog", where="width > 5000")
    assert (nothing["hits"], nothing["any_good"], nothing["total"]) == ([], False, 0)
    assert "filter" in nothing["message"]


def test_a_filter_that_cannot_be_read_points_at_the_character(client: TestClient) -> None:
    document = problem(client.get("/api/search", params={"q": "dog", "where": "width > 3 and datte > 2"}), 422)
    assert (document["position"], document["length"]) == (14, 5)
    assert "date" in document["remedy"]


def test_unknown_words_are_named(client: TestClient) -> None:
    found = ask(client, q="a dog on a skateboard")
    assert found["unknown"] == ["on", "skateboard"]
    assert found["hits"]
    nothing = ask(client, q="skateboard", minus="zebra")
    assert nothing["hits"] == []
    assert nothing["unknown"] == ["skateboard", "zebra"]
    assert [token["known"] for token in nothing["tokens"] if not token["special"]] == [False]
    assert "no word" in nothing["message"]


def test_an_unknown_minus_is_left_out_and_said(client: TestClient) -> None:
    found = ask(client, q="dog -zebra")
    assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in ask(client, q="dog")["hits"]]
    assert "zebra" in found["message"]


@pytest.mark.parametrize("parameters", [{}, {"q": ""}, {"q": " \t "}])
def test_nothing_asked_is_refused(client: TestClient, parameters: dict[str, str]) -> None:
    assert "few words" in problem(client.get("/api/search", params=parameters), 422)["remedy"]


@pytest.mark.parametrize("parameters", [{"where": "width > 3"}, {"q": "-cat"}, {"minus": "cat"}, {"unlike": 1}])
def test_what_cannot_be_ranked_is_refused(client: TestClient, parameters: dict[str, object]) -> None:
    assert "alone" in problem(client.get("/api/search", params=parameters), 422)["detail"]


def test_ten_thousand_words_are_refused_with_their_number(client: TestClient) -> None:
    refused = problem(client.get("/api/search", params={"q": "dog " * 10_000}), 422)
    assert refused["detail"].startswith("10,000 words")
    assert refused["remedy"] == "say it in fewer words"
    problem(client.get("/api/search", params={"q": "d" * 65_530}), 414)
    form = {"q": "dog " * 10_000}
    assert "10,000" in problem(client.post("/api/search", data=form, files={"picture": png()}), 422)["detail"]


@pytest.mark.parametrize(
    "parameters",
    [{"k": 0}, {"k": 1001}, {"k": "many"}, {"offset": -1}, {"recall": 0}, {"kk": 3}, {"like": "x"}, {"like": 2**70}],
)
def test_parameters_that_make_no_sense_are_named(client: TestClient, parameters: dict[str, object]) -> None:
    document = problem(client.get("/api/search", params={"q": "dog", **parameters}), 422)
    assert document["errors"][0]["where"].split(".")[0] in parameters


def test_a_picture_of_the_library_finds_its_like_but_not_itself(client: TestClient) -> None:
    number = ask(client, q="dog")["hits"][0]["id"]
    found = client.get(f"/api/pictures/{number}/like", params={"k": 4}).json()
    assert len(found["hits"]) == 4
    assert number not in [hit["id"] for hit in found["hits"]]
    assert found["hits"] == ask(client, like=number, k=4)["hits"]
    problem(client.get("/api/pictures/999/like"), 404)
    problem(client.get("/api/search", params={"q": "dog", "unlike": 999}), 404)


def test_an_upload_finds_itself_and_is_remembered(client: TestClient, made: Path) -> None:
    picture = {"picture": ("any name", (made / "pictures" / "07.png").read_bytes())}
    found = client.post("/api/search", files=picture, data={"k": "3"}).json()
    assert found["hits"][0]["name"] == "07.png"
    more = ask(client, picture=found["picture"], k=3, offset=3)
    assert not {hit["id"] for hit in found["hits"]} & {hit["id"] for hit in more["hits"]}
    both = ask(client, picture=found["picture"], q="red cat", picture_weight=0.9)
    assert both["hits"] != ask(client, q="red cat")["hits"]
    problem(client.get("/api/search", params={"picture": "A" * 22}), 404)


def test_an_upload_alone_needs_no_word_that_is_known(client: TestClient, made: Path) -> None:
    picture = {"picture": (made / "pictures" / "07.png").read_bytes()}
    found = client.post("/api/search", files=picture, data={"q": "skateboard"}).json()
    assert found["hits"][0]["name"] == "07.png"
    assert found["unknown"] == ["skateboard"]


@pytest.mark.parametrize("data", [b"", b"no picture at all", png()[:200], b"GIF89a" + b"\xff" * 50])
def test_an_upload_that_is_no_picture_is_refused(client: TestClient, data: bytes) -> None:
    problem(client.post("/api/search", files={"picture": ("x.png", data)}), 422)


def test_an_upload_of_too_many_pixels_is_not_decoded(start: object) -> None:
    client = start(max_megapixels=0.5)  # type: ignore[operator]
    file = io.BytesIO()
    Image.new("1", (1200, 1000)).save(file, "PNG")
    assert "megapixels" in problem(client.post("/api/search", files={"picture": file.getvalue()}), 413)["detail"]


def test_a_form_without_a_picture_or_of_another_type_is_refused(client: TestClient) -> None:
    problem(client.post("/api/search", data={"q": "dog"}), 422)
    problem(client.post("/api/search", json={"q": "dog"}), 415)
    problem(client.post("/api/search", files={"picture": png()}, data={"kk": "1"}), 422)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    problem(client.post("/api/search", content=b"--y\r\n", headers=headers), 400)


def test_probabilities_need_a_calibrated_model(client: TestClient) -> None:
    problem(client.get("/api/search", params={"q": "dog", "min_probability": 0.5}), 409)


def test_unlikely_hits_are_left_out(client: TestClient) -> None:
    object.__setattr__(service_of(client).library.bundle, "calibration", calibration())
    every = ask(client, q="dog", k=50)["hits"]
    assert all(hit["probability"] is not None for hit in every)
    least = sorted(hit["probability"] for hit in every)[5]
    found = ask(client, q="dog", k=50, min_probability=least)
    assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in every if hit["probability"] >= least]
    assert found["total"] == len(found["hits"])
    assert found["any_good"] == (found["hits"][0]["probability"] >= 0.5)


def test_explaining_leaves_out_what_is_gone(client: TestClient) -> None:
    found = client.get("/api/explain", params={"ids": "1,999,2", "q": "a dog"}).json()
    assert [one["id"] for one in found["pictures"]] == [1, 2]
    assert found["missing"] == [999]
    problem(client.get("/api/explain", params={"ids": "999", "q": "a dog"}), 404)
    problem(client.get("/api/explain", params={"ids": "1;2", "q": "a dog"}), 422)
    problem(client.get("/api/explain", params={"ids": "1"}), 422)
    unknown = client.get("/api/explain", params={"ids": "1", "q": "skateboard"}).json()
    assert unknown["pictures"] == []
    assert unknown["unknown"] == ["skateboard"]


def test_sentences_are_ranked_for_a_picture(client: TestClient, made: Path) -> None:
    sentences = ["a dog runs", "a red cat", "skateboard", "the green grass"]
    by_id = client.post("/api/captions", data={"id": 8, "captions": sentences}).json()["captions"]
    assert {one["text"] for one in by_id} == set(sentences) - {"skateboard"}
    assert [one["score"] for one in by_id] == sorted((one["score"] for one in by_id), reverse=True)
    path = client.get("/api/pictures/8").json()["paths"][0]
    upload = {"picture": Path(path).read_bytes()}
    by_file = client.post("/api/captions", data={"captions": sentences, "k": "2"}, files=upload).json()["captions"]
    assert [one["text"] for one in by_file] == [one["text"] for one in by_id][:2]
    assert "no captions" in client.post("/api/captions", data={"id": "8"}).json()["message"]
    problem(client.post("/api/captions", data={"captions": sentences}), 422)
    problem(client.post("/api/captions", data={"id": "999", "captions": sentences}), 404)
