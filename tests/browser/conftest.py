"""A browser, a server with the search API's answers, and pages that are watched while a test uses them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright
from references.mock_api import MockApi

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 15_000  # ms: what a page shows it may show late, on a busy machine

expect.set_options(timeout=PATIENCE)


def unavailable(reason: str) -> None:
    if os.environ.get("CROSSGRAPH_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        unavailable("no chromium is installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def api() -> Iterator[MockApi]:
    server = MockApi()
    yield server
    server.stop()


@pytest.fixture
def visit(chromium: Any, api: MockApi) -> Iterator[Callable[..., Any]]:
    """Open the search page; nothing may go wrong in it, and it may ask nobody but its own server.

    What a test expects to go wrong it names: `page.expected.append("410")`.
    """
    contexts: list[Any] = []
    pages: list[Any] = []

    def open_page(address: str = "", **settings: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1200, "height": 800}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.expected, page.wrong, page.asked = [], [], []
        page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(f"{api.url}/{address}")
        if "q=" in address and not api.world.token:
            page.locator(".picture img.loaded, .notice").first.wait_for()
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        unexpected = [text for text in page.wrong if not any(part in text for part in page.expected)]
        assert not unexpected
        foreign = [url for url in page.asked if not url.startswith((api.url, "blob:", "data:"))]
        assert not foreign
    for context in contexts:
        context.close()
