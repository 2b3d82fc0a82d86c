"""`crossgraph evaluate`: figures on stdout, a card in its place, and one line for what a person can mend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossgraph.cli.main import main


@pytest.fixture
def data(goldens: Path) -> Path:
    return goldens / "sgraf" / "dataset" / "tiny_precomp"


@pytest.fixture(scope="module")
def imported(goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, dataset = tmp_path_factory.mktemp("evaluate"), goldens / "sgraf" / "dataset"
    vocabulary = dataset / "vocab" / "tiny_precomp_vocab.json"
    words = ["import", "sgraf", goldens / "sgraf" / "sgr_bigru.pth", "--vocab", vocabulary, "--out", folder / "run"]
    assert main([str(word) for word in words]) == 0
    return folder / "run"


@pytest.fixture
def run(imported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(imported, tmp_path / "run"))


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    np.save(tmp_path / "s.npy", np.random.default_rng(0).standard_normal((15, 75)).astype(np.float32))
    return tmp_path / "s.npy"


@pytest.fixture
def evaluate(data: Path, capfd: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        code = main(["evaluate", *map(str, words), *([] if "--data" in words else ["--data", str(data)])])
        return code, *capfd.readouterr()

    return call


def refused(found: tuple[int, str, str], *parts: str) -> None:
    code, out, err = found
    assert code == 2, err
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith("crossgraph evaluate: ")
    assert "Traceback" not in err
    for part in parts:
        assert part in line


def test_a_runs_card_lies_in_its_folder(evaluate, run):
    code, out, err = evaluate(run)
    assert code == 0
    assert "| all 15 images" in out
    assert f"card: {run / 'card.json'}" in err
    assert (run / "card.md").read_text() == out
    assert json.loads((run / "card.json").read_text())["models"]["count"] == 1


def test_another_splits_card_gets_another_name(evaluate, run, data, tmp_path):
    for path in shutil.copytree(data, tmp_path / "data").iterdir():
        path.rename(path.with_name(path.name.replace("test", "dev")))
    code, _, _ = evaluate(run, "--data", tmp_path / "data", "--split", "dev")
    assert code == 0
    assert (run / "card-dev.json").exists()
    assert not (run / "card.json").exists()


def test_a_split_that_chose_the_run_is_warned_of_aloud(evaluate, run):
    info = json.loads((run / "run.json").read_text())
    info["chosen_by"] = {"split": "test"}
    (run / "run.json").write_text(json.dumps(info))
    code, out, err = evaluate(run)
    assert code == 0
    assert "warning" in err
    assert "chosen on this split (test)" in err
    assert "**Warning:**" in out


def test_details_hold_every_query(evaluate, matrix, tmp_path):
    code, _, _ = evaluate("--scores", matrix, "--details", tmp_path / "details")
    assert code == 0
    assert len((tmp_path / "details" / "details.jsonl").read_text().splitlines()) == 90
    assert len((tmp_path / "details" / "t2i.run").read_text().splitlines()) == 750


def test_slices_and_limits_stand_in_the_card(evaluate, matrix, tmp_path):
    evaluate("--scores", matrix, "--slices", 2, "--dev-limit", 11, "--out", tmp_path / "out")
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["results"]["whole"]["images"] == 11
    assert [part["images"] for part in card["results"]["slices"]] == [5, 5]
    assert card["protocol"]["left_out"] == 1
    assert card["protocol"]["dev_limit"] == 11


def test_equal_scores_give_chance_and_say_that_ties_decide(evaluate, tmp_path):
    np.save(tmp_path / "equal.npy", np.zeros((15, 75), np.float32))
    code, out, _ = evaluate("--scores", tmp_path / "equal.npy", "--out", tmp_path)
    figures = json.loads((tmp_path / "card.json").read_text())["results"]["whole"]["figures"]
    assert code == 0
    assert [figures["t2i R@1"], figures["i2t R@1"]] == pytest.approx([100 / 15] * 2)
    assert "ties decide the rank of 100.00 % of the queries" in out
    evaluate("--scores", tmp_path / "equal.npy", "--out", tmp_path, "--ties", "worst")
    assert json.loads((tmp_path / "card.json").read_text())["results"]["whole"]["figures"]["rSum"] == 0


def test_without_a_place_the_card_is_not_kept_and_that_is_said(evaluate, matrix):
    code, out, err = evaluate("--scores", matrix)
    assert code == 0
    assert "| all 15 images" in out
    assert "--out" in err


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "+infinity"), (-np.inf, "-infinity")])
def test_scores_that_are_no_numbers_are_refused_by_image_and_caption(evaluate, matrix, tmp_path, data, value, name):
    scores = np.load(matrix)
    scores[3, 17] = value
    np.save(tmp_path / "bad.npy", scores)
    image = (data / "test_ids.txt").read_text().split()[3]
    caption = (data / "test_caps.txt").read_text().splitlines()[17]
    bad = ["--scores", tmp_path / "bad.npy"]
    for files in (bad, ["--scores", matrix, *bad]):
        refused(evaluate(*files, "--out", tmp_path / "out"), "bad.npy", image, caption[:30], name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda s: s.T, ("75 × 15", "transpose")),
        (lambda s: s[:, :70], ("15 × 70", "75 captions")),
        (lambda s: s[:14], ("14 × 75", "15 images")),
        (lambda s: s.astype(np.float16), ("float16", "float32")),
        (lambda s: s.astype(int), ("int64",)),
        (lambda s: s.ravel(), ("shape (1125,)",)),
    ],
)
def test_matrices_that_do_not_fit_are_one_line(evaluate, matrix, tmp_path, make, parts):
    np.save(tmp_path / "odd.npy", make(np.load(matrix)))
    refused(evaluate("--scores", tmp_path / "odd.npy"), "odd.npy", *parts)


def test_a_truncated_matrix_is_one_line(evaluate, matrix):
    matrix.write_bytes(matrix.read_bytes()[:-1])
    refused(evaluate("--scores", matrix), "s.npy", "truncated")


def test_wrong_words_are_one_line(evaluate, matrix, run, tmp_path):
    (tmp_path / "file").write_text("")
    refused(evaluate(), "nothing to evaluate")
    refused(evaluate(run, "--scores", matrix), "either runs or --scores")
    several = f"--scores {matrix} --scores {matrix}"
    refused(evaluate("--scores", matrix, matrix), "--scores takes one value and is repeated for more: write " + several)
    refused(evaluate("--scores", tmp_path / "none.npy"), "none.npy", "no such file")
    refused(evaluate(tmp_path / "none"), "none", "no such folder")
    refused(evaluate("--scores", matrix, "--split", "dev"), "no split 'dev'", "test")
    refused(evaluate("--scores", matrix, "--slices", 0), "--slices 0")
    refused(evaluate("--scores", matrix, "--slices", 16), "--slices 16", "15 images")
    refused(evaluate("--scores", matrix, "--dev-limit", 0), "--dev-limit 0")
    refused(evaluate("--scores", matrix, "--details", tmp_path / "file"), "file where a folder")
    refused(evaluate("--scores", matrix, "--out", tmp_path / "file"), "file where a folder")
    refused(evaluate("--scores", matrix, "--details", tmp_path / "file" / "deeper"), "file where a folder")
    refused(evaluate("--scores", matrix, "--ties", "lucky"), "lucky", "expected")


def test_matrices_of_other_data_are_refused_even_when_they_fit(evaluate, run, data, matrix, tmp_path, capfd):
    other = Path(shutil.copytree(data, tmp_path / "other"))
    (other / "test_caps.txt").write_text("".join(f"caption {number}\n" for number in range(75)))
    assert main(["score", str(run), "--data", str(other), "--out", str(tmp_path / "other.npy")]) == 0
    capfd.readouterr()
    refused(evaluate("--scores", matrix, "--scores", tmp_path / "other.npy"), "other.npy", "other pictures or captions")


def card_of(folder: Path) -> dict:
    return json.loads((folder / "card.json").read_text())


def test_a_runs_card_says_how_far_its_explanations_can_be_believed(evaluate, run):
    code, out, _ = evaluate(run)
    assert code == 0
    found = card_of(run)["explanations"]
    assert not found["sample"]["thorough"]
    (model,) = found["models"]
    assert model["regions"]["pairs"] == 40
    assert "no boxes" in model["pointing"]["absent"]
    assert "regions hidden first" in out
    assert "**Not measured:** pointing game: no boxes" in out
    assert "--explanations` measures more" in out


def test_explanations_are_measured_thoroughly_when_asked_for(evaluate, run):
    code, out, _ = evaluate(run, "--explanations")
    assert code == 0
    found = card_of(run)["explanations"]
    assert found["sample"]["thorough"]
    assert found["models"][0]["regions"]["pairs"] == 75
    assert "measures more" not in out


def test_every_model_of_an_ensemble_is_measured_by_itself(evaluate, run, imported, tmp_path):
    evaluate(run, imported, "--out", tmp_path / "out")
    entries = card_of(tmp_path / "out")["explanations"]["models"]
    assert [entry["run"] for entry in entries] == [str(run), str(imported)]


def test_score_files_hold_no_attention_and_that_is_said(evaluate, matrix, run, tmp_path):
    code, out, _ = evaluate("--scores", matrix, "--out", tmp_path / "out")
    assert code == 0
    assert card_of(tmp_path / "out")["explanations"] == {"absent": "score files hold no attention"}
    assert "score files hold no attention" in out
    refused(evaluate("--scores", matrix, "--explanations"), "--explanations", "no attention")
    refused(evaluate("--scores", matrix, "--boxes", matrix), "--boxes", "no attention")


def test_boxes_that_are_none_are_one_line_before_any_scoring(evaluate, run, data, tmp_path):
    (tmp_path / "boxes.json").write_text("{}")
    (tmp_path / "text.json").write_text("dog: 1 2 3 4")
    for name, says in (("none.json", "no such file"), ("boxes.json", "no boxes"), ("text.json", "not valid JSON")):
        refused(evaluate(run, "--boxes", tmp_path / name), name, says)
    assert not (run / "card.json").exists()


def test_broken_boxes_beside_the_data_spoil_no_card_but_one_that_asks_for_them(evaluate, run, data, tmp_path):
    own = Path(shutil.copytree(data, tmp_path / "own"))
    (own / "instances_val.json").write_text('{"images": [')
    code, out, _ = evaluate(run, "--data", own)
    assert code == 0
    assert "instances_val.json: not valid JSON" in out
    refused(evaluate(run, "--data", own, "--explanations"), "instances_val.json", "not valid JSON")


def test_features_without_boxes_are_said_to_have_none(evaluate, run, tmp_path):
    boxes = {
        "images": [{"id": 0, "file_name": name, "width": 9, "height": 9} for name in map(str, range(99))],
        "categories": [{"id": 0, "name": "dog"}],
        "annotations": [{"image_id": 0, "category_id": 0, "bbox": [0, 0, 5, 5]}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(boxes))
    code, out, _ = evaluate(run, "--boxes", tmp_path / "instances.json")
    assert code == 0
    assert "**Not measured:** pointing game:" in out


def test_why_there_is_no_eccv_caption_is_said(evaluate, matrix, tmp_path):
    code, out, _ = evaluate("--scores", matrix, "--out", tmp_path)
    assert code == 0
    assert "**ECCV Caption and CxC:** absent: no COCO ids are known" in out
    (tmp_path / "ids.txt").write_text("".join(f"{number}\n" for number in range(10_000_000, 10_000_075)))
    code, out, _ = evaluate("--scores", matrix, "--ids", tmp_path / "ids.txt", "--out", tmp_path)
    assert code == 0
    assert "none of the split's ids belongs to COCO's 5K test" in out
    assert "belongs" in card_of(tmp_path)["coco"]["absent"]


def test_ids_that_are_none_are_one_line(evaluate, matrix, tmp_path, monkeypatch):
    (tmp_path / "words.txt").write_text("dog\n")
    (tmp_path / "few.txt").write_text("1\n2\n")
    (tmp_path / "ids.txt").write_text("".join(f"{number}\n" for number in range(75)))
    refused(evaluate("--scores", matrix, "--ids", tmp_path / "none.txt"), "none.txt", "no such file")
    refused(evaluate("--scores", matrix, "--ids", tmp_path / "words.txt"), "words.txt, line 1", "no COCO id")
    refused(evaluate("--scores", matrix, "--ids", tmp_path / "few.txt"), "few.txt", "2 ids for 75 captions")
    monkeypatch.setattr("crossgraph.evaluate.coco_benchmark.importlib.util.find_spec", lambda name: None)
    refused(evaluate("--scores", matrix, "--ids", tmp_path / "ids.txt"), "pip install 'crossgraph[eccv]'")
