"""Feature files are believed only as far as their header, their size and their numbers agree."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from crossgraph.core.errors import InputError
from crossgraph.data.npy_file import MappedArray

AXES = ("pictures", "regions", "feature size")


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array, allow_pickle=True)
    return path


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_read_in_any_order_as_float32(tmp_path: Path, dtype: str, order: str) -> None:
    values = np.random.default_rng(0).standard_normal((5, 3, 2)).astype(dtype)
    array = MappedArray(save(tmp_path / "a.npy", np.asarray(values, order=order)), AXES)
    read = pickle.loads(pickle.dumps(array)).rows([4, 0, 4])
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values[[4, 0, 4]].astype(np.float32))


def test_no_rows_rows_from_the_end_and_rows_beyond_it(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    array = MappedArray(save(tmp_path / "a.npy", values), AXES)
    assert array.rows([]).shape == (0, 3, 2)
    np.testing.assert_array_equal(array.rows([-1, 0]), values[[-1, 0]])
    for beyond in ([4], [0, -5]):
        with pytest.raises(IndexError):
            array.rows(beyond)


def test_a_file_cut_off_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.zeros((4, 3, 2), dtype=np.float32))
    array = MappedArray(path, AXES)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 8)
    array.rows([0, 1, 2])
    with pytest.raises(InputError, match="truncated, row 3 is beyond its end"):
        array.rows([3])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_a_number_that_is_none_is_refused_when_its_row_is_read(tmp_path: Path, bad: float) -> None:
    values = np.zeros((4, 2, 2))
    values[2, 1, 0] = bad
    array = MappedArray(save(tmp_path / "a.npy", values), AXES)
    array.rows([0, 1, 3])
    with pytest.raises(InputError, match=r"a\.npy: row 2 holds NaN or infinite"):
        array.rows([3, 2])
    with pytest.raises(InputError, match=r"picture 'x1' holds NaN"):
        array.rows([3, 2], "picture 'x{}'".format)


def test_opposite_infinities_do_not_cancel(tmp_path: Path) -> None:
    values = np.zeros((1, 1, 2))
    values[0, 0] = np.inf, -np.inf
    with pytest.raises(InputError, match="NaN or infinite"):
        MappedArray(save(tmp_path / "a.npy", values), AXES).rows([0])


def test_large_finite_numbers_are_fine(tmp_path: Path) -> None:
    array = MappedArray(save(tmp_path / "a.npy", np.full((2, 3, 4), 3e38, np.float32)), AXES)
    assert float(array.rows([1]).max()) == pytest.approx(3e38)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2)), "its shape is 3 × 2, 3 axes expected (pictures, regions, feature size)"),
        (np.float32(3), "its shape is a single number"),
        (np.zeros((0, 2, 2)), "holds nothing"),
        (np.zeros((3, 2, 2), int), "holds int64"),
        (np.array([{}], dtype=object), "holds Python objects"),
        (np.zeros((3, 2, 2), complex), "holds complex128"),
    ],
)
def test_another_kind_of_array_is_one_line(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError) as caught:
        MappedArray(save(tmp_path / "a.npy", array), AXES)
    assert message in str(caught.value) and str(caught.value).startswith(f"{tmp_path / 'a.npy'}: ")


def test_truncation_is_found_at_opening_and_counts_bytes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.zeros((3, 2, 2), np.float32))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="truncated, 172 bytes of the 176 its header promises"):
        MappedArray(path, AXES)


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"PK\x03\x04zip", b"\x93NUMPY\x01\x00\x10\x00{'descr': 3}", b"x" * 999]
)
def test_what_is_no_npy_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match="not a NumPy"):
        MappedArray(tmp_path / "a.npy", AXES)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        MappedArray(tmp_path / "a.npy", AXES)
    (tmp_path / "b.npy").mkdir()
    with pytest.raises(InputError, match="is a directory"):
        MappedArray(tmp_path / "b.npy", AXES)


def test_headers_that_python_2_wrote_are_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.ones((3, 2, 2), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(3, 2, 2), }  ", b"(3L, 2L, 2L),}"[:14]))
    assert MappedArray(path, AXES).shape == (3, 2, 2)


def test_the_fingerprint_sees_size_ends_and_samples(tmp_path: Path) -> None:
    prints = set()
    for place in (None, 0, -1):
        values = np.zeros((4000, 5, 5), np.float32)
        if place is not None:
            values[place] = 1
        prints.add(MappedArray(save(tmp_path / "a.npy", values), AXES).fingerprint())
    assert len(prints) == 3
