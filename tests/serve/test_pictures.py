"""Pictures by id: their facts, thumbnails and files; what was removed or changed since indexing is never sent."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from references.tiny_regions import TinyRegions
from references.tiny_served import draw, draw_special, make_library, problem, service_of

from crossgraph.library.indexer import index_pictures


@pytest.fixture
def moved(tmp_path: Path, start: Any) -> tuple[Any, Path]:
    """An application whose pictures may be changed, and their folder."""
    draw_special(draw(tmp_path / "mine"))
    make_library(tmp_path / "changing", tmp_path / "mine")
    return start(tmp_path / "changing"), tmp_path / "mine"


def number_of(client: Any, name: str) -> int:
    library = service_of(client).library
    found = library.manifest.get(library.manifest.ids()).values()
    return next(picture.id for picture in found if name in [path.name for path in picture.paths])


def test_facts_of_a_picture(client: Any, made: Path) -> None:
    facts = client.get(f"/api/pictures/{number_of(client, 'turned.jpg')}").json()
    assert (facts["width"], facts["height"]) == (40, 80)
    assert facts["camera"] == "Camera of Tests"
    assert facts["date"] == "2021-05-03T12:30:00"
    assert facts["latitude"] is None
    copies = client.get(f"/api/pictures/{number_of(client, '00.png')}").json()
    assert copies["paths"] == [str(made / "pictures" / name) for name in ("00.png", "copy.png")]


@pytest.mark.parametrize("what", ["", "/thumbnail", "/image", "/like"])
def test_ids_that_are_none(client: Any, what: str) -> None:
    problem(client.get(f"/api/pictures/999{what}"), 404)
    for wrong in ("-1", "1.5", "x", str(2**70), "..%2f..%2fetc%2fpasswd"):
        assert client.get(f"/api/pictures/{wrong}{what}").status_code in (404, 422)


def test_thumbnails_are_kept_for_ever_under_their_content(client: Any) -> None:
    address = client.get("/api/pictures/1").json()["thumbnail"]
    first = client.get(address)
    assert first.headers["content-type"] == "image/webp"
    assert "immutable" in first.headers["cache-control"]
    assert Image.open(io.BytesIO(first.content)).format == "WEBP"
    again = client.get(address, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    bare = client.get("/api/pictures/1/thumbnail")
    assert "immutable" not in bare.headers["cache-control"]
    assert bare.content == first.content
    assert "immutable" not in client.get("/api/pictures/1/thumbnail", params={"v": "0" * 16}).headers["cache-control"]


def test_a_missing_thumbnail_is_made_again(client: Any) -> None:
    shutil.rmtree(service_of(client).library.folder / "thumbnails")
    small = Image.open(io.BytesIO(client.get(f"/api/pictures/{number_of(client, 'turned.jpg')}/thumbnail").content))
    assert (small.format, small.size) == ("WEBP", (40, 80))


def test_a_file_is_sent_as_it_is_but_upright(client: Any, made: Path) -> None:
    plain = client.get(f"/api/pictures/{number_of(client, '03.png')}/image")
    assert plain.content == (made / "pictures" / "03.png").read_bytes()
    assert plain.headers["content-type"] == "image/png"
    turned = client.get(f"/api/pictures/{number_of(client, 'turned.jpg')}/image")
    assert Image.open(io.BytesIO(turned.content)).size == (40, 80)
    assert client.get("/api/pictures/1/image", headers={"if-none-match": "*"}).status_code == 304


def test_a_deleted_picture_is_gone_and_a_copy_takes_its_place(moved: tuple[Any, Path]) -> None:
    client, folder = moved
    number = number_of(client, "00.png")
    (folder / "00.png").unlink()
    assert client.get(f"/api/pictures/{number}/image").status_code == 200
    (folder / "copy.png").unlink()
    assert "index" in problem(client.get(f"/api/pictures/{number}/image"), 410)["remedy"]
    assert client.get(f"/api/pictures/{number}/thumbnail").status_code == 200
    shutil.rmtree(service_of(client).library.folder / "thumbnails")
    problem(client.get(f"/api/pictures/{number}/thumbnail"), 410)


def test_what_took_a_pictures_place_is_not_sent(moved: tuple[Any, Path], tmp_path: Path) -> None:
    client, folder = moved
    number = number_of(client, "03.png")
    secret = tmp_path / "secret.png"
    secret.write_bytes((folder / "04.png").read_bytes())
    (folder / "03.png").unlink()
    (folder / "03.png").symlink_to(secret)
    problem(client.get(f"/api/pictures/{number}/image"), 410)
    (folder / "03.png").unlink()
    (folder / "03.png").mkdir()
    problem(client.get(f"/api/pictures/{number}/image"), 410)


def test_a_picture_that_left_the_library_is_gone_from_answers(moved: tuple[Any, Path]) -> None:
    client, _ = moved
    before = client.get("/api/search", params={"q": "dog", "k": 50}).json()["hits"]
    service_of(client).library.manifest.connection.execute("DELETE FROM files WHERE picture = ?", (before[0]["id"],))
    problem(client.get(f"/api/pictures/{before[0]['id']}"), 410)
    after = client.get("/api/search", params={"q": "dog", "k": 50}).json()["hits"]
    assert [hit["id"] for hit in after] == [hit["id"] for hit in before][1:]


def test_a_moved_folder_is_named_by_the_path_that_exists(tmp_path: Path, start: Any) -> None:
    draw(tmp_path / "a", 2)
    make_library(tmp_path / "changing", tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    client = start(tmp_path / "changing")
    service = service_of(client)
    index_pictures(service.library, [tmp_path / "b"], encoder=TinyRegions())
    number = service.library.manifest.ids()[0]
    assert Path(client.get(f"/api/pictures/{number}").json()["path"]).parent == tmp_path / "b"
    found = client.get("/api/search", params={"q": "dog"}).json()
    assert {(Path(hit["path"]).parent, hit["copies"]) for hit in found["hits"]} == {(tmp_path / "b", 0)}
    assert f"crossgraph library remove '{tmp_path / 'a'}'" in found["message"]
