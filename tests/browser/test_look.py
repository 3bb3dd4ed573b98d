"""How the page looks: light and dark, on a phone, and to an accessibility checker."""

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import visit
from tests.browser.steps import answer, example, screenshot, tab

Scheme = Literal["light", "dark"]


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Scheme:
    scheme: Scheme = request.param
    return scheme


@pytest.fixture
def coloured(context: BrowserContext, scheme: Scheme) -> Page:
    """The page for a visitor whose system is light or dark."""
    page = context.new_page()
    page.emulate_media(color_scheme=scheme)
    visit(page, "/ui/")
    return page


def findings(page: Page) -> list[str]:
    """What axe-core finds serious or worse."""
    found = Axe().run(page).response["violations"]
    return [
        f"{finding['id']}: {node['html'][:200]} {node['failureSummary']}"
        for finding in found
        if finding["impact"] in {"serious", "critical"}
        for node in finding["nodes"]
    ]


def test_axe_finds_nothing_serious(coloured: Page, scheme: Scheme) -> None:
    assert findings(coloured) == []
    example(coloured, "reggae")
    answer(coloured)
    coloured.get_by_role("button", name="Look inside").click()
    coloured.get_by_role("button", name="Show its sound").click()
    coloured.get_by_role("img", name="Mel spectrogram").wait_for()
    assert findings(coloured) == []
    screenshot(coloured, f"answer-{scheme}")
    example(coloured, "jazz")
    tab(coloured, "Compare")
    coloured.get_by_role("region", name="Find alike").wait_for()
    assert findings(coloured) == []
    screenshot(coloured, f"compare-{scheme}")
    tab(coloured, "From code")
    assert findings(coloured) == []


def test_dark_is_dark_and_light_is_light(coloured: Page, scheme: Scheme) -> None:
    brightness = coloured.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3"
    )
    assert brightness < 60 if scheme == "dark" else brightness > 200


def test_a_phone_shows_everything_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, "/ui/")
    example(page, "disco")
    answer(page)
    for name in ("Listen", "Compare", "From code"):
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        screenshot(page, f"phone-{name.split()[-1].lower()}")
