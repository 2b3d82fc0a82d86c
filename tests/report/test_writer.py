"""What stands in a report, and that it is true."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from references.tiny_pairs import write_precomp
from references.tiny_run import write_tiny_run
from references.tiny_world import write_run, write_world
from report.conftest import WHEN

from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.evaluate.card import write_card
from crossgraph.evaluate.job import Job, run_job
from crossgraph.pipeline import alignment_of
from crossgraph.report.writer import ReportRequest, write_report
from crossgraph.runs import load_run
from crossgraph.scoring.engine import score_split


def silent(line: str) -> None:
    """Hear nothing."""


def text_of(page: str) -> str:
    body = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def articles(page: str, panel: int) -> list[str]:
    part = page.partition('<section id="scores"')[0].split('class="panel"')[panel + 1]
    return re.findall(r"<article.*?</article>", part, re.DOTALL)


def test_figures_are_those_of_evaluate_for_each_run_and_for_their_mean(page, runs, world):
    table = page.split('<section id="results"')[1].split("</table>")[0]
    for which in ([runs[0]], [runs[1]], runs):
        figures = run_job(Job(which, [], world), silent)["results"]["whole"]
        for name in ("i2t R@1", "t2i R@10", "rSum"):
            low, high = figures["intervals"][name]
            assert f'<span class="value">{figures["figures"][name]:.1f}</span>' in table
            assert f"{low:.1f}–{high:.1f}" in table
    assert "ensemble of 2" in table


def test_it_says_what_it_was_made_from(page, runs, world):
    said = text_of(page)
    for word in ("one and two on zoo", "9 pictures and 19 captions", "4 May 2026", str(world), "16 × 6 (tiny)"):
        assert word in said
    assert "weights chosen by dev, rSum 321.5 (step 40, epoch 2)" in said
    assert f"crossgraph train tiny --data {world} --out {runs[0]}" in said


def test_a_run_without_a_log_says_so_and_the_other_is_drawn(page):
    assert "two has no training log" in text_of(page)
    assert page.count('class="line c0"') >= 2


def test_a_chosen_caption_asks_both_ways_and_its_right_answer_is_marked_with_its_rank(page, runs, world):
    split = open_data(world, log=silent).split("test")
    run = load_run(runs[0])
    scores = score_split(run.model, run.vocabulary, split)
    rank = int((scores[:, 0] > scores[0, 0]).sum()) + 1
    first = articles(page, 0)[0]
    assert 'class="query t2i"' in first
    verdict = "Right answer first" if rank == 1 else f"Right answer at rank {rank}"
    assert verdict in first
    (marked,) = re.findall(r'<li class="tile right[^"]*" value="(\d+)"', first)
    assert int(marked) == rank
    assert first.count("<li") == (5 if rank <= 5 else 6)
    assert [f"{score:.3f}" for score in sorted(scores[:, 0], reverse=True)[:5]] == re.findall(
        r'class="score">([\d.]+)<', first
    )[:5]


def test_a_sentence_of_ones_own_has_no_right_answer_and_unknown_words_are_marked(page):
    (own,) = (article for article in articles(page, 0) if "Your own sentence" in article)
    assert 'class="tile right' not in own
    assert re.search(r'class="word unknown"[^>]*title="not in the vocabulary".*?horse', own)


def test_the_worst_queries_are_those_whose_right_answer_ranks_lowest(page, runs, world):
    split = open_data(world, log=silent).split("test")
    run = load_run(runs[1])
    scores = score_split(run.model, run.vocabulary, split)
    right = scores[split.caption_image, np.arange(scores.shape[1])]
    worst = int((scores > right).sum(axis=0).max()) + 1
    ranks = [int(rank) for rank in re.findall(r"Right answer at rank (\d+)", " ".join(articles(page, 1)))]
    assert worst in ranks
    assert max(ranks[-4:-2]) == worst


def test_weights_are_the_models_own_and_the_ensembles_are_their_mean(pairs, page, runs, world):
    split = open_data(world, log=silent).split("test")
    for panel, members in enumerate(([runs[0]], [runs[1]], runs)):
        first = articles(page, panel)[0]  # asks with the split's first caption
        tiles = re.findall(r'data-picture="(\d+)" data-pair="(\d+)"', first)
        assert len(tiles) >= 5
        for picture, number in tiles:
            regions = split.features.read([int(picture)])
            expected = np.mean([alignment_of(load_run(run), regions, split.captions[0]).weights for run in members], 0)
            np.testing.assert_allclose(_weights(pairs["pairs"][int(number)]), expected, atol=0.003)


def _weights(pair: dict) -> np.ndarray:
    shares = np.frombuffer(base64.b64decode(pair["weights"]), np.uint8).reshape(len(pair["peaks"]), -1)
    return shares / 255 * np.array(pair["peaks"])[:, None]


def test_every_pair_is_counted_in_the_histogram(page):
    assert "every one of the 171 pairs is counted" in text_of(page)
    assert page.count('class="matched"') == 3


def test_the_same_page_twice_and_nothing_but_the_page(runs, tmp_path):
    before = {path: path.stat().st_mtime_ns for run in runs for path in run.rglob("*")}
    made = [write_report(ReportRequest(runs, tmp_path / name), silent, when=WHEN) for name in ("a.html", "b.html")]
    first, second = (re.sub(r"\([0-9a-f]{12}[^)]*\)", "(revision)", path.read_text()) for path in made)
    assert first == second
    assert {path: path.stat().st_mtime_ns for run in runs for path in run.rglob("*")} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_the_runs_own_card_is_taken_while_it_is_about_these_weights_and_this_data(runs, world, tmp_path):
    run = Path(shutil.copytree(runs[1], tmp_path / "run"))
    card = run_job(Job([run], [], world), silent)
    card["notes"].append("this very card")
    write_card(card, run)
    out = tmp_path / "page.html"
    assert "this very card" in write_report(ReportRequest([run], out), silent).read_text()
    card["models"]["entries"][0]["weights_sha256"] = "0" * 64
    write_card(card, run)
    assert "this very card" not in write_report(ReportRequest([run], out), silent).read_text()
    (run / "card.json").write_text("{ broken")
    assert "Results" in write_report(ReportRequest([run], out), silent).read_text()


def test_explanation_measures_stand_beside_their_baselines(page):
    said = text_of(page.split('<section id="explanations"')[1])
    assert "Regions: gain over random order" in said
    assert "beats random in" in said
    assert "no boxes: neither objects.json nor instances*.json" in said
    assert "--explanations" in said


def test_boxes_of_a_detector_are_kept_as_boxes(tmp_path):
    data = write_world(tmp_path / "data", boxes="detector")
    page = write_report(
        ReportRequest([write_run(tmp_path / "run", data=data)], tmp_path / "r.html"), silent
    ).read_text()
    layouts = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["layouts"]
    assert {layout["kind"] for layout in layouts} == {"boxes"}
    assert all(len(layout["boxes"]) == 16 for layout in layouts)


def test_without_pictures_regions_stand_on_an_empty_frame_and_that_is_said(tmp_path):
    data = write_world(tmp_path / "data", pictures=False)
    page = write_report(
        ReportRequest([write_run(tmp_path / "run", data=data)], tmp_path / "r.html"), silent
    ).read_text()
    assert "drawn on an empty frame" in text_of(page)
    assert 'class="pic blank"' in page


def test_features_alone_without_boxes_are_a_row_of_bars(tmp_path):
    data = write_precomp(tmp_path / "data", {"test": 6}, width=6)
    run = write_tiny_run(tmp_path / "run")
    (data / "test_caps.txt").write_text("".join(f"a dog runs over {number}\n" for number in range(12)))
    page = write_report(ReportRequest([run], tmp_path / "r.html", data), silent).read_text()
    assert "Where the regions lie is not known" in text_of(page)


def test_data_is_found_by_the_card_or_the_command_and_must_agree(runs, world, tmp_path):
    silent_run = write_run(tmp_path / "silent")
    with pytest.raises(InputError, match="does not say which data it belongs to: name the data folder with --data"):
        write_report(ReportRequest([silent_run], tmp_path / "r.html"), silent)
    gone = write_run(tmp_path / "gone", data=tmp_path / "nowhere")
    with pytest.raises(InputError, match="nowhere: the data that gone belongs to is no longer there"):
        write_report(ReportRequest([gone], tmp_path / "r.html"), silent)
    with pytest.raises(InputError, match=r"one belongs to .*zoo, gone to .*nowhere"):
        write_report(ReportRequest([runs[0], gone], tmp_path / "r.html"), silent)
    write_report(ReportRequest([silent_run, gone], tmp_path / "r.html", world), silent)


def test_runs_of_one_name_are_told_apart_by_their_folders(world, tmp_path):
    runs = [write_run(tmp_path / name / "run", data=world) for name in ("mine", "yours")]
    said = text_of(write_report(ReportRequest(runs, tmp_path / "r.html"), silent).read_text())
    assert "mine/run and yours/run" in said
    assert "the same weights are named more than once" in said
