"""A typed signature is a command line."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import pytest

from crossgraph.cli.signature import call
from crossgraph.core.errors import InputError

GIVEN: dict[str, Any] = {}


def probe(
    runs: list[Path],
    *,
    out: Path,
    image_size: int = 3,
    rate: float = 0.1,
    model: Literal["sgr", "saf"] = "sgr",
    scores: list[Path] | None = None,
    name: str | None = None,
    resume: bool = False,
) -> None:
    """Probe the frame.

    Longer words.

    Args:
        runs: Where the runs lie,
            50% of them.
        out: Where it goes.
        image_size: Edge in pixels.
    """
    GIVEN.update(locals())


def recipe(path: Path = Path("r.yaml"), *, seeds: int = 1, resume: bool = False, overrides: list[str]) -> None:
    """Read a recipe."""
    GIVEN.update(locals())


@pytest.fixture(autouse=True)
def nothing_given() -> None:
    GIVEN.clear()


def run(line: str, function: Any = probe) -> dict[str, Any]:
    call(function, f"crossgraph {function.__name__}", line.split())
    return dict(GIVEN)


def refusal(line: str, function: Any = probe) -> str:
    with pytest.raises(InputError) as refused:
        run(line, function)
    assert "\n" not in str(refused.value)
    assert not GIVEN
    return str(refused.value)


def test_positionals_options_flags_and_lists():
    given = run("a b --out o --image-size 4 --rate=1e-3 --model saf --scores x --scores y --name 7 --resume")
    assert given == {
        "runs": [Path("a"), Path("b")],
        "out": Path("o"),
        "image_size": 4,
        "rate": 1e-3,
        "model": "saf",
        "scores": [Path("x"), Path("y")],
        "name": "7",
        "resume": True,
    }


def test_defaults_are_the_signatures():
    given = run("a --out o")
    assert (given["image_size"], given["scores"], given["name"], given["resume"]) == (3, None, None, False)


def test_options_may_be_written_with_underscores_and_stand_among_the_positionals():
    assert run("a --image_size=5 --out o b")["runs"] == [Path("a"), Path("b")]
    assert GIVEN["image_size"] == 5


def test_words_after_two_dashes_are_positionals_and_negative_numbers_are_values():
    assert run("--out o --image-size -2 -- --odd -name")["runs"] == [Path("--odd"), Path("-name")]
    assert GIVEN["image_size"] == -2


def test_text_is_taken_as_written():
    assert run("null --out 2024 --name null")["name"] == "null"
    assert (GIVEN["runs"], GIVEN["out"]) == ([Path("null")], Path("2024"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a --out o --imge-size 3", "no option --imge-size: did you mean '--image-size'?"),
        ("a --out o --image-size x", "--image-size: 'x' is not a whole number"),
        ("a --out o --image-size 1.5", "--image-size: '1.5' is not a whole number"),
        (f"a --out o --image-size {2**63}", f"--image-size: '{2**63}' is too large a number"),
        (f"a --out o --image-size {'9' * 5000}", f"'{'9' * 40}' is not a whole number"),
        ("a --out o --rate nan", "--rate: 'nan' is not a finite number"),
        ("a --out o --model sfa", "--model: unknown choice 'sfa' (did you mean 'saf'?)"),
        ("a --out=", "--out: '' is not a path"),
        ("a --out", "--out: expected one argument"),
        ("a", "--out is required"),
        ("", "RUN and --out are required"),
        ("a --out o --resume=3", "--resume"),
        ("a --out o -q", "no option -q: see --out --image-size"),
        ("a --out o --resum", "did you mean '--resume'?"),
    ],
)
def test_a_mistake_is_one_line(line: str, words: str):
    assert words in refusal(line)


def test_a_text_that_begins_with_a_minus_stands_after_two_dashes():
    def search(text: str | None = None, *, k: int = 3) -> None:
        """Find."""
        GIVEN.update(locals())

    said = refusal("-people --k 4", search)
    assert "no option -people: a text that begins with a minus stands last, after --: -- '-people'" in said
    assert run("--k 4 -- -people", search)["text"] == "-people"


def test_too_many_positionals_are_refused():
    assert "b" in refusal("a b", recipe)


def test_overrides_are_collected_and_own_options_are_not():
    given = run("x.yaml --model.dim 64 --seeds=2 --optimiser.rate=1e-3 --seed=4", recipe)
    assert given["overrides"] == ["model.dim=64", "optimiser.rate=1e-3", "seed=4"]
    assert (given["path"], given["seeds"]) == (Path("x.yaml"), 2)
    assert run("", recipe)["overrides"] == []


def test_an_override_without_a_value_is_refused():
    assert "--model.dim has no value" in refusal("x.yaml --model.dim", recipe)
    assert "did you mean '--resume'?" in refusal("x.yaml --resum", recipe)


def test_a_mistyped_option_taken_for_an_override_is_blamed_when_another_mistake_follows():
    assert "no option --seds: did you mean '--seeds'?" in refusal("x.yaml y.yaml --seds 3", recipe)


def test_help_comes_from_the_docstring(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        run("--help")
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("Probe the frame. Longer words.", "Where the runs lie, 50% of them.", "(required)", "(default: 3)"):
        assert words in shown
    assert "<function" not in shown


def test_the_example_in_the_help_of_train_is_a_key_that_recipes_have(capsys: pytest.CaptureFixture[str]) -> None:
    from crossgraph.cli.main import main
    from crossgraph.models.sgraf import SGR

    with suppress(SystemExit):
        main(["train", "--help"])
    example = re.search(r"for\s+example\s+--model\.config\.(\w+)=", capsys.readouterr().out)
    assert example
    assert example[1] in {field.name for field in fields(SGR.Config)}


def listing(
    folders: list[Path] | None = None, *, exclude: list[str] | None = None, scores: list[Path] | None = None, k: int = 3
) -> None:
    """List folders."""
    GIVEN.update(locals())


def find(
    text: str | None = None,
    *,
    not_: list[str] | None = None,
    like: list[int] | None = None,
    track: list[Literal["board", "log"]] | None = None,
) -> None:
    """Find a text."""
    GIVEN.update(locals())


def words(function: Any, *given: str) -> dict[str, Any]:
    GIVEN.clear()
    call(function, "crossgraph command", given)
    return {name: value for name, value in GIVEN.items() if value not in (None, [], 3)}


def refused(function: Any, *given: str) -> str:
    with pytest.raises(InputError) as error:
        words(function, *given)
    return str(error.value)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "more", "run"):
        (tmp_path / name).mkdir()
    for name in ("a.npy", "b.npy"):
        (tmp_path / name).touch()


def test_a_list_option_is_repeated_and_takes_one_value_each_time():
    assert words(listing, "--exclude", "raw", "--exclude=tmp", "-k", "4") == {"exclude": ["raw", "tmp"], "k": 4}
    assert words(listing) == {}


@pytest.mark.usefixtures("folders")
def test_positionals_stand_before_or_after_a_list_option():
    photos = {"folders": [Path("photos")], "exclude": ["raw"]}
    assert words(listing, "--exclude", "raw", "photos") == photos
    assert words(listing, "photos", "--exclude", "raw") == photos
    assert words(listing, "--exclude", "raw", "-k", "4", "photos") == photos | {"k": 4}
    assert words(listing, "--exclude=raw", "photos", "more")["folders"] == [Path("photos"), Path("more")]
    assert words(listing, "--exclude", "raw", "--", "-photos")["folders"] == [Path("-photos")]
    assert words(listing, "--scores", "a.npy", "run") == {"folders": [Path("run")], "scores": [Path("a.npy")]}
    car = {"text": "a red car", "not_": ["tree"]}
    assert words(find, "--not", "tree", "a red car") == words(find, "a red car", "--not", "tree") == car
    assert words(find, "--like", "3", "a red car") == {"text": "a red car", "like": [3]}
    assert words(find, "--like", "3", "-a red car") == {"text": "-a red car", "like": [3]}


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("function", "line", "remedy"),
    [
        (listing, "--scores a.npy b.npy", "write --scores a.npy --scores b.npy"),
        (listing, "--scores a.npy b.npy run", "write --scores a.npy --scores b.npy"),
        (listing, "--scores a.npy none.npy -k 3", "write --scores a.npy --scores none.npy"),
        (listing, "run --scores a.npy b.npy", "write --scores a.npy --scores b.npy"),
        (listing, "--exclude raw *.tmp", "write --exclude raw --exclude '*.tmp'"),
        (
            listing,
            "photos --exclude raw more",
            "write --exclude raw --exclude more (or put more before --exclude if FOLDER is meant)",
        ),
        (find, "text --not tree car", "write --not tree --not car"),
        (find, "--not tree car snow", "write --not tree --not car --not snow (or put "),
        (find, "text --like 3 5 7", "write --like 3 --like 5 --like 7"),
        (find, "--like 3 5", "write --like 3 --like 5 (or put 5 before --like if TEXT is meant)"),
        (find, "--track board log text", "write --track board --track log (or put log "),
        (find, "--track board log", "write --track board --track log (or put "),
    ],
)
def test_several_values_after_one_list_option_are_refused_with_the_line_to_type(function: Any, line: str, remedy: str):
    said = refused(function, *line.split())
    assert f"takes one value and is repeated for more: {remedy}" in said
