"""Who may ask: other names, other sites and whoever lacks the token are refused; every answer has its headers."""

from __future__ import annotations

from typing import Any

import pytest
from references.tiny_served import problem, service_of

from crossgraph.core.errors import InputError
from crossgraph.serve.settings import ServeSettings

TOKEN = "correct-horse-battery"
LAN = "http://192.168.1.5:8000"


@pytest.fixture
def open_to_all(start: Any) -> Any:
    return start(host="0.0.0.0", token=TOKEN, base_url=LAN)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "localhost", "127.0.0.1:9999", "[::1]:8000"])
def test_names_of_this_machine_are_known(client: Any, host: str) -> None:
    assert client.get("/api/library", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "192.168.1.5",
        "0.0.0.0",
        "",
        "a@127.0.0.1",
        "[::1",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/library", "/health", "/assets/page.js", "/metrics"])
def test_a_name_that_dns_could_have_pointed_here_is_refused(client: Any, host: str, path: str) -> None:
    problem(client.get(path, headers={"host": host}), 403)


def test_a_further_name_is_known_when_given(start: Any) -> None:
    client = start(names=("pictures.home",))
    assert client.get("/health", headers={"host": "pictures.home"}).status_code == 200
    problem(client.get("/health", headers={"host": "other.home"}), 403)


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://127.0.0.1:3000", "http://localhost:8000", "null", "file://", "http://127.0.0.1"],
)
def test_another_sites_page_is_refused(client: Any, origin: str) -> None:
    for call in (client.get, client.post, client.options):
        answer = call("/api/search", headers={"origin": origin})
        problem(answer, 403)
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_own_page_is_not_refused(client: Any) -> None:
    headers = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.get("/api/library", headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_says_another_site_asks_is_believed(client: Any, site: str) -> None:
    visit = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=visit).status_code == 200  # a link may lead here
    problem(client.get("/", headers=visit | {"sec-fetch-dest": "iframe"}), 403)
    problem(client.get("/api/library", headers=visit), 403)
    problem(client.get("/api/pictures/1/image", headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}), 403)
    problem(client.post("/api/index", headers={"sec-fetch-site": site}), 403)


def test_without_the_token_only_the_page_itself_answers(open_to_all: Any) -> None:
    assert open_to_all.get("/").status_code == 200
    assert open_to_all.get("/health").status_code == 200
    for path in (
        "/api/library",
        "/api/search?q=dog",
        "/api/pictures/1/thumbnail",
        "/metrics",
        "/openapi.json",
        "/api/docs",
    ):
        document = open_to_all.get(path)
        assert "?token=" in problem(document, 401)["remedy"]
        assert document.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü"])
def test_a_wrong_token_is_refused(open_to_all: Any, token: str) -> None:
    problem(open_to_all.get("/api/library", headers={"authorization": f"Bearer {token}".encode()}), 401)
    problem(open_to_all.get("/api/library", params={"token": token}), 401)
    problem(open_to_all.get("/api/library", headers={"cookie": f"crossgraph={token}".encode()}), 401)
    assert "set-cookie" not in open_to_all.get("/", params={"token": token}).headers


def test_the_token_is_taken_as_a_bearer(open_to_all: Any) -> None:
    assert open_to_all.get("/api/library", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    problem(open_to_all.get("/api/library"), 401)


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(open_to_all: Any) -> None:
    answer = open_to_all.get("/", params={"q": "two dogs", "token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?q=two+dogs"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert open_to_all.get("/api/library").status_code == 200  # the client keeps cookies


def test_the_token_in_an_api_address_is_no_parameter(open_to_all: Any) -> None:
    assert open_to_all.get("/api/search", params={"q": "dog", "token": TOKEN}).status_code == 200


def test_this_users_commands_are_known_by_their_own_token(open_to_all: Any) -> None:
    owner = service_of(open_to_all).owner_token
    assert open_to_all.get("/api/library", headers={"authorization": f"Bearer {owner}"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/api/library", "/api/nothing", "/api/search", "/health", "/metrics", "/api/docs"]
)
def test_every_answer_has_the_security_headers(client: Any, path: str) -> None:
    for answer in (client.get(path), client.get(path, headers={"host": "evil.example"}), client.put(path)):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http:" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "pictures.home", "127.evil.example"])
def test_other_addresses_than_loopback_need_a_token(host: str) -> None:
    with pytest.raises(InputError, match="--token"):
        ServeSettings(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_loopback_needs_none(host: str) -> None:
    assert not ServeSettings(host=host).token


@pytest.mark.parametrize(
    ("option", "settings"),
    [
        ("--port", {"port": 70000}),
        ("--port", {"port": -1}),
        ("--timeout", {"timeout": 0}),
        ("--timeout", {"timeout": float("nan")}),
        ("--max-upload", {"max_upload": -1}),
        ("--max-megapixels", {"max_megapixels": 0}),
        ("--workers", {"workers": 0}),
        ("--queue", {"queue": -1}),
        ("--name", {"names": ("http://pictures.home/",)}),
        ("--name", {"names": ("pictures.home", "")}),
        ("--token", {"token": "with space"}),
        ("--host", {"host": " "}),
    ],
)
def test_settings_that_cannot_work_name_their_option(option: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=option):
        ServeSettings(**settings)
