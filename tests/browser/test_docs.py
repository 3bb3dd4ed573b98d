"""The documentation of the API: `/docs`, without a script of another host."""

from playwright.sync_api import Page, expect


def test_try_it_out_of_swagger_works(page: Page, url: str) -> None:
    page.goto(f"{url}/docs")
    page.get_by_role("button", name="GET /readyz Readyz").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.get_by_text('"status": "ready"').first).to_be_visible()
