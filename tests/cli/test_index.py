"""`crossgraph index` and `crossgraph library`, as a person types them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from references.tiny_library import write_picture, write_pictures
from references.tiny_run import write_tiny_run

from crossgraph.cli.main import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("CROSSGRAPH_LIBRARY", str(tmp_path / "library"))
    monkeypatch.delenv("CROSSGRAPH_MODEL", raising=False)


@pytest.fixture
def photos(tmp_path) -> Path:
    return write_pictures(tmp_path / "photos", 5)


@pytest.fixture
def model(tmp_path) -> Path:
    return write_tiny_run(tmp_path / "model")


def index(*words: object) -> int:
    return main(["index", *map(str, words)])


def refused(capfd, *words: object, command: str = "index") -> str:
    """Run what must be refused; return its one line."""
    assert main([command, *map(str, words)]) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    return said[0]


def test_a_folder_is_indexed_told_about_and_indexed_again(photos, model, tmp_path, capfd):
    assert index(photos, "--model", model, "--store", "memory") == 0
    assert capfd.readouterr().out.startswith(f"{tmp_path / 'library'}: 5 pictures (5 new; ")
    assert index() == 0, "the library knows its folders"
    assert "(5 as before; " in capfd.readouterr().out
    assert main(["library", "--json"]) == 0
    about = json.loads(capfd.readouterr().out)
    assert (about["pictures"], about["roots"], about["store"]) == (5, [str(photos)], "memory")
    assert about["bytes_per_picture"] > 0
    assert main(["library", "info"]) == 0
    assert f"{about['bytes_per_picture']} bytes of float16 codes a picture" in capfd.readouterr().out
    for action in ("verify", "rebuild", "compact"):
        assert main(["library", action]) == 0
    assert "5 pictures: all sound" in capfd.readouterr().out


def test_a_broken_picture_is_named_on_stderr_and_does_not_fail_the_run(photos, model, capfd):
    (photos / "bad.jpg").write_text("no")
    assert index(photos, "--model", model, "--store", "memory") == 0
    printed = capfd.readouterr()
    assert f"left out {photos / 'bad.jpg'}: not a picture" in printed.err
    assert "5 new, 1 left out" in printed.out


def test_one_pattern_each_exclude_and_the_word_after_it_is_a_folder(photos, model, tmp_path, capfd):
    write_pictures(photos / "raw", 2, 60)
    assert index(photos, "--model", model, "--store", "memory") == 0
    assert index("--exclude", "raw", photos) == 0
    printed = capfd.readouterr()
    assert "5 pictures (2 gone, 5 as before; " in printed.out
    assert "note" not in printed.err
    assert index(photos) == 0
    assert "note: the library remembers --exclude raw: " in capfd.readouterr().err
    assert "write --exclude raw --exclude '*.tmp'" in refused(capfd, photos, "--exclude", "raw", "*.tmp")


def test_a_folder_that_suddenly_holds_nothing_is_said_in_one_line_and_its_pictures_stay(photos, model, tmp_path, capfd):
    write_pictures(photos / "nas", 2, 60)
    assert index(photos, "--model", model, "--store", "memory") == 0
    shutil.move(photos / "nas", tmp_path / "away")
    (photos / "nas").mkdir()
    capfd.readouterr()
    assert index(photos) == 0
    printed = capfd.readouterr()
    assert "7 pictures (5 as before, 2 not seen but kept; " in printed.out
    (line,) = printed.err.splitlines()
    assert line.startswith(f"crossgraph index: note: {photos / 'nas'}: holds no picture any more; the 2 pictures known")
    assert main(["library", "remove", str(photos / "nas")]) == 0
    assert index(photos) == 0
    assert capfd.readouterr().err == ""


def test_a_root_that_is_gone_is_named_by_index_and_library(photos, model, tmp_path, capfd):
    assert index(photos, "--model", model, "--store", "memory") == 0
    photos.rename(tmp_path / "moved")
    assert index(tmp_path / "moved") == 0
    assert f"note: {photos}: is not there" in capfd.readouterr().err
    assert main(["library"]) == 0
    assert f"  from {photos}: is not there; its pictures stay" in capfd.readouterr().out


# which model


def test_without_a_model_both_commands_that_make_one_are_named(photos, tmp_path, capfd):
    said = refused(capfd, photos)
    assert "make demo" in said
    assert "crossgraph bundle" in said
    assert not (tmp_path / "library").exists()


def test_a_missing_folder_is_reported_before_a_missing_model(tmp_path, capfd):
    assert "nowhere: no such folder" in refused(capfd, tmp_path / "nowhere")
    assert "nowhere: no such folder" in refused(capfd, tmp_path / "nowhere", "--model", tmp_path / "none")


def test_the_environment_names_a_model(photos, model, monkeypatch, capfd):
    monkeypatch.setenv("CROSSGRAPH_MODEL", str(model))
    assert index(photos, "--store", "memory") == 0


def test_what_the_demo_left_here_is_taken(photos, tmp_path, capfd):
    from references.tiny_bundle import write_tiny_bundle

    write_tiny_bundle(tmp_path / "here" / "demo" / "bundle")
    assert index(photos, "--store", "memory") == 0
    assert main(["library", "--json"]) == 0
    assert json.loads(capfd.readouterr().out.partition("\n")[2])["calibrated"]


def test_the_librarys_own_model_goes_before_the_environments(photos, model, monkeypatch):
    assert index(photos, "--model", model, "--store", "memory") == 0
    monkeypatch.setenv("CROSSGRAPH_MODEL", "/nowhere")
    assert index(photos) == 0


@pytest.mark.parametrize("name", ["none", "photos"])
def test_a_model_that_is_none_is_refused_and_nothing_is_made(photos, tmp_path, capfd, name):
    assert str(tmp_path / name) in refused(capfd, photos, "--model", tmp_path / name)
    assert not (tmp_path / "library").exists()


def test_another_model_is_refused_until_it_is_to_encode_anew(photos, model, tmp_path, capfd):
    other = write_tiny_run(tmp_path / "other", "sgr")
    assert index(photos, "--model", model, "--store", "memory") == 0
    assert "add --reencode" in refused(capfd, photos, "--model", other)
    assert "name one by --model" in refused(capfd, photos, "--reencode")
    assert index(photos, "--model", other, "--reencode") == 0
    assert "5 pictures encoded anew" in capfd.readouterr().out
    assert index(photos, "--model", other) == 0


def test_kept_features_encode_anew_without_the_pictures(photos, model, tmp_path, capfd):
    other = write_tiny_run(tmp_path / "other", "sgr")
    keep = write_pictures(tmp_path / "keep", 1, start=50)
    assert index(photos, keep, "--model", model, "--store", "memory", "--keep-features") == 0
    shutil.rmtree(photos)
    assert index("--model", other, "--reencode") == 0
    printed = capfd.readouterr()
    assert "6 pictures encoded anew" in printed.out
    assert "its pictures stay in the library" in printed.err


# what else is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch-size", "0"), "--batch-size 0"),
        (("--workers", "0"), "--workers 0"),
        (("--max-megapixels", "-1"), "--max-megapixels -1"),
        (("--codes", "int4"), "int4"),
        (("--store", "postgres"), "postgres"),
        (("--store", "http://"), "no URL of a server"),
        (("--store", "http://127.0.0.1:9"), "cannot be reached"),
    ],
)
def test_options_out_of_range_are_named_before_anything_is_made(photos, model, tmp_path, capfd, words, said):
    assert said in refused(capfd, photos, "--model", model, *words)
    assert not (tmp_path / "library").exists() or words[0] != "--store"


def test_nothing_to_index_says_how_to_begin(capfd):
    assert "crossgraph index PICTURES" in refused(capfd)


def test_a_folder_with_other_files_is_no_library(photos, model, tmp_path, capfd):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "letter.txt").write_text("dear")
    assert "holds other files (letter.txt)" in refused(capfd, photos, "--model", model)


def test_another_engine_for_an_old_library_is_refused(photos, model, capfd):
    assert index(photos, "--model", model, "--store", "memory") == 0
    assert "keeps its neighbours in memory" in refused(capfd, photos, "--store", "edge")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify",), "is no picture library"),
        (("remove",), "name the folder to take out"),
        (("export",), "name the .csv or .jsonl"),
        (("info", "x"), "takes nothing more"),
        (("explode",), "explode"),
    ],
)
def test_library_says_what_it_needs(capfd, words, said):
    assert said in refused(capfd, *words, command="library")


def test_export_refuses_a_bad_name_before_it_begins(photos, model, tmp_path, capfd):
    assert index(photos, "--model", model, "--store", "memory") == 0
    capfd.readouterr()
    assert "must end in .csv or .jsonl" in refused(capfd, "export", tmp_path / "x.txt", command="library")
    assert main(["library", "export", str(tmp_path / "x.jsonl")]) == 0
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == 5


def test_many_files_left_out_do_not_flood_the_terminal(photos, model, capfd):
    for number in range(130):
        (photos / f"broken{number}.png").write_bytes(b"no picture")
    assert index(photos, "--model", model, "--store", "memory") == 0
    printed = capfd.readouterr()
    assert len(printed.err.splitlines()) == 101
    assert "left out 30 more" in printed.err
    assert "130 left out" in printed.out


def test_a_model_that_was_lost_is_put_back(photos, model, tmp_path, capfd):
    assert index(photos, "--model", model, "--store", "memory") == 0
    shutil.rmtree(tmp_path / "library" / "model")
    assert "put it back with: crossgraph index --model" in refused(capfd)
    assert index("--model", model) == 0
    assert "5 as before" in capfd.readouterr().out
    assert main(["library", "verify"]) == 0
    assert "all sound" in capfd.readouterr().out


def test_an_emptied_manifest_is_not_taken_for_a_new_library(photos, model, tmp_path, capfd):
    assert index(photos, "--model", model, "--store", "memory") == 0
    for file in (tmp_path / "library").glob("manifest.sqlite*"):
        file.write_bytes(b"")
    assert "manifest.sqlite: is damaged" in refused(capfd, photos, "--model", model)
    assert "manifest.sqlite: is damaged" in refused(capfd, command="library")


def test_remove_takes_a_folder_out(photos, model, capfd):
    assert index(photos, "--model", model, "--store", "memory") == 0
    assert main(["library", "remove", str(photos)]) == 0
    assert "5 files taken out; the pictures themselves are untouched" in capfd.readouterr().out
    assert len(list(photos.iterdir())) == 5


# processes of their own

_PROGRAM = "import sys, references.tiny_regions; from crossgraph.cli.main import main; sys.exit(main(sys.argv[1:]))"


def started(root: Path, *words: object, seconds: float = 0.0, limit: int | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(root / "tests"), "OMP_NUM_THREADS": "1"}
    environment["TINY_SECONDS"] = str(seconds)
    before = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *map(str, words)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=before,
    )


@pytest.mark.slow
def test_no_room_on_the_disk_is_one_line_and_the_same_command_goes_on(root, photos, model, tmp_path):
    write_pictures(photos, 1200, start=5)
    words = ("index", photos, "--model", model, "--store", "memory")
    with started(root, *words, limit=100_000) as run:  # 120 bytes a record, and the manifest
        _, said = run.communicate(timeout=120)
    assert run.returncode == 2, said
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert "no room left" in last or "manifest.sqlite: cannot be written" in last  # a limit is not quite a full disk
    with started(root, *words) as run:
        printed, said = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert "1,205 pictures" in printed


@pytest.mark.slow
def test_of_two_at_once_the_second_is_refused_and_the_first_goes_on(root, photos, model, tmp_path):
    words = ("index", photos, "--model", model, "--store", "memory")
    with started(root, *words, seconds=1.0) as first:
        until = time.monotonic() + 60
        while not list((tmp_path / "library").glob("library.lock")) and time.monotonic() < until:
            time.sleep(0.05)
        first.send_signal(signal.SIGSTOP)
        with started(root, *words) as second:
            _, said = second.communicate(timeout=60)
        first.send_signal(signal.SIGCONT)
        printed, wrong = first.communicate(timeout=60)
    assert second.returncode == 2
    assert "another process writes to this library" in said
    assert first.returncode == 0, wrong
    assert "5 new" in printed


@pytest.mark.slow
def test_watch_indexes_what_changes_and_holds_nothing_meanwhile(root, photos, model, tmp_path, capfd):
    library = photos / "library"  # among the pictures: it must not wake itself
    with started(root, "index", photos, "--model", model, "--library", library, "--watch") as run:
        watchdog = threading.Timer(100, run.kill)  # or a failure would wait for a process that never ends
        watchdog.start()
        assert run.stdout is not None
        assert "5 new" in run.stdout.readline()
        write_picture(photos / "more.png", 60)
        assert "1 new" in run.stdout.readline()
        (photos / "more.png").rename(photos / "other.png")
        assert "1 renamed or copied, 1 gone" in run.stdout.readline()
        until = time.monotonic() + 30  # a late notice of the system may cause one more round
        while (code := main(["library", "verify", "--library", str(library)])) and time.monotonic() < until:
            time.sleep(0.5)
        assert code == 0, "another command may use it meanwhile"
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=60)
        watchdog.cancel()
    assert run.returncode == 130
    assert said.strip().splitlines()[-1].endswith("the library is up to date")


@pytest.mark.slow
def test_watch_goes_on_with_a_folder_that_went_away_and_came_back(root, photos, model, tmp_path):
    other = write_pictures(tmp_path / "other", 2, start=20)
    words = ("index", photos, other, "--model", model, "--store", "memory", "--watch")
    with started(root, *words) as run:
        watchdog = threading.Timer(100, run.kill)
        watchdog.start()
        assert run.stdout is not None and run.stderr is not None
        assert "7 new" in run.stdout.readline()
        other.rename(tmp_path / "unplugged")
        while "is not there; waiting for it" not in (line := run.stderr.readline()):
            assert line, "it ended"
        write_picture(photos / "more.png", 60)
        assert "1 new" in run.stdout.readline()
        (tmp_path / "unplugged").rename(other)
        write_picture(other / "later.png", 61)
        assert "1 new" in run.stdout.readline()
        write_picture(other / "last.png", 62)
        assert "1 new" in run.stdout.readline()
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
        watchdog.cancel()
    assert run.returncode == 130


@pytest.mark.parametrize("what", ["published features", "no pictures", "no model"])
def test_what_cannot_work_is_refused_before_a_library_is_made(photos, tmp_path, capfd, what):
    (tmp_path / "empty").mkdir()
    model = write_tiny_run(tmp_path / "model", region_encoder="published" if what == "published features" else "tiny")
    if what == "published features":
        said = refused(capfd, photos, "--model", model)
        assert "region features called 'published'" in said
    elif what == "no pictures":
        assert "no picture found" in refused(capfd, tmp_path / "empty", "--model", model)
    else:
        assert "no model is named" in refused(capfd, photos)
    assert not (tmp_path / "library").exists()


def test_an_empty_library_takes_any_model(photos, model, tmp_path, capfd):
    assert index(photos, "--model", model, "--store", "memory") == 0
    assert main(["library", "remove", str(photos)]) == 0
    other = write_tiny_run(tmp_path / "other", "sgr")
    assert index(photos, "--model", other) == 0
    assert "5 new" in capfd.readouterr().out
