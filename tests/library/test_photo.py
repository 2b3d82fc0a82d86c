"""What is read of one picture file."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from crossgraph.library.photo import THUMBNAIL, Photo, read_photo
from crossgraph.vision.pictures import BrokenPicture, PictureLoader, heif_is_read

WIDTH, HEIGHT = 60, 40


@pytest.fixture
def loader() -> Iterator[PictureLoader]:
    with PictureLoader(8) as found:
        yield found


def corner(size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """A grey picture whose upper left quarter is red."""
    pixels = np.full((size[1], size[0], 3), 128, dtype=np.uint8)
    pixels[: size[1] // 2, : size[0] // 2] = (255, 0, 0)
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def facts(**tags: object) -> Image.Exif:
    exif = Image.Exif()
    numbers = {"orientation": 0x0112, "make": 0x010F, "model": 0x0110, "changed": 0x0132}
    for name, value in tags.items():
        if name == "taken":
            exif.get_ifd(0x8769)[0x9003] = value
        elif name == "gps":
            exif.get_ifd(0x8825).update(value)  # type: ignore[call-overload]
        else:
            exif[numbers[name]] = value
    return exif


def read(data: bytes, loader: PictureLoader, cap: float = 200.0) -> Photo:
    return read_photo(data, loader, 8, cap)


def thumbnail(photo: Photo) -> np.ndarray:
    with Image.open(io.BytesIO(photo.thumbnail)) as image:
        assert image.format == "WEBP"
        return np.asarray(image.convert("RGB")).astype(int)


TURNED = {  # EXIF says how to turn what is stored; this is how to store it, so that it is upright again
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", list(TURNED))
def test_pixels_thumbnail_and_size_are_upright(loader, kind, orientation):
    turn = TURNED[orientation]
    stored = corner() if turn is None else corner().transpose(turn)
    photo = read(saved(stored, kind, exif=facts(orientation=orientation)), loader)
    assert (photo.width, photo.height) == (WIDTH, HEIGHT)
    assert photo.orientation == orientation
    small = thumbnail(photo)
    assert small.shape == (HEIGHT, WIDTH, 3)
    for seen in (small, photo.pixels.astype(int)):
        upper, lower = seen[1, 1], seen[-2, -2]
        assert upper[0] - upper[1] > 150, "red is in the upper left"
        assert abs(lower[0] - lower[1]) < 60, "and nowhere else"


def test_exif_says_when_where_and_by_what(loader):
    gps = {1: "S", 2: (33.0, 51.0, 25.2), 3: "E", 4: (151.0, 12.0, 36.0)}
    exif = facts(taken="2021:05:03 12:30:00", changed="2022:01:01 00:00:00", make="Nikon", model="Nikon D90", gps=gps)
    photo = read(saved(corner(), exif=exif), loader)
    assert photo.date == "2021-05-03T12:30:00"
    assert photo.camera == "Nikon D90"
    assert photo.latitude == pytest.approx(-33.857, abs=1e-3)
    assert photo.longitude == pytest.approx(151.21, abs=1e-3)


def test_without_the_moment_of_taking_the_last_change_counts(loader):
    assert read(saved(corner(), exif=facts(changed="2022:01:01 00:00:00")), loader).date == "2022-01-01T00:00:00"


@pytest.mark.parametrize("date", ["0000:00:00 00:00:00", "yesterday", "", "2021:13:40 99:99:99", "    :  :     :  :  "])
def test_a_date_that_is_none_is_no_date(loader, date):
    assert read(saved(corner(), exif=facts(taken=date)), loader).date is None


@pytest.mark.parametrize(
    "gps", [{1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}, {1: "N", 2: (1.0, 0.0, 0.0)}, {1: "N", 3: "E"}]
)
def test_a_place_that_is_none_is_no_place(loader, gps):
    photo = read(saved(corner(), exif=facts(gps=gps)), loader)
    assert photo.latitude is None
    assert photo.longitude is None


def test_a_damaged_exif_says_nothing_and_the_picture_counts(loader):
    photo = read(saved(corner(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage"), loader)
    assert (photo.date, photo.camera, photo.orientation) == (None, None, 1)


def test_a_thumbnail_is_small_and_keeps_its_shape(loader):
    assert thumbnail(read(saved(corner((1200, 300))), loader)).shape == (THUMBNAIL // 4, THUMBNAIL, 3)


def test_transparency_lies_on_white(loader):
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    assert thumbnail(read(saved(clear, "PNG"), loader)).min() > 250


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "CMYK", "I;16", "F"])
def test_other_kinds_of_pixels_are_read(loader, mode):
    if mode == "I;16":
        image = Image.fromarray(np.arange(40 * 40, dtype=np.uint16).reshape(40, 40))
    elif mode == "F":
        image = Image.fromarray(np.linspace(0, 1, 1600, dtype=np.float32).reshape(40, 40))
    else:
        image = corner().convert(mode)
    photo = read(saved(image, "TIFF" if mode in ("F", "CMYK") else "PNG"), loader)
    assert photo.pixels.shape == (8, 8, 3)
    assert thumbnail(photo).std() > 5


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not a picture"),
        (saved(corner((600, 600)))[:2000], "truncated"),
        (saved(corner(), "PNG")[:100], "truncated|damaged"),
    ],
)
def test_a_broken_picture_says_why(loader, data, reason):
    with pytest.raises(BrokenPicture, match=reason):
        read(data, loader)


@pytest.mark.parametrize("cap", [0.002, 0.0001])
def test_a_picture_above_the_limit_is_not_decoded(cap):
    with PictureLoader(8, cap) as loader, pytest.raises(BrokenPicture, match=r"megapixels.*--max-megapixels"):
        read(saved(corner()), loader, cap=cap)


def test_a_picture_of_one_colour_is_like_no_other(loader):
    assert read(saved(Image.new("RGB", (40, 40), "red")), loader).hash is None
    assert read(saved(corner()), loader).hash is not None


def test_heic_is_read_upright_with_the_extra(loader):
    assert heif_is_read()
    photo = read(saved(corner((64, 48)), "HEIF", quality=90), loader)
    assert (photo.width, photo.height) == (64, 48)
    assert photo.pixels[0, 0, 0] > photo.pixels[0, 0, 1] + 100


def test_a_heic_file_is_loaded_by_path_too(loader, tmp_path):
    heif_is_read()
    (tmp_path / "a.heic").write_bytes(saved(corner((64, 48)), "HEIF"))
    assert loader.load(tmp_path / "a.heic").width == 64


def test_without_the_extra_a_heic_file_says_what_to_install(loader, tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(b"x")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BrokenPicture, match=r"crossgraph\[heif\]"):
        loader.load(tmp_path / "a.heic")
