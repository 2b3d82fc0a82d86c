"""Any common kind of picture becomes an upright RGB square, or a few words that say why not."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from crossgraph.vision.pictures import BrokenPicture, PictureLoader

RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 20), (20, 20, 230), (255, 255, 255)
QUARTERS = (RED, GREEN, BLUE, WHITE)  # top left, top right, bottom left, bottom right
SAVED = {"JPEG": {"quality": 95, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "BMP": {}}


def quarters(width: int = 60, height: int = 40) -> Image.Image:
    image = Image.new("RGB", (width, height))
    for place, colour in enumerate(QUARTERS):
        left, top = place % 2 * width // 2, place // 2 * height // 2
        image.paste(colour, (left, top, left + width // 2, top + height // 2))
    return image


def load(path: Path, size: int = 32, max_megapixels: float = 200.0):
    with PictureLoader(size, max_megapixels) as loader:
        return loader.load(path)


def reason(path: Path, max_megapixels: float = 200.0) -> str:
    with pytest.raises(BrokenPicture) as caught:
        load(path, max_megapixels=max_megapixels)
    return str(caught.value)


def shows_quarters(pixels: np.ndarray, tolerance: int = 6) -> bool:
    at = (8, 24)
    seen = [pixels[y, x].astype(int) for y in at for x in at]
    return all(
        np.abs(colour - np.array(wanted)).max() <= tolerance for colour, wanted in zip(seen, QUARTERS, strict=True)
    )


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """Write a PNG by hand: kinds and sizes that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", SAVED)
def test_every_format_is_read(tmp_path, kind):
    path = tmp_path / "picture"
    quarters().save(path, kind, **SAVED[kind])
    picture = load(path)
    assert picture.pixels.shape == (32, 32, 3)
    assert picture.pixels.dtype == np.uint8
    assert (picture.width, picture.height) == (60, 40)
    assert shows_quarters(picture.pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_the_size_follows(tmp_path, kind, orientation):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # to be shown turned clockwise, so stored turned the other way
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = quarters() if orientation == 1 else quarters().transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "picture", kind, exif=exif, **SAVED[kind])
    picture = load(tmp_path / "picture")
    assert shows_quarters(picture.pixels)
    assert (picture.width, picture.height) == (60, 40)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_damaged_exif_does_not_spoil_whole_pixels(tmp_path, exif):
    quarters().save(tmp_path / "a.jpg", exif=exif, **SAVED["JPEG"])
    assert shows_quarters(load(tmp_path / "a.jpg").pixels)


def test_transparency_is_laid_on_white_whatever_carries_it(tmp_path):
    clear = quarters().convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 0))
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    files = {
        "rgba.png": clear,
        "rgba.webp": clear,
        "rgba.tiff": clear,
        "la.png": Image.new("LA", (20, 20), (0, 0)),
        "palette.png": palette,
        "palette.gif": palette,
        "grey_key.png": Image.new("L", (20, 20), 7),
        "rgb_key.png": Image.new("RGB", (20, 20), (1, 2, 3)),
    }
    extra = {
        "palette.png": {"transparency": 1},
        "palette.gif": {"transparency": 1},
        "grey_key.png": {"transparency": 7},
        "rgb_key.png": {"transparency": (1, 2, 3)},
        "rgba.webp": {"lossless": True},
    }
    for name, image in files.items():
        image.save(tmp_path / name, **extra.get(name, {}))
        assert (load(tmp_path / name).pixels == 255).all(), name


def test_half_transparent_colour_is_mixed_with_white(tmp_path):
    Image.new("RGBA", (9, 9), (200, 0, 0, 128)).save(tmp_path / "a.png")
    assert np.abs(load(tmp_path / "a.png").pixels[16, 16].astype(int) - (227, 127, 127)).max() <= 2


def test_a_palette_without_transparency_keeps_its_colours(tmp_path):
    for name in ("a.png", "a.gif", "a.bmp", "a.tiff"):
        quarters().quantize(8).save(tmp_path / name)
        assert shows_quarters(load(tmp_path / name).pixels), name


def test_grey_and_black_and_white_become_rgb(tmp_path):
    for mode, value, shown in (("L", 90, 90), ("1", 1, 255), ("1", 0, 0)):
        for suffix in ("png", "tiff", "bmp"):
            path = tmp_path / f"{mode}{value}.{suffix}"
            Image.new(mode, (5, 5), value).save(path)
            assert (load(path).pixels == shown).all(), path.name


def test_cmyk_is_not_a_negative(tmp_path):
    image = quarters().convert("CMYK")
    image.save(tmp_path / "a.jpg", quality=95)  # Pillow writes what Adobe does: inverted, with its marker
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    image.save(tmp_path / "a.tiff")
    for name in ("a.jpg", "a.tiff"):
        assert shows_quarters(load(tmp_path / name).pixels, tolerance=12), name


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.repeat(np.linspace(0, 65535, 64).astype(np.uint16)[None], 64, axis=0)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    Image.fromarray(ramp).save(tmp_path / "grey.tiff")
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, axis=1).astype(">u2").tobytes() for row in ramp)
    (tmp_path / "rgb.png").write_bytes(png(64, 64, 16, 2, rows))
    for name in ("grey.png", "grey.tiff", "rgb.png"):
        seen = load(tmp_path / name).pixels[16, :, 0].astype(int)
        assert np.abs(seen - np.linspace(2, 253, 32)).max() <= 5, name


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_grey_without_a_fixed_white_is_stretched(tmp_path, kind):
    Image.fromarray(np.repeat(np.linspace(-1000, 90000, 64).astype(kind)[None], 64, axis=0)).save(tmp_path / "a.tiff")
    seen = load(tmp_path / "a.tiff").pixels[16, :, 0].astype(int)
    assert np.abs(seen - np.linspace(2, 253, 32)).max() <= 5


def test_grey_of_one_value_or_of_nan_does_not_divide_by_zero(tmp_path):
    Image.fromarray(np.full((4, 4), 3.0, np.float32)).save(tmp_path / "flat.tiff")
    assert (load(tmp_path / "flat.tiff").pixels == 0).all()
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "nan.tiff")
    assert "NaN" in reason(tmp_path / "nan.tiff")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_stands_for_an_animation(tmp_path, kind):
    first, second = quarters(), Image.new("RGB", (60, 40), (0, 0, 0))
    extra = {"lossless": True} if kind == "WEBP" else {}
    first.save(tmp_path / "a", kind, save_all=True, append_images=[second], **extra)
    assert shows_quarters(load(tmp_path / "a").pixels)


def test_the_whole_picture_is_squeezed_without_crop(tmp_path):
    image = Image.new("RGB", (300, 30), (0, 0, 0))
    image.paste((255, 255, 255), (290, 0, 300, 30))
    image.save(tmp_path / "wide.png")
    pixels = load(tmp_path / "wide.png").pixels
    assert (pixels[:, -1] > 200).all()
    assert (pixels[:, :28] < 60).all()


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((1600, 1200))
    image.save(tmp_path / "large.jpg", quality=92)
    image.save(tmp_path / "large.png")
    by_draft, whole = (load(tmp_path / f"large.{kind}") for kind in ("jpg", "png"))
    assert (by_draft.width, by_draft.height) == (1600, 1200)
    assert np.abs(by_draft.pixels.astype(int) - whole.pixels).mean() < 2


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 3)])
def test_tiny_and_thin_pictures_are_pictures(tmp_path, size):
    for name in ("a.jpg", "a.png"):
        Image.new("RGB", size, (120, 60, 30)).save(tmp_path / name, quality=95)
        assert np.abs(load(tmp_path / name).pixels.astype(int) - (120, 60, 30)).max() <= 3


def test_what_counts_is_the_content_not_the_ending(tmp_path):
    quarters().save(tmp_path / "really_png.jpg", "PNG")
    assert shows_quarters(load(tmp_path / "really_png.jpg").pixels)


def test_text_other_formats_and_emptiness_are_named(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture at all")
    assert reason(tmp_path / "text.jpg").startswith("not a picture")
    (tmp_path / "empty.jpg").touch()
    assert reason(tmp_path / "empty.jpg") == "empty file"
    (tmp_path / "script.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    assert reason(tmp_path / "script.jpg").startswith("not a picture")
    (tmp_path / "folder.jpg").mkdir()
    assert reason(tmp_path / "folder.jpg") == "is a directory"
    assert reason(tmp_path / "gone.jpg") == "no such file or directory"


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    quarters().save(tmp_path / "a.png")

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert reason(tmp_path / "a.png") == "permission denied"


@pytest.mark.parametrize("kind", [*SAVED, "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_broken_not_half_grey(tmp_path, kind, share):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (80, 80, 3), dtype=np.uint8))
    content = io.BytesIO()
    noise.save(content, kind)
    (tmp_path / "a").write_bytes(content.getvalue()[: int(len(content.getvalue()) * share)])
    said = reason(tmp_path / "a")
    assert said
    assert "\n" not in said


def test_a_progressive_jpeg_cut_short_is_broken(tmp_path):
    content = io.BytesIO()
    quarters(600, 400).save(content, "JPEG", progressive=True)
    (tmp_path / "a.jpg").write_bytes(content.getvalue()[: len(content.getvalue()) // 2])
    assert reason(tmp_path / "a.jpg") == "truncated"


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "a.png").write_bytes(png(60_000, 60_000, 8, 2, b"\0"))
    assert "200 allowed (--max-megapixels)" in reason(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(png(15_000, 15_000, 8, 2, b"\0"))
    assert reason(tmp_path / "b.png").startswith("15000 × 15000 = 225 megapixels, more than the 200")


def test_the_cap_is_ours_to_raise_and_to_lower_and_pillow_gets_its_own_back(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    quarters().save(tmp_path / "a.png")
    assert shows_quarters(load(tmp_path / "a.png").pixels)
    assert "more than the 0.002 allowed" in reason(tmp_path / "a.png", max_megapixels=0.002)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_pillow_s_warnings_stay_inside(tmp_path):
    palette = quarters().quantize(8)
    palette.save(tmp_path / "a.png", transparency=bytes(range(8)))
    (tmp_path / "b.jpg").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path / "a.png")


def test_equal_bytes_have_equal_digests(tmp_path):
    import hashlib

    quarters().save(tmp_path / "a.png")
    assert load(tmp_path / "a.png").sha256 == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", [*SAVED, "GIF"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_with_random_damage_is_read_or_broken_never_more(tmp_path, kind, data):
    content = io.BytesIO()
    quarters(24, 16).save(content, kind)
    damaged = bytearray(content.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a").write_bytes(damaged)
    try:
        assert load(tmp_path / "a", max_megapixels=1).pixels.shape == (32, 32, 3)
    except BrokenPicture as broken:
        assert "\n" not in str(broken)
