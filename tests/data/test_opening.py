"""A folder is known by what lies in it, and what cannot be read is said in one line with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from references.tiny_features import table_line, write_shards

from crossgraph.core.errors import InputError
from crossgraph.data import open_data


def touch(*names: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (touch(), "is empty"),
        (touch("a.jpg", "b.jpg"), r"holds pictures but neither captions.jsonl nor captions.csv"),
        (touch("notes.txt"), "holds no captions that are understood"),
        (touch("f30k_precomp/test_caps.txt"), r"did you mean .*f30k_precomp\?"),
        (touch("captions.csv", "captions.jsonl"), "holds both captions.jsonl and captions.csv"),
        (touch("captions.json"), "captions.json: not valid JSON"),
        (lambda folder: (folder / "captions.json").write_text("[]"), "holds no captions that are understood"),
    ],
)
def test_a_folder_without_a_data_set_says_what_it_holds(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        open_data(tmp_path, log=[].append)


def test_a_wrong_path_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "f30k_precomp").mkdir()
    with pytest.raises(InputError, match=r"f30k_precmp: no such folder: did you mean 'f30k_precomp'\?"):
        open_data(tmp_path / "f30k_precmp")
    with pytest.raises(InputError, match="zzz: no such folder: check the path"):
        open_data(tmp_path / "zzz")


@pytest.mark.parametrize("name", ["a.jpg", "run.npy", "readme.txt"])
def test_a_file_that_is_no_captions_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\xff")
    with pytest.raises(InputError, match=name):
        open_data(tmp_path / name)


def test_features_named_for_captions_are_refused_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_bytes(table_line("7", 2, 0.5))
    with pytest.raises(InputError, match="holds region features, not captions: name it by --features"):
        open_data(tmp_path / "x.tsv")


def captioned(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "captions.csv").write_text("image,caption,split\na.jpg,a dog,test\n")
    return folder


def test_captions_without_features_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no features yet: make them: crossgraph extract .* --out .*features"):
        open_data(captioned(tmp_path))


def finished(folder: Path) -> None:
    write_shards(folder, ["a.jpg"])
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such features"),
        (Path.mkdir, "holds no features"),
        (Path.touch, "holds no features"),
        (finished, "an extraction that was not finished"),
        (lambda path: np.save(path.with_suffix(".npy"), np.zeros(3)), "no such features"),
    ],
)
def test_wrong_features_are_one_line(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "x")
    with pytest.raises(InputError, match=message):
        open_data(captioned(tmp_path / "d"), tmp_path / "x", log=[].append)


def test_an_unknown_split_suggests_a_known_one(tmp_path: Path) -> None:
    captioned(tmp_path)
    write_shards(tmp_path / "features", ["a.jpg"])
    data = open_data(tmp_path, log=[].append)
    with pytest.raises(InputError, match=r"has no split 'tset': did you mean 'test'\?"):
        data.split("tset")
    with pytest.raises(InputError, match="known: test"):
        data.split("train")


def test_announcements_are_printed_unless_someone_else_hears_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captioned(tmp_path)
    write_shards(tmp_path / "features", ["a.jpg"])
    open_data(tmp_path).split("test")
    assert capsys.readouterr().out == "folder: 1 image × 3 × 4, 1 caption (test)\n"
