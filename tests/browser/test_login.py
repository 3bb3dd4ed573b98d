"""With API keys set, the page asks for one."""

from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from service.settings import Settings
from tests.browser.steps import alert, answer, example, screenshot
from tests.browser.test_deployment import visitor
from tests.browser.test_look import findings
from tests.support.service_process import running

KEY = "a-key-for-the-browser-tests-0123456789"


@pytest.mark.skipif("api_keys" not in Settings.model_fields, reason="this service knows no keys")
def test_the_page_asks_for_a_key_and_works_with_it(browser: Browser, settings: dict[str, str], tmp_path: Path) -> None:
    with running(**settings, API_KEYS=KEY) as service, visitor(browser, service.url) as page:
        url = service.url
        assert httpx2.get(f"{url}/model").status_code == 401
        page.goto("/ui/")
        field = page.get_by_label("API key")
        field.fill("wrong")
        field.press("Enter")
        expect(alert(page)).to_contain_text("not a valid key")
        screenshot(page, "login")
        assert findings(page) == []
        field.fill(KEY)
        field.press("Enter")
        page.locator("#recording").wait_for()
        example(page, "jazz")
        expect(answer(page)).to_contain_text("Listened to 0:08")
        page.wait_for_function("document.querySelector('#recording audio').duration > 7")
