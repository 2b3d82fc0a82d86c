"""The search page in a browser: finding pictures, seeing why, and narrowing down, by mouse and by keyboard."""

from __future__ import annotations

import base64
import io
import itertools
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect
from references.mock_api import MockApi
from references.mock_world import GRID, drawn

pytestmark = pytest.mark.browser
SEARCH = "?q=a+red+circle+on+snow"

_PIXEL = """(canvas, [x, y]) => Array.from(canvas.getContext("2d").getImageData(
  Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data)"""
_TYPE = """(box, text) => { for (const letter of text) {
  box.value += letter;
  box.dispatchEvent(new Event("input", {bubbles: true}));
} }"""
_DROP = """([data, kind]) => {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)), transfer = new DataTransfer();
  transfer.items.add(new File([bytes], kind === "text/plain" ? "notes.txt" : "snow.png", {type: kind}));
  return transfer;
}"""


def tiles(page: Any) -> list[dict[str, Any]]:
    """Return the pictures in the document: their ids, places and order."""
    return page.locator(".tile").evaluate_all("""all => all.map(tile => {
      const box = tile.getBoundingClientRect(), source = tile.querySelector("img").getAttribute("src");
      return {id: Number(source.match(/[0-9]+/)[0]), place: Number(tile.getAttribute("aria-posinset")),
              left: box.left, top: box.top, width: box.width, height: box.height};
    })""")


def chip(page: Any, word: str) -> Any:
    return page.locator(".chip.word", has_text=word).first


def searches(api: MockApi) -> list[dict[str, list[str]]]:
    return api.world.asked


def until(page: Any, condition: str) -> None:
    page.wait_for_function(condition)


def asked(page: Any, api: MockApi, **wanted: list[str] | None) -> None:
    """Wait until the newest search has these fields; None stands for a field that is not sent."""
    for _ in range(400):
        newest = searches(api)[-1] if searches(api) else {}
        if all(newest.get(name) == value for name, value in wanted.items()):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"{wanted} was not asked for, but {newest}")


def middle(cell: tuple[int, int]) -> list[float]:
    row, column = cell
    return [(column + 0.5) / GRID, (row + 0.5) / GRID]


def snow() -> str:
    file = io.BytesIO()
    Image.new("RGB", (2400, 1800), "#dfe8f0").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def drop(page: Any, data: str, kind: str = "image/png") -> None:
    transfer = page.evaluate_handle(_DROP, [data, kind])
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("body", event, {"dataTransfer": transfer})


def test_typing_finds_pictures_after_a_pause(visit, api):
    page = visit()
    page.get_by_role("heading", name="1,204 pictures").wait_for()
    page.locator(".query").evaluate(_TYPE, "a red circle on snow")
    page.locator(".picture img.loaded").first.wait_for()
    assert [search["q"] for search in searches(api)] == [["a red circle on snow"]], "one search, when the typing rests"
    best = drawn(tiles(page)[0]["id"])
    assert {"red", "circle", "snow"} <= best.words
    expect(page.locator(".status")).to_have_text("1,204 pictures · 38 ms (nearest 9, re-rank 26)")
    assert page.evaluate("new URLSearchParams(location.search).get('q')") == "a red circle on snow"
    assert page.title() == "a red circle on snow · crossgraph"


def test_a_newer_search_cancels_the_one_under_way(visit, api):
    page = visit()
    cancelled: list[str] = []
    page.on("requestfailed", lambda request: cancelled.append(request.url))
    api.world.held = True
    with page.expect_request("**/api/search?q=green*"):
        page.locator(".query").fill("green")
    page.locator(".query").fill("yellow triangle")
    asked(page, api, q=["yellow triangle"])
    api.world.held = False
    page.locator(".picture img.loaded").first.wait_for()
    assert len(cancelled) == 1 and "q=green" in cancelled[0]
    assert {"yellow", "triangle"} <= drawn(tiles(page)[0]["id"]).words


def test_rows_are_justified_and_keep_proportions(visit):
    page = visit(SEARCH)
    shown = tiles(page)
    rows = [list(row) for _, row in itertools.groupby(shown, key=lambda tile: round(tile["top"]))]
    assert len(rows) >= 3
    left, right = 16, page.evaluate("document.querySelector('.grid').getBoundingClientRect().right")
    for row, below in itertools.pairwise(rows):
        if below[0]["top"] - row[0]["top"] - row[0]["height"] > 10:
            continue  # the last above the line may be short
        assert row[0]["left"] == pytest.approx(left, abs=0.5)
        assert row[-1]["left"] + row[-1]["width"] == pytest.approx(right, abs=0.5)
        gaps = [b["left"] - a["left"] - a["width"] for a, b in itertools.pairwise(row)]
        assert gaps == pytest.approx([4] * len(gaps), abs=0.5)
    for tile in shown:
        picture = drawn(tile["id"])
        assert tile["width"] / (tile["height"] - 4) == pytest.approx(min(3.2, picture.width / picture.height), rel=0.01)
    assert [tile["place"] for tile in shown] == list(range(1, len(shown) + 1)), (
        "read in the order in which they are seen"
    )


def test_a_word_glows_where_it_is_and_the_rest_dims(visit):
    page = visit(SEARCH)
    page.wait_for_timeout(300)
    before = tiles(page)
    chip(page, "circle").hover()
    page.locator(".glow.on").first.wait_for()
    assert tiles(page) == before, "nothing moves"
    looked_at = 0
    for tile in page.locator(".tile:has(.glow.on)").all()[:8]:
        picture = drawn(int(tile.locator("img").get_attribute("src").split("/")[3]))
        if picture.width / picture.height > 3.2:
            continue
        canvas = tile.locator("canvas")
        circles = [(thing.row, thing.column) for thing in picture.things if thing.shape == "circle"]
        for cell in circles:
            red, green, blue, alpha = canvas.evaluate(_PIXEL, middle(cell))
            assert red > 200 and red > green > blue and alpha > 60, "amber to white"
        corners = [cell for cell in ((0, 0), (0, 6), (6, 0), (6, 6)) if all(far(cell, at) for at in circles)]
        for cell in corners:
            red, _, _, alpha = canvas.evaluate(_PIXEL, middle(cell))
            assert red < 40 and alpha > 80, "a dark veil"
        looked_at += len(corners)
    assert looked_at >= 8
    page.mouse.move(600, 500)
    until(page, "() => !document.querySelector('.glow.on')")


def far(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return abs(one[0] - other[0]) + abs(one[1] - other[1]) > 4


def test_boxes_of_a_detector_are_outlined(visit, api):
    api.world.boxes = True
    page = visit(SEARCH)
    chip(page, "circle").hover()
    page.locator(".glow.on").first.wait_for()
    tile = page.locator(".tile:has(.glow.on)").first
    picture = drawn(int(tile.locator("img").get_attribute("src").split("/")[3]))
    circle = next(thing for thing in picture.things if thing.shape == "circle")
    edge = [(circle.column - 0.4) / GRID + 0.012, (circle.row + 0.5) / GRID]
    assert tile.locator("canvas").evaluate(_PIXEL, edge)[3] > 100
    assert tile.locator("canvas").evaluate(_PIXEL, middle((circle.row, circle.column)))[3] < 80, "seen through"


def test_words_say_what_the_model_used(visit):
    page = visit("?q=a+red+zorp+circle")
    until(page, "() => document.querySelector('.word').style.getPropertyValue('--strength')")
    zorp = chip(page, "zorp")
    expect(zorp).to_have_attribute("aria-label", "zorp: the model does not know this word")
    assert "line-through" in zorp.evaluate("word => getComputedStyle(word).textDecorationLine")
    expect(page.get_by_text("The model does not know “zorp”. The rest was searched for.")).to_be_visible()
    strength = "word => parseInt(word.style.getPropertyValue('--strength'))"
    assert chip(page, "circle").evaluate(strength) == 100 > chip(page, "a").evaluate(strength)


def test_a_click_holds_a_word_and_escape_lets_go(visit):
    page = visit(SEARCH)
    chip(page, "red").click()
    page.mouse.move(600, 500)
    page.locator(".glow.on").first.wait_for()
    expect(chip(page, "red")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    until(page, "() => !document.querySelector('.glow.on')")


def test_the_panel_shows_why_and_a_region_the_words_it_met(visit):
    page = visit(SEARCH)
    first = tiles(page)[0]
    before = page.locator(".grid").bounding_box()["width"]
    page.locator(".picture").first.click()
    page.locator(".why-word").first.wait_for()
    assert page.locator(".grid").bounding_box()["width"] < before - 300, "the panel pushes the grid"
    picture = drawn(first["id"])
    circle = next(thing for thing in picture.things if (thing.colour, thing.shape) == ("red", "circle"))
    stage = page.locator(".stage").bounding_box()
    x, y = middle((circle.row, circle.column))
    page.mouse.move(stage["x"] + x * stage["width"], stage["y"] + y * stage["height"])
    met = page.locator(".why-word.met .name")
    until(page, "() => document.querySelector('.why-word.met')")
    assert {"red", "circle"} == set(met.all_inner_texts())
    page.mouse.click(stage["x"] + x * stage["width"], stage["y"] + y * stage["height"])
    page.mouse.move(300, 500)
    assert set(met.all_inner_texts()) == {"red", "circle"}, "a click holds the region"
    expect(page.locator(".panel dd", has_text="<img src=x onerror=alert(1)> two shapes")).to_be_visible()
    page.locator(".why-word", has_text="circle").hover()
    until(page, "() => document.querySelector('.panel .glow.on') && document.querySelector('.grid .glow.on')")


def test_everything_goes_by_keyboard(visit):
    page = visit()
    page.keyboard.type("a red circle on snow")
    page.keyboard.press("Enter")
    page.locator(".picture img.loaded").first.wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "red"
    page.locator(".glow.on").first.wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused).startswith("Picture 2 of 1,000: IMG_")
    page.keyboard.press("Enter")
    expect(page.locator(".panel .place")).to_have_text("2 of 1,000")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".panel .place")).to_have_text("3 of 1,000")
    page.locator(".why-word").first.wait_for()
    page.locator(".why-word").nth(2).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".panel .place")).to_have_text("4 of 1,000")
    page.wait_for_function("() => document.activeElement === document.querySelectorAll('.why-word')[2]")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => document.activeElement === document.querySelectorAll('.why-word')[2]")
    page.locator(".stage").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".panel .place"), "on the picture, arrows move between regions").to_have_text("3 of 1,000")
    expect(page.locator(".why.meeting")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".panel")).to_be_hidden()
    assert page.evaluate(focused).startswith("Picture 3 of")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.name") == "q"


def test_a_minus_becomes_a_chip_and_goes_by_a_click(visit, api):
    page = visit("?q=red+circle")
    page.locator(".query").fill("red circle -snow ")
    page.get_by_role("button", name="Remove: not snow").wait_for()
    assert page.locator(".query").input_value().strip() == "red circle"
    asked(page, api, q=["red circle"], minus=["snow"])
    until(page, "() => location.search.includes('minus=snow')")
    until(page, "() => !document.body.hasAttribute('aria-busy')")
    assert "snow" not in drawn(tiles(page)[0]["id"]).words
    page.get_by_role("button", name="Remove: not snow").click()
    asked(page, api, q=["red circle"], minus=None)
    until(page, "() => !location.search.includes('minus')")


def test_filters_become_chips_and_the_way_back_keeps_them(visit, api):
    page = visit("?q=red+circle")
    page.get_by_role("button", name="filter", exact=True).click()
    page.get_by_label("Taken from").fill("2020")
    page.get_by_label("to", exact=True).fill("2021")
    page.get_by_label("Folder or name contains").fill("al'ps")
    page.keyboard.press("Enter")
    page.get_by_text("No picture fits.").wait_for()
    asked(page, api, where=[r"(date >= 2020 and date <= 2021) and (path ~ 'al\'ps')"])
    page.get_by_role("button", name="Remove filter: path has “al'ps”").click()
    page.locator(".picture img.loaded").first.wait_for()
    assert {drawn(tile["id"]).payload["date"][:4] for tile in tiles(page)} == {"2020", "2021"}
    page.get_by_role("button", name="Remove filter: 2020–2021").click()
    asked(page, api, where=None)
    page.go_back()
    page.get_by_role("button", name="Remove filter: 2020–2021").wait_for()
    page.reload()
    page.get_by_role("button", name="Remove filter: 2020–2021").wait_for()


def test_a_filter_that_cannot_be_read_is_pointed_at(visit):
    page = visit()
    page.expected.append("422")
    page.goto(page.url + "?q=red+circle&where=date+%3E+nope")
    page.get_by_role("alert").wait_for()
    expect(page.locator(".notice mark")).to_have_text("nope")


def test_a_dropped_picture_is_searched_with_and_weighed(visit, api):
    page = visit()
    drop(page, snow())
    page.locator(".picture img.loaded").first.wait_for()
    upload = Image.open(io.BytesIO(api.world.uploads[0]))
    assert max(upload.size) == 1024, "made small before it is sent"
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("ArrowRight")
    asked(page, api, picture_weight=["0.55"], picture=["upload-1"])
    page.locator(".query").fill("red circle")
    asked(page, api, q=["red circle"], picture_weight=["0.55"], picture=["upload-1"])
    assert len(api.world.uploads) == 1, "sent once"
    page.get_by_role("button", name="Remove the picture").click()
    asked(page, api, q=["red circle"], picture=None)


def test_what_is_dropped_and_no_picture_is_refused_kindly(visit, api):
    page = visit("?q=red+circle")
    drop(page, base64.b64encode(b"hello").decode(), "text/plain")
    assert page.get_by_role("alert").inner_text().startswith("Notes.txt is no picture.")
    assert len(tiles(page)) > 5 and not api.world.uploads


def test_more_and_less_like_this(visit, api):
    page = visit("?q=red+circle")
    first = tiles(page)[0]["id"]
    page.locator(".picture").first.click()
    page.get_by_role("button", name="more like this").click()
    page.get_by_role("button", name=f"Remove: more like picture {first}").wait_for()
    asked(page, api, like=[str(first)])
    page.get_by_role("button", name="less like this").click()
    page.get_by_role("button", name=f"Remove: less like picture {first}").wait_for()
    asked(page, api, unlike=[str(first)], like=None)


def test_a_thousand_hits_page_in_and_only_those_near_the_window_are_in_the_document(visit, api):
    page = visit("?q=red+circle")
    most = 0
    for _ in range(600):
        page.mouse.wheel(0, 3000)
        page.wait_for_timeout(25)
        most = max(most, page.locator(".tile").count())
        if tiles(page)[-1]["place"] == 1000:
            break
    assert tiles(page)[-1]["place"] == 1000
    assert most < 90
    end = page.locator(".end")
    end.wait_for()
    expect(end).to_have_text("The nearest 1,000 of 1,204 pictures end here. Say more, or add a filter, to see others.")
    page.mouse.wheel(0, 30_000)
    page.wait_for_timeout(100)
    last = page.locator(".tile").last.bounding_box()
    assert end.bounding_box()["y"] >= last["y"] + last["height"]  # below, not upon, the last pictures
    offsets = [int(search["offset"][0]) for search in searches(api)]
    assert offsets == sorted(set(offsets)) and offsets[-1] >= 900
    ids = {tile["id"] for tile in tiles(page)}
    assert len(ids) == len(tiles(page))


def test_where_all_pictures_are_shown_nothing_is_said_of_others(visit, api):
    api.world.pictures = 30
    page = visit("?q=red+circle")
    page.mouse.wheel(0, 30_000)
    page.wait_for_timeout(100)
    assert tiles(page)[-1]["place"] == 30
    expect(page.locator(".end")).to_be_hidden()


def test_less_likely_pictures_stand_below_a_line_and_near_duplicates_are_counted(visit):
    page = visit("?q=yellow+triangle+night&where=name+%7E+%27IMG_00%27")
    until(page, "() => !document.querySelector('.divider').hidden")
    line = page.locator(".divider").bounding_box()
    likely = page.locator(".tile:has(.match:not(.low))").evaluate_all(
        "all => all.map(tile => tile.getBoundingClientRect().bottom)"
    )
    unlikely = page.locator(".tile:has(.match.low)").evaluate_all(
        "all => all.map(tile => tile.getBoundingClientRect().top)"
    )
    assert max(likely) <= line["y"] + 1 < line["y"] + line["height"] - 1 <= min(unlikely)
    expect(page.locator(".copies").first).to_have_text("+3")
