"""Debian's Chromium, a running service, and what every page must keep to: no request to another host, no error."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, TimeoutError, expect, sync_playwright

from tests.support.processes import ROOT
from tests.support.service_process import running

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--host-resolver-rules=MAP box.lan 127.0.0.1",
]
SCREENSHOTS = ROOT / "runs" / "browser"
TIMEOUT_MS = 60_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "Chromium is missing: apt-get install chromium, or make test-browser as root."
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, large enough that the windows of a song come one by one."""
    import torch
    from transformers import HubertConfig, HubertForSequenceClassification, Wav2Vec2FeatureExtractor

    from tests.conftest import GENRES

    folder = tmp_path_factory.mktemp("models") / "you-genre"
    config = HubertConfig(
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(128,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
        id2label=dict(enumerate(GENRES)),
        label2id={genre: index for index, genre in enumerate(GENRES)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        HubertForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def settings(slow_model: Path) -> dict[str, str]:
    """Of the services here. MODEL_ID puts another model in: the demo's, for pictures with meaning."""
    model = os.environ.get("MODEL_ID") or str(slow_model)
    return {"MODEL_ID": model, "PAGE": "true", "BACKEND": "torch", "CPU_THREADS": "1"}


@pytest.fixture(scope="session")
def url(settings: dict[str, str]) -> Iterator[str]:
    """A running service."""
    with running(**settings) as service:
        yield service.url


@pytest.fixture
def context(browser: Browser, url: str) -> Iterator[BrowserContext]:
    """A visitor of `url`, with a microphone. At the end nothing may have been asked of another host."""
    context = browser.new_context(
        base_url=url, viewport={"width": 1200, "height": 900}, permissions=["microphone"], reduced_motion="reduce"
    )
    context.set_default_timeout(TIMEOUT_MS)
    hosts: set[str] = set()
    context.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    yield context
    context.close()
    # Data and blob addresses have no host.
    assert hosts <= {urlsplit(url).netloc, ""}


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """The page, ready; no script of it may fail."""
    failures: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: failures.append(str(error)))
    visit(page, "/ui/")
    yield page
    assert failures == []


def visit(page: Page, address: str) -> None:
    """Go there and wait until the page is the real one and knows that the model is ready."""
    with stalls_explained(page):
        page.goto(address)
        page.locator("#recording").wait_for()
        page.get_by_text("The model is still loading").wait_for(state="hidden")
        # The names of the examples are the last to appear.
        page.get_by_role("button", name="rock", exact=True).wait_for()


@contextmanager
def stalls_explained(page: Page) -> Iterator[None]:
    """Add to a timeout in the block which requests of the page failed, or have no answer."""
    waiting: set[Request] = set()
    failed: list[str] = []

    def settle(request: Request) -> None:
        waiting.discard(request)
        if request.failure:
            failed.append(f"{request.url} {request.failure}")

    page.on("request", lambda request: waiting.add(request))
    page.on("requestfinished", settle)
    page.on("requestfailed", settle)
    page.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
    try:
        yield
    except TimeoutError as error:
        error.add_note(f"failed: {failed}\nwithout an answer: {[request.url for request in waiting]}")
        raise
