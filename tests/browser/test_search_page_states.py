"""The search page when things are not as one would wish: empty, busy, gone, locked; and on any screen, for anyone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
SEARCH = "?q=a+red+circle+on+snow"
PHONE = {"viewport": {"width": 375, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def shown(page: Any) -> list[str]:
    return page.locator(".picture img").evaluate_all("all => all.map(image => image.getAttribute('src'))")


def test_an_empty_library_names_the_command_and_fills_by_itself(visit, api):
    api.world.pictures = 0
    page = visit()
    page.get_by_role("heading", name="No pictures yet").wait_for()
    expect(page.locator("code")).to_have_text("crossgraph index ~/Pictures")
    api.world.pictures = 7
    page.get_by_role("heading", name="7 pictures").wait_for()


def test_indexing_shows_how_much_is_left_while_searching_goes_on(visit, api):
    api.world.job, api.world.ticks = "job1", 400
    page = visit(SEARCH)
    page.locator(".indexing", has_text="a second").wait_for()
    text = page.locator(".indexing").inner_text()
    assert text.startswith("indexing ") and " of 16,000 · 61 a second · " in text and text.endswith(" left")
    expect(page.get_by_role("progressbar")).to_be_visible()
    assert len(shown(page)) > 5
    api.world.job = ""
    page.wait_for_function("() => document.querySelector('.progress').hidden")


def test_grey_places_only_for_who_waits(visit, api):
    page = visit()
    api.world.held = True
    page.locator(".query").fill("red circle")
    page.locator(".waiting .row").first.wait_for()
    api.world.held = False
    page.locator(".picture img.loaded").first.wait_for()
    expect(page.locator(".waiting")).to_be_hidden()
    before = shown(page)
    api.world.held = True
    with page.expect_request("**/api/search?q=blue*"):
        page.locator(".query").fill("blue circle")
    page.wait_for_function("() => document.querySelector('main.late')")
    assert shown(page) == before, "what is there stays until there is something better"


def test_no_good_match_is_said_and_the_nearest_are_shown(visit):
    page = visit("?q=yellow+triangle+night&where=name+%7E+%27IMG_000%27")
    expect(page.get_by_text("No good match among 1,204 pictures. These are the nearest.")).to_be_visible()
    assert len(shown(page)) == 10
    expect(page.locator(".divider")).to_be_hidden()


def test_only_unknown_words(visit):
    page = visit("?q=zorp+blarg")
    expect(page.get_by_text("The model does not know “zorp”, “blarg”. Say it in other words.")).to_be_visible()
    expect(page.locator(".chip.word.unknown")).to_have_count(2)


def test_a_server_that_is_killed_and_comes_back(visit, api):
    page = visit(SEARCH)
    page.expected += ["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"]
    before = shown(page)
    api.stop()
    page.locator(".query").fill("blue square")
    page.get_by_text("The server does not answer.").wait_for()
    assert shown(page) == before, "what is shown is kept"
    expect(page.get_by_role("button", name="Try now")).to_be_visible()
    api.start()
    page.wait_for_function("() => document.querySelector('.banner').hidden")
    page.wait_for_function(
        "before => document.querySelector('.picture img').getAttribute('src') !== before", arg=before[0]
    )
    assert api.world.asked[-1]["q"] == ["blue square"], "what was asked meanwhile is searched for"


def test_what_did_not_come_while_the_server_was_away_comes_later(visit, api):
    page = visit(SEARCH)
    page.expected += ["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"]
    page.locator(".chip.word.small").first.wait_for(state="attached")
    api.stop()
    page.evaluate("scrollTo(0, 1600)")  # nothing is typed: thumbnails alone tell
    page.get_by_text("The server does not answer.").wait_for()
    page.locator(".picture.lost").first.wait_for(state="attached")
    expect(page.locator(".missing", has_text="no longer there").first, "nobody knows that").to_be_hidden()
    page.locator(".picture.lost").first.click()
    api.start()
    page.wait_for_function("() => !document.querySelector('.picture.lost') && document.querySelector('.banner').hidden")
    page.wait_for_function("() => document.querySelector('.stage img').src.startsWith('blob:')")
    page.locator(".why-word").first.wait_for()
    page.locator(".chip.word", has_text="circle").hover()
    page.wait_for_function("() => document.querySelectorAll('.grid .glow.on').length > 8")


def test_an_address_with_a_picture_that_is_not_in_the_library(visit):
    page = visit(SEARCH + "&open=999999")
    page.expected.append("404")
    page.get_by_role("alert").wait_for()
    expect(page.get_by_role("button", name="more like this"), "nothing is like what is not there").to_be_hidden()
    page.locator(".picture").first.click()
    expect(page.get_by_role("button", name="more like this")).to_be_visible()


def test_what_finds_nothing_says_what_would(visit):
    page = visit("?minus=red&where=width+%3E+10")
    expect(page.get_by_text("A minus or a filter alone finds nothing.")).to_be_visible()
    expect(page.get_by_text("Say what is in the one you look for")).to_be_visible()


def test_a_very_long_query_leaves_room_for_the_pictures(visit):
    page = visit("?q=" + "+".join(["red circle"] * 90).replace(" ", "+"))
    expect(page.locator(".chip.word")).to_have_count(180)
    assert page.locator(".head").bounding_box()["height"] < 240


def test_a_picture_removed_since_indexing(visit, api):
    page = visit(SEARCH)
    first = int(shown(page)[0].split("/")[3])
    api.world.removed.add(first)
    page.expected.append("410")
    page.locator(".picture").first.click()
    page.get_by_role("alert").wait_for()
    expect(page.get_by_role("alert")).to_contain_text("was moved, changed or removed since it was indexed")
    page.get_by_role("button", name="Next picture").click()
    expect(page.locator(".panel .place")).to_have_text("2 of 1,000")
    expect(page.locator(".panel .problem")).to_be_hidden()


def test_a_token_is_asked_for_once_and_never_in_the_address(visit, api):
    api.world.token = "open-sesame"
    page = visit(SEARCH)
    page.expected.append("401")
    page.get_by_role("heading", name="This library asks for a token").wait_for()
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("That is not the token.").wait_for()
    page.get_by_label("Token").fill("open-sesame")
    page.keyboard.press("Enter")
    page.locator(".picture img.loaded").first.wait_for()
    assert "sesame" not in page.evaluate("location.href")
    page.reload()
    page.locator(".picture img.loaded").first.wait_for()


def test_an_open_picture_is_part_of_the_address(visit):
    page = visit(SEARCH)
    page.locator(".picture").nth(2).click()
    page.wait_for_url("**open=*")
    page.reload()
    page.locator(".panel .place", has_text="3 of 1,000").wait_for()
    page.go_back()
    page.wait_for_function("() => document.querySelector('.panel').hidden")


def test_the_theme_follows_the_system_until_chosen(visit):
    page = visit("", color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Theme: as the system. Change to light").click()
    light = page.evaluate(paper)
    assert light == "rgb(255, 255, 255)" != dark
    page.reload()
    assert page.evaluate(paper) == light
    page.get_by_role("button", name="Theme: light. Change to dark").click()
    assert page.evaluate(paper) == dark


def test_a_phone_shows_it_all_without_scrolling_sideways(visit):
    page = visit(SEARCH, **PHONE)
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 375
    page.locator(".chip.word", has_text="circle").tap()
    page.locator(".glow.on").first.wait_for()
    page.locator(".picture").first.tap()
    covers = "panel => { const {x, y, width} = panel.getBoundingClientRect(); return !x && !y && width === 375; }"
    page.wait_for_function(f"() => ({covers})(document.querySelector('.panel'))")
    assert page.evaluate("document.querySelector('header').inert")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Close"
    page.locator(".why-word").first.wait_for()
    assert page.evaluate(width) <= 375
    page.get_by_role("button", name="Close").tap()
    expect(page.locator(".panel")).to_be_hidden()


def test_nothing_moves_for_those_who_asked_for_that(visit):
    page = visit(SEARCH, reduced_motion="reduce")
    page.locator(".chip.word", has_text="circle").hover()
    page.locator(".glow.on").first.wait_for()
    page.locator(".picture").first.click()
    moving = "getComputedStyle(document.querySelector('{}')).{}"
    assert page.evaluate(moving.format(".glow", "transitionDuration")) == "0s"
    assert page.evaluate(moving.format(".panel", "animationName")) == "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_use_it(visit, api, root: Path, scheme: str):
    axe = root / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        reason = "axe-core is not there: npm ci in web/"
        if os.environ.get("CROSSGRAPH_REQUIRE_NODE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    page = visit("?q=a+red+zorp+circle&minus=snow&where=date+%3E%3D+2019", color_scheme=scheme, reduced_motion="reduce")
    page.locator(".picture").nth(1).click()
    page.locator(".why-word").first.wait_for()
    page.locator(".chip.word", has_text="circle").click()
    page.get_by_role("button", name="filter", exact=True).click()
    page.evaluate(axe.read_text(encoding="utf-8"))
    assert violations(page) == []
    page.goto(page.url.partition("?")[0])
    page.get_by_role("heading", name="1,204 pictures").wait_for()
    page.evaluate(axe.read_text(encoding="utf-8"))
    assert violations(page) == []


def violations(page: Any) -> list[str]:
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(result => result.violations)")
    return [f"{one['impact']}: {one['id']}: {node['html']}" for one in found for node in one["nodes"]]
