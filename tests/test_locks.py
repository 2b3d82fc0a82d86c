"""Locks have one holder and end with its process."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from crossgraph.core.errors import InputError
from crossgraph.locks import FileLock, lock_folder


def test_a_folder_has_one_holder_who_is_named(tmp_path: Path):
    with lock_folder(tmp_path / "new" / ".lock", "another training writes here"):
        refusal = rf"new: another training writes here \(process {os.getpid()}\)"
        with (
            pytest.raises(InputError, match=refusal),
            lock_folder(tmp_path / "new" / ".lock", "another training writes here"),
        ):
            pass
    FileLock(tmp_path / "new" / ".lock").release()


def test_whoever_waits_gets_a_lock_that_is_released(tmp_path: Path):
    first = FileLock(tmp_path / "lock")

    def release() -> bool:
        first.release()
        return True

    second = FileLock(tmp_path / "lock", keep_waiting=release)
    assert second.held
    assert not first.held


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: cannot be written"):
        FileLock(tmp_path / "file" / "lock")


def test_a_kill_releases_the_lock(tmp_path: Path):
    code = "import sys; from pathlib import Path; from crossgraph.locks import FileLock\n"
    code += "lock = FileLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    line = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError):
            FileLock(tmp_path / "lock")
        holder.kill()
    FileLock(tmp_path / "lock").release()


def test_a_forked_worker_does_not_keep_the_lock(tmp_path: Path):
    lock = FileLock(tmp_path / "lock")
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_answer_until_the_end, args=(theirs,))
    worker.start()
    try:
        assert ours.recv() == "started"
        lock.forget()  # what a kill of this process would do: its descriptor is closed, nothing is unlocked
        FileLock(tmp_path / "lock").release()
    finally:
        ours.send("end")
        worker.join()


def _answer_until_the_end(connection: Connection) -> None:
    connection.send("started")
    connection.recv()


def test_text_of_a_lock_can_be_replaced(tmp_path: Path):
    lock = FileLock(tmp_path / "lock")
    lock.write("a long text")
    lock.write("short")
    assert lock.read() == (tmp_path / "lock").read_text(encoding="utf-8") == "short"
    lock.release()
