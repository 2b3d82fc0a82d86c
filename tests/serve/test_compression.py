"""What is compressed on its way, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

SEARCH = "/api/search?q=dog&k=12&explain=1"


def size(answer: Any) -> int:
    return int(answer.headers["content-length"])


@pytest.mark.parametrize("path", [SEARCH, "/assets/page.js", "/openapi.json", "/api/docs", "/metrics"])
def test_large_answers_shrink_for_those_who_ask(start: Any, path: str) -> None:
    client = start(timeout=300.0)
    plain = client.get(path, headers={"accept-encoding": "identity"})
    small = client.get(path, headers={"accept-encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert size(small) < 0.6 * size(plain) == 0.6 * len(plain.content)
    assert "accept-encoding" in small.headers["vary"].lower()
    assert small.status_code == plain.status_code == 200
    assert small.headers["content-security-policy"] == plain.headers["content-security-policy"]
    assert small.headers["x-content-type-options"] == "nosniff"
    if path in ("/assets/page.js", "/openapi.json", "/api/docs"):
        assert small.content == plain.content  # read by the client


def test_pictures_and_small_answers_are_sent_as_they_are(start: Any) -> None:
    client = start(timeout=300.0)
    number = client.get(SEARCH).json()["hits"][0]["id"]
    for path in (f"/api/pictures/{number}/image", f"/api/pictures/{number}/thumbnail", "/health", "/api/nothing"):
        answer = client.get(path, headers={"accept-encoding": "gzip"})
        assert "content-encoding" not in answer.headers


def test_a_page_that_the_browser_has_is_not_sent_again(client: Any) -> None:
    first = client.get("/", headers={"accept-encoding": "gzip"})
    again = client.get("/", headers={"accept-encoding": "gzip", "if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
