"""The report in a browser: it opens from a file, asks the network for nothing, and words and regions light up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from references.tiny_world import SIDE, write_run, write_world

from crossgraph.report.writer import ReportRequest, write_report

pytestmark = pytest.mark.browser
PHONE = {"width": 375, "height": 800}

_CELLS = """canvas => {
  const pen = canvas.getContext("2d"), cells = [];
  for (let row = 0; row < SIDE; row++) for (let column = 0; column < SIDE; column++) {
    const x = (column + .5) / SIDE * canvas.width, y = (row + .5) / SIDE * canvas.height;
    cells.push(pen.getImageData(Math.floor(x), Math.floor(y), 1, 1).data[3]);
  }
  return cells;
}""".replace("SIDE", str(SIDE))

_HEATS = """canvas => {
  const data = JSON.parse(document.getElementById("data").textContent), pair = data.pairs[canvas.dataset.pair];
  const bytes = Uint8Array.from(atob(pair.weights), c => c.charCodeAt(0)), count = bytes.length / pair.peaks.length;
  const row = number => Array.from(bytes.subarray(number * count, (number + 1) * count));
  return pair.peaks.map((peak, number) => row(number).map(byte => byte / 255 * peak));
}"""


@pytest.fixture(scope="module", params=["grid", "detector"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    data = write_world(folder / "zoo", request.param)
    runs = [write_run(folder / name, name, data) for name in ("sgr", "saf")]
    job = ReportRequest(runs, folder / f"{request.param}.html", queries=["0", "4"], worst=1)
    return write_report(job, lambda line: None)


@pytest.fixture
def opened(chromium: Any, report: Path) -> Iterator[Any]:
    """Open the page; nothing may be asked of the network and nothing may go wrong while a test uses it."""
    page = chromium.new_page(viewport={"width": 1100, "height": 900})
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert not wrong
    assert asked[0] == report.as_uri()
    assert all(url.startswith("data:") for url in asked[1:])


def first(page: Any, kind: str) -> Any:
    return page.locator(f".panel:not([hidden]) article.query.{kind}").first


def drawn(article: Any) -> list[bool]:
    """Tell which pictures have anything drawn on them."""
    script = """canvas => {
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return new Uint32Array(pixels.buffer).some(pixel => pixel);
    }"""
    return [canvas.evaluate(script) for canvas in article.locator("canvas").all()]


def test_pictures_are_there_and_a_caption_ran_no_script(opened):
    widths = opened.locator(".panel:not([hidden]) img").evaluate_all("all => all.map(image => image.naturalWidth)")
    assert widths and all(width > 0 for width in widths)
    assert "<img src=x onerror=alert(1)>" in first(opened, "t2i").text_content()


@pytest.mark.parametrize("report", ["grid"], indirect=True)
def test_a_word_glows_where_its_regions_are_and_nowhere_else(opened):
    article = first(opened, "t2i")
    canvas = article.locator("canvas").first
    word = article.locator(".word", has_text="dog").first
    row = int(word.get_attribute("data-row"))
    heat = canvas.evaluate(_HEATS)[row]
    word.hover()
    alpha = canvas.evaluate(_CELLS)
    even = 1 / len(heat)
    assert min(heat) < 0.9 * even < 1.2 * even < max(heat)
    assert alpha[heat.index(max(heat))] == max(alpha) > 0
    assert not [cell for cell, weight in zip(alpha, heat, strict=True) if cell and weight < even]
    opened.mouse.move(2, 2)
    assert not any(drawn(article))


@pytest.mark.parametrize("report", ["detector"], indirect=True)
def test_a_detectors_boxes_are_outlined(opened):
    article = first(opened, "t2i")
    assert not any(drawn(article))
    article.locator(".word", has_text="dog").first.hover()
    assert any(drawn(article))


def test_the_keyboard_does_what_the_mouse_does(opened):
    article = first(opened, "t2i")
    article.locator('.word[tabindex="0"]').focus()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowLeft")
    assert any(drawn(article))
    assert re.match(r"“.*” looks most at ", article.locator(".status").inner_text())
    opened.keyboard.press("Enter")
    assert article.locator('.word[aria-pressed="true"]').count() == 1
    opened.keyboard.press("Tab")
    assert any(drawn(article)), "what Enter keeps stays when the focus goes on"
    opened.keyboard.press("Escape")
    assert not any(drawn(article))
    assert article.locator('.word[aria-pressed="true"]').count() == 0


def test_a_region_lights_the_words_that_met_it(opened):
    article = first(opened, "i2t")
    canvas = article.locator("canvas").first
    canvas.focus()
    lit = 0
    for _ in range(SIDE * SIDE):
        opened.keyboard.press("ArrowRight")
        lit = max(lit, article.locator(".word[style*='--m']").count())
    assert lit > 0
    canvas.hover(position={"x": 20, "y": 20})
    assert article.locator(".status").inner_text()


def test_a_click_keeps_a_word_shown_and_a_second_lets_it_go(opened):
    article = first(opened, "i2t")
    word = article.locator(".word:not(.small)").first
    word.click()
    opened.mouse.move(2, 2)
    assert drawn(article) == [True]
    word.click()
    opened.mouse.move(2, 2)
    assert drawn(article) == [False]


def test_tabs_show_one_model_at_a_time_by_mouse_and_keys(opened):
    tabs = opened.get_by_role("tab")
    expect(tabs).to_have_count(3)
    tabs.nth(1).click()
    expect(opened.locator(".panel:visible")).to_have_attribute("id", "panel-2")
    opened.keyboard.press("ArrowRight")
    expect(opened.locator(".panel:visible")).to_have_attribute("id", "panel-3")
    assert first(opened, "t2i").locator("canvas[data-pair]").count() >= 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_themes_and_the_button_changes_them(chromium, report, scheme):
    page = chromium.new_page(color_scheme=scheme)
    page.goto(report.as_uri())
    for _ in range(2):
        for chosen in ("body", ".note", ".verdict", ".word.small", ".mark", ".score", ".bounds", "a", ".chart text"):
            assert page.evaluate(_CONTRAST, chosen) >= 4.5, f"{chosen} in {scheme}"
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("#theme").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.close()


_CONTRAST = """chosen => {
  const light = text => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255);
    const [r, g, b] = parts.map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const style = getComputedStyle(document.querySelector(chosen));
  const ink = light(chosen.includes("chart") ? style.fill : style.color);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
}"""


def test_a_phone_shows_it_without_scrolling_sideways(chromium, report):
    page = chromium.new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    article = first(page, "t2i")
    article.locator(".word:not(.small)").first.tap()
    assert any(drawn(article))
    page.close()


def test_on_paper_every_model_is_there_and_the_buttons_are_not(opened):
    opened.emulate_media(media="print")
    expect(opened.locator(".panel:visible")).to_have_count(3)
    expect(opened.locator("#theme")).to_be_hidden()
    expect(opened.get_by_role("tablist")).to_be_hidden()
