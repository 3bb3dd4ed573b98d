"""What visitors do, and what they see."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import SCREENSHOTS


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#recording input[type=file]", path)


def example(page: Page, genre: str) -> None:
    page.get_by_role("button", name=genre, exact=True).click()


def answer(page: Page) -> Locator:
    """The final one."""
    section = page.get_by_role("region", name="Answer")
    expect(section).to_contain_text("Answered by")
    return section


def alert(page: Page) -> Locator:
    return page.get_by_role("alert")


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")


def player(page: Page) -> dict[str, Any]:
    """What the player holds, where it is, and whether it plays."""
    state: dict[str, Any] = page.evaluate(
        "(({src, currentTime, paused, duration}) => ({src, currentTime, paused, duration}))"
        "(document.querySelector('#recording audio'))"
    )
    return state


def panel(page: Page) -> Locator:
    """The innermost open tab."""
    return page.locator("[role=tabpanel]:visible").last


def download(page: Page, format: str) -> str:
    """The results of the visit, of the tab that compares them."""
    with page.expect_download() as started:
        page.get_by_role("link", name=f"Download {format}").click()
    return Path(started.value.path()).read_text()


def screenshot(page: Page, name: str) -> None:
    """Kept in runs/browser."""
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def walk_to(page: Page, tag: str, name: str) -> None:
    """Tab until the focus is on the part with that name, which must show that it has it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(({tagName, innerText, ariaLabel}) => [tagName.toLowerCase(), ariaLabel || innerText || ''])"
            "(document.activeElement)"
        )
        if focused[0] == tag and focused[1].strip().startswith(name.strip()):
            return
    raise AssertionError(f"no way to {name!r} with the Tab key")
