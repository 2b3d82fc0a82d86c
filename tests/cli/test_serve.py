"""`crossgraph serve` as a process: it says where it is, ends cleanly, and refuses in one line what cannot work."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from references.tiny_served import Served, draw, make_library, serve_and_fail

from crossgraph.cli.main import main
from crossgraph.core.errors import InputError
from crossgraph.library.library import Library
from crossgraph.search import Query, Searcher
from crossgraph.serve.client import RefusedError, ask, find_server, follow, send, send_json
from crossgraph.serve.remote import RemoteSearcher
from crossgraph.store import parse_filter
from crossgraph.store.folder import read_owner

Start = Callable[..., Served]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    make_library(folder / "library", draw(folder / "pictures"))
    return folder


@pytest.fixture
def library(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "library", tmp_path / "library"))


@pytest.fixture(scope="module")
def served(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that several tests ask, each leaving it as it was."""
    folder = Path(shutil.copytree(made / "library", tmp_path_factory.mktemp("asked") / "library"))
    with Served(folder) as served:
        yield served


@pytest.fixture
def start(library: Path) -> Iterator[Callable[..., Served]]:
    with contextlib.ExitStack() as stack:
        yield lambda *options, **more: stack.enter_context(Served(library, *options, **more))


def test_it_tells_its_address_answers_and_closes_the_store_at_ctrl_c(start: Start, library: Path) -> None:
    served = start()
    assert served.address.startswith("http://127.0.0.1:")
    assert "11 pictures" in served.line
    assert served.token == ""
    assert len(ask(served.address, "/api/search", {"q": "dog", "k": 3})["hits"]) == 3
    assert read_owner(library / "store") is not None
    code, said = served.end(signal.SIGINT)
    assert code == 130
    assert "stopped" in said
    assert "Traceback" not in said
    assert not (library / "server.json").exists()
    assert read_owner(library / "store") is None
    assert main(["library", "verify", "--library", str(library)]) == 0


def test_sigterm_ends_it_cleanly_too(start: Start, library: Path) -> None:
    code, said = start().end(signal.SIGTERM)
    assert (code, said) == (0, "")


def test_requests_under_way_are_finished(start: Start, made: Path) -> None:
    served = start(environment={"TINY_SECONDS": "4"})
    answers: list[dict] = []
    picture = next((made / "pictures").glob("*.png"))
    asking = threading.Thread(target=lambda: answers.append(send(served.address, "/api/search", {"k": 2}, picture)))
    asking.start()
    time.sleep(2)
    code, _ = served.end(signal.SIGINT)
    asking.join()
    assert code == 130
    assert len(answers[0]["hits"]) == 2


def test_other_commands_find_it(start: Start, library: Path) -> None:
    served = start()
    owner = read_owner(library / "store")
    assert owner is not None
    assert owner.address == served.address
    running = find_server(library)
    assert running is not None
    assert (running.address, running.pid) == (served.address, served.process.pid)
    assert (library / "server.json").stat().st_mode & 0o077 == 0
    new = draw(library.parent / "new", 3, seed=4)
    job = send_json(running.address, "/api/index", {"roots": [str(new)]}, running.token)
    *_, last = follow(running.address, job["id"], running.token)
    assert last["outcome"]["added"] == 3


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_a_library_copied_or_moved_while_it_runs_leads_to_no_server(
    start: Start, library: Path, tmp_path: Path, how: str
) -> None:
    start()
    other = tmp_path / "other"
    if how == "copied":
        shutil.copytree(library, other)
        assert find_server(library) is not None
        assert find_server(other) is None
    else:
        library.rename(other)
        assert find_server(other) is None
        other.rename(library)


def test_a_searcher_asks_it_as_if_the_library_were_open(start: Start, library: Path, made: Path) -> None:
    start()
    running = find_server(library)
    assert running is not None
    remote = RemoteSearcher(running)
    query = Query(text="a red dog", minus=("cat",), where=parse_filter("width > 3"), k=4)
    by_picture = Query(text="a red dog", picture=made / "pictures" / "03.png", k=4)
    with Library(made / "library") as opened:
        local = Searcher(opened)
        for asked in (query, by_picture):
            found, expected = remote.search(asked), local.search(asked)
            assert found.hits == expected.hits
            assert (found.tokens, found.unknown, found.pictures) == (
                expected.tokens,
                expected.unknown,
                expected.pictures,
            )
        ids = [hit.id for hit in expected.hits]
        for one, other in zip(remote.explain_many(ids, "a red dog"), local.explain_many(ids, "a red dog"), strict=True):
            assert (one.picture, one.tokens, one.model, one.run) == (
                other.picture,
                other.tokens,
                other.model,
                other.run,
            )
            assert np.allclose(one.weights, other.weights, atol=1e-4)
            assert one.score == pytest.approx(other.score, abs=1e-5)
        sentences = ["a dog", "the green grass"]
        assert [text for text, *_ in remote.captions_for(ids[0], sentences)] == [
            text for text, *_ in local.captions_for(ids[0], sentences)
        ]
    told: list[str] = []
    outcome = remote.index([draw(library.parent / "new", 3, seed=4)], lambda what, done, total: told.append(what))
    assert outcome["added"] == 3
    assert told
    with pytest.raises(InputError):
        remote.explain_many([999], "a dog")


@pytest.mark.parametrize("words", [["a red dog", "-k", "3"], ["dog", "--where", "width > 3", "--explain"], ["zebra"]])
def test_a_search_at_the_keyboard_goes_to_it(
    served: Served, made: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    before = _searches(served)
    by_server = main(["search", *words, "--library", str(served.library)]), capfd.readouterr().out
    assert _searches(served) == before + 1
    without = main(["search", *words, "--library", str(made / "library")]), capfd.readouterr().out
    assert by_server == without


def _searches(served: Served) -> int:
    with urllib.request.urlopen(f"{served.address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        int(float(line.split()[-1]))
        for line in lines
        if line.startswith("crossgraph_requests_total") and 'route="/api/search"' in line
    )


@pytest.mark.parametrize("words", [["zebra"], ["a dog -zebra", "-k", "2"], ["dog", "--like", "999"]])
def test_what_is_unknown_is_said_alike_with_a_server_and_without(
    served: Served, made: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    by_server = main(["search", *words, "--library", str(served.library)]), capfd.readouterr()
    without = main(["search", *words, "--library", str(made / "library")]), capfd.readouterr()
    assert by_server[0] == without[0]
    assert by_server[1].out == without[1].out
    assert ".:" not in by_server[1].err


def test_indexing_at_the_keyboard_goes_to_it(
    start: Start, library: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    served = start()
    new = draw(tmp_path / "new", 3, seed=4)
    (new / "broken.png").write_bytes(b"no picture")
    assert main(["index", str(new), "--library", str(library)]) == 0
    printed = capfd.readouterr()
    assert "14 pictures (3 new, 1 left out" in printed.out
    assert f"indexed by the server at {served.address}" in printed.out
    assert f"left out {new / 'broken.png'}" in printed.err
    assert ask(served.address, "/api/library")["pictures"] == 14
    assert main(["index", str(new), "--library", str(library), "--exclude", "raw", "--keep-features"]) == 2
    said = capfd.readouterr().err
    assert said.startswith("crossgraph index: --exclude, --keep-features: the server at")
    assert str(served.process.pid) in said


def test_a_second_one_names_the_first(served: Served) -> None:
    code, said = serve_and_fail(served.library, [])
    assert code == 2
    assert served.address in said
    assert len(said.splitlines()) == 1


def test_killed_it_leaves_nothing_behind_that_matters(start: Start, library: Path) -> None:
    served = start()
    code, _ = served.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert find_server(library) is None
    again = start()
    assert len(ask(again.address, "/api/search", {"q": "dog", "k": 3})["hits"]) == 3
    assert again.end()[0] == 130


def test_a_port_in_use_is_one_line(start: Start, library: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = serve_and_fail(library, ["--port", port])
    assert code == 2
    assert port in said
    assert "--port" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--library", "{folder}/none"], "none"),
        (["--library", "{folder}/file"], "file"),
        (["--host", "0.0.0.0", "--token", ""], "--token"),
        (["--host", "no.such.host.invalid", "--token", "0123456789abcdef"], "no.such.host"),
        (["--host", "192.0.2.1", "--token", "0123456789abcdef"], "192.0.2.1"),
        (["--port", "99999"], "99999"),
        (["--port", "web"], "web"),
        (["--timeout", "0"], "--timeout"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_what_cannot_work_is_one_line(
    words: list[str], part: str, library: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no library")
    words = [word.format(folder=tmp_path) for word in words]
    if "--library" not in words:
        words += ["--library", str(library)]
    assert main(["serve", *words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert part in err
    assert len(err.splitlines()) == 1


def test_other_machines_need_the_token_that_is_printed_once(start: Start, library: Path) -> None:
    served = start("--host", "0.0.0.0")
    assert len(served.token) >= 24
    with pytest.raises(RefusedError) as refused:
        ask(served.address, "/api/library")
    assert refused.value.status == 401
    assert ask(served.address, "/api/library", token=served.token)["pictures"] == 11
    running = find_server(library)
    assert running is not None
    assert running.token != served.token
    assert ask(running.address, "/api/library", token=running.token)["pictures"] == 11
    code, said = served.end()
    assert code == 130
    assert served.token not in said


def test_the_token_of_the_environment_is_taken(start: Start, library: Path) -> None:
    served = start(environment={"CROSSGRAPH_TOKEN": "from-the-environment"})
    with pytest.raises(RefusedError):
        ask(served.address, "/api/library")
    assert ask(served.address, "/api/library", token="from-the-environment")["pictures"] == 11
    served.end()


def test_long_and_broken_requests_over_the_wire(served: Served) -> None:
    host, port = served.address.removeprefix("http://").split(":")
    with pytest.raises(RefusedError) as refused:
        ask(served.address, "/api/search", {"q": "dog " * 10_000})
    assert refused.value.status == 422
    with pytest.raises(RefusedError) as refused:
        ask(served.address, "/api/search", {"q": "dog " * 40_000})
    assert refused.value.status == 414
    for sent in (b"\x00\xff\n\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as wire:
            wire.sendall(sent)
            assert b" 4" in wire.recv(100)
    assert ask(served.address, "/health")["status"] == "ok"


def test_an_upload_over_the_limit_hears_why_over_the_wire(served: Served, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 30_000_000)
    with pytest.raises(RefusedError) as refused:
        send(served.address, "/api/search", {}, tmp_path / "large")
    assert refused.value.status == 413


def test_the_client_says_what_is_wrong_in_one_line(served: Served, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="field"):
        ask(served.address, "/api/search", {"q": "dog", "where": "datte > 3"})
    with pytest.raises(InputError, match="none"):
        send(served.address, "/api/search", {}, tmp_path / "none")
    with pytest.raises(RefusedError, match="nobody answers"):
        ask("http://127.0.0.1:9", "/health")
    request = urllib.request.Request(f"{served.address}/api/library", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert json.load(caught.value)["status"] == 403
    caught.value.close()


def test_a_note_of_a_server_that_is_gone_is_not_believed(start: Start, library: Path) -> None:
    assert find_server(library) is None
    note = {"address": "http://127.0.0.1:9", "pid": 1, "instance": "x", "token": "y"}
    (library / "server.json").write_text(json.dumps(note))
    assert find_server(library) is None
    (library / "server.json").write_text("{")
    assert find_server(library) is None
