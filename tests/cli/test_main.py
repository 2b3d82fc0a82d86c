"""The frame finds commands without importing them and says in one line what a person can mend."""

from __future__ import annotations

import errno
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from crossgraph.cli import main as frame
from crossgraph.core.errors import InputError

Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "crossgraph", *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=tmp_path, timeout=120)

    return run


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """Run a command that raises, and return the exit code."""

    def run(error: BaseException) -> int:
        def score() -> None:
            """Fail."""
            raise error

        monkeypatch.setattr(frame, "load", lambda name: score)
        return frame.main(["score"])

    return run


def test_every_command_has_a_place_and_a_line():
    known = frame.commands()
    placed = {name for names in frame.GROUPS.values() for name in names}
    assert set(known) <= placed, "name the group of the new command in cli/main.py"
    for name, line in known.items():
        assert 10 <= len(line) <= 100, f"{name}: the docstring's first line is what `crossgraph --help` shows"
        assert line.endswith((".", "?"))
        assert f"  {name} " in frame.overview()


@pytest.mark.parametrize("name", sorted(frame.commands()))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]):
    assert frame.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: crossgraph {name}")
    assert max(map(len, shown.splitlines())) <= 200


@pytest.mark.parametrize("name", sorted(frame.commands()))
def test_every_option_of_every_command_is_described(name: str):
    from crossgraph.cli.signature import read

    parameters, _ = read(frame.load(name))
    assert [p.spelled for p in parameters if not p.help] == []


@pytest.mark.parametrize("name", sorted(frame.commands()))
def test_a_mistyped_option_of_every_command_is_one_line(name: str, capsys: pytest.CaptureFixture[str]):
    assert frame.main([name, "--no-such-thing-at-all"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"crossgraph {name}: no option --no-such-thing-at-all")
    assert error.count("\n") == 1


def test_help_and_import_load_nothing_heavy(root: Path):
    code = (
        "import sys, crossgraph; from crossgraph.cli.main import main; main(['--help']); "
        "heavy = {'torch', 'numpy', 'argparse', 'yaml', 'PIL', 'rich', 'nltk'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=root)


@pytest.mark.parametrize("name", sorted(frame.commands()))
def test_loading_a_command_imports_no_torch(name: str):
    code = f"import sys; from crossgraph.cli.main import load; load({name!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_list_the_version_and_the_ways_to_ask_for_help(shell: Shell):
    assert shell().stdout == shell("--help").stdout == shell("help").stdout
    assert shell("help", "import").stdout == shell("import", "--help").stdout
    assert shell("--version").stdout.startswith("crossgraph ")


def test_a_mistyped_command_is_one_line(capsys: pytest.CaptureFixture[str]):
    name = next(iter(frame.commands()))
    assert frame.main([name + "x"]) == 2
    assert f"no command '{name}x': did you mean '{name}'?" in capsys.readouterr().err
    assert frame.main(["--hlep"]) == 2
    assert capsys.readouterr().err.startswith("crossgraph: no option --hlep")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.npy: truncated", "make it again"), "a.npy: truncated: make it again"),
        (InputError("one\n  two"), "one two"),
        (OSError(errno.ENOSPC, "full", "/x/a.npy"), "/x/a.npy: no room left to write"),
        (OSError(errno.ENOSPC, "full"), "no room left to write"),
        (FileNotFoundError(errno.ENOENT, "none", "/x/a.npy"), "/x/a.npy: no such file or directory"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"), "not enough memory"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_code_2(
    failing: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str], error: BaseException, line: str
):
    assert failing(error) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"crossgraph score: {line}")
    assert shown.count("\n") == 1


def test_a_defect_of_ours_keeps_its_traceback(failing: Callable[[BaseException], int]):
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


def test_ctrl_c_says_what_was_kept(failing: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]):
    assert failing(KeyboardInterrupt("12 pictures are kept")) == 130
    assert capsys.readouterr().err == "crossgraph score: stopped: 12 pictures are kept\n"
    assert failing(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def score() -> None:
        """Warn."""
        warnings.simplefilter("always")
        warnings.warn("half of the\n captions are empty", stacklevel=1)

    monkeypatch.setattr(frame, "load", lambda name: score)
    assert frame.main(["score"]) == 0
    assert capsys.readouterr().err == "crossgraph score: warning: half of the captions are empty\n"


def test_a_reader_that_leaves_is_no_error():
    code = (
        "import crossgraph.cli.main as m, sys\n"
        "def score():\n    'Print.'\n    [print('x' * 1000) for _ in range(1000)]\n"
        "m.load = lambda name: score\n"
        "sys.exit(m.main(['score']))"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None and writer.stderr is not None
    writer.stdout.readline()
    writer.stdout.close()
    errors = writer.stderr.read()
    writer.stderr.close()
    assert writer.wait(timeout=60) == 141
    assert errors == b""


def test_a_full_disk_behind_the_output_is_one_line():
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "crossgraph", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 2
    assert "no room left to write" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_old_terminal_or_a_closed_output_is_no_error(tmp_path: Path):
    code = (
        "import crossgraph.cli.main as m, sys\n"
        "def score():\n    'Print.'\n    print('3 × 4', '\\udc80')\n"
        "m.load = lambda name: score\n"
        "sys.exit(m.main(['score']))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "3 \\xd7 4 \\udc80\n"
    closed = ["bash", "-c", '"$0" "$@" >&-', sys.executable, "-c", code]
    assert subprocess.run(closed, stderr=subprocess.PIPE, check=True).stderr == b""
