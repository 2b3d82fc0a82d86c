"""The page as text: whatever a caption holds, nothing escapes from its place."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

from references.tiny_world import NASTY

from crossgraph.report.page import json_for_script


class Reader(HTMLParser):
    """Collects elements, and the text of script elements."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_json_in_a_script_survives_whatever_strings_hold():
    value = {"a": NASTY, "b": "<!-- \u2029 -->", "c": [1, 2.5, None]}
    text = json_for_script(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_a_caption_stays_text(page):
    reader = read(page)
    assert [tag for tag, _ in reader.elements].count("script") == 2
    assert not [1 for _, attributes in reader.elements if any(name.startswith("on") for name in attributes)]
    assert not [1 for tag, attributes in reader.elements if tag == "img" and (attributes.get("src") or "") == "x"]
    assert "{{ 7 * 7 }}" in "".join(reader.words)
    assert 'alert("red")' in "".join(reader.words)


def test_nothing_outside_the_page_is_named(page):
    reader = read(page)
    for _, attributes in reader.elements:
        for name in ("src", "href", "srcset", "data", "action"):
            assert not re.match(r"(?:https?:)?//|[a-z]+\.", attributes.get(name) or ""), attributes
    assert "url(" not in page
    assert "@import" not in page


def test_the_policy_allows_this_script_and_no_other(page):
    reader = read(page)
    (policy,) = (a["content"] for tag, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(reader.scripts[1].encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "connect-src" not in policy and "http" not in policy


def test_landmarks_headings_and_labels(page):
    reader = read(page)
    tags = [tag for tag, _ in reader.elements]
    assert page.startswith("<!doctype html>")
    assert (tags.count("main"), tags.count("h1"), tags.count("nav")) == (1, 1, 1)
    assert ("html", {"lang": "en"}) in reader.elements
    identifiers = [a["id"] for _, a in reader.elements if a.get("id")]
    assert len(identifiers) == len(set(identifiers))
    named = {a.get("aria-labelledby") for _, a in reader.elements} | {
        a.get("aria-controls") for _, a in reader.elements
    }
    assert named - {None} <= set(identifiers)
    assert {(a["href"] or "").removeprefix("#") for tag, a in reader.elements if tag == "a"} <= set(identifiers)
    assert all(a.get("aria-label") for tag, a in reader.elements if tag == "canvas")


def test_the_script_reads_pairs_that_fit_their_pictures(page, pairs):
    data = json.loads(read(page).scripts[0])
    assert data == pairs
    for pair in data["pairs"]:
        layout = data["layouts"][data["pictures"][str(pair["picture"])]["layout"]]
        assert len(base64.b64decode(pair["weights"])) == len(pair["peaks"]) * layout["count"]
        assert len(pair["peaks"]) == len(pair["significance"])
