"""The page behind a proxy, before the model is there, and with more visitors than it listens to at once."""

import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from service.ui.session import LISTENERS
from tests.browser.conftest import TIMEOUT_MS, visit
from tests.browser.steps import answer, example, panel, screenshot, tab
from tests.support.audio_files import encode, sweep
from tests.support.hub_stand_in import HubStandIn
from tests.support.service_process import Start, free_port, running

PREFIX = "/music/genre"


@contextmanager
def visitor(browser: Browser, url: str) -> Iterator[Page]:
    context: BrowserContext = browser.new_context(base_url=url, reduced_motion="reduce")
    context.set_default_timeout(TIMEOUT_MS)
    yield context.new_page()
    context.close()


@contextmanager
def proxy(upstream: str) -> Iterator[str]:
    """A reverse proxy that shows `upstream` under PREFIX, which it strips, and nothing else."""
    # A connection for each request, as nginx has them unless told otherwise.
    client = httpx2.AsyncClient(base_url=upstream, timeout=60, limits=httpx2.Limits(max_keepalive_connections=0))

    @asynccontextmanager
    async def closing(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    async def forward(request: Request) -> StreamingResponse:
        headers = [(name, value) for name, value in request.headers.raw if name != b"connection"]
        path = request.url.path.removeprefix(PREFIX)
        sent = client.build_request(
            request.method, f"{path}?{request.url.query}", headers=headers, content=await request.body()
        )
        answer = await client.send(sent, stream=True)

        async def body() -> AsyncIterator[bytes]:
            async with aclosing(answer):
                async for chunk in answer.aiter_raw():
                    yield chunk

        response = StreamingResponse(body(), answer.status_code)
        response.raw_headers = [pair for pair in answer.headers.raw if pair[0].lower() != b"transfer-encoding"]
        return response

    port = free_port()
    routes = [Route(f"{PREFIX}/{{path:path}}", forward, methods=["GET", "POST", "HEAD"])]
    application = Starlette(routes=routes, lifespan=closing)
    server = uvicorn.Server(uvicorn.Config(application, port=port, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def test_behind_a_proxy_with_a_path_prefix(browser: Browser, settings: dict[str, str]) -> None:
    with running(**settings, ROOT_PATH=PREFIX) as service, proxy(service.url) as url:
        with visitor(browser, url) as page:
            strays: list[str] = []
            page.on("response", lambda response: strays.append(response.url) if response.status == 404 else None)
            visit(page, f"{PREFIX}/")
            assert page.url == f"{url}{PREFIX}/ui/"
            example(page, "pop")
            expect(answer(page)).to_contain_text("Listened to 0:08")
            page.wait_for_function("document.querySelector('#recording audio').duration > 7")
            tab(page, "From code")
            expect(panel(page)).to_contain_text(f"{url}{PREFIX}/classify")
            assert strays == []
        assert httpx2.get(f"{url}{PREFIX}/openapi.json").status_code == 200


def test_page_at_an_insecure_address_says_why_there_is_no_microphone(browser: Browser, url: str) -> None:
    """As on http://192.168.1.5. On localhost there is a microphone."""
    hint = "browsers give it only to pages at https addresses or on localhost"
    with visitor(browser, url) as page:
        visit(page, "/ui/")
        expect(page.get_by_text(hint)).to_be_hidden()
    with visitor(browser, url.replace("127.0.0.1", "box.lan")) as page:
        visit(page, "/ui/")
        expect(page.get_by_text(hint)).to_be_visible()
        screenshot(page, "no-microphone")
        example(page, "jazz")
        expect(answer(page)).to_contain_text("Listened to 0:08")


def test_the_page_says_that_the_model_is_loading_and_goes_on_by_itself(
    browser: Browser, settings: dict[str, str], hub: HubStandIn, start: Start
) -> None:
    model = Path(settings["MODEL_ID"])
    hub.create_repo("you/late")
    hub.commit("you/late", {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()})
    hub.fail("you/late", status=503, times=None)
    service = start(**settings | {"MODEL_ID": "you/late"})
    with visitor(browser, service.url) as page:
        service.wait_for("/livez")
        page.goto("/ui/")
        # Gradio's import takes longer than the first answer.
        expect(page.get_by_role("status")).to_contain_text("The page is getting ready.")
        screenshot(page, "getting-ready")
        page.locator("#recording").wait_for()
        expect(page.get_by_role("status").filter(has_text="The model is still loading.")).to_be_visible()
        example(page, "jazz")
        expect(page.get_by_role("status").filter(has_text="listening starts by itself")).to_be_visible()
        screenshot(page, "model-loading")
        hub.clear_faults()
        expect(answer(page)).to_contain_text("Listened to 0:08")
        expect(page.get_by_text("The model is still loading")).to_have_count(0)


def test_a_visitor_in_line_sees_the_place(page: Page, url: str) -> None:
    song = encode(sweep(40, 8_000), "wav", 8_000)
    with ThreadPoolExecutor(LISTENERS) as others, httpx2.Client(base_url=url, timeout=120) as client:
        waits = [others.submit(listen, client, song) for _ in range(LISTENERS)]
        for wait in waits:
            wait.result()
        example(page, "rock")
        expect(page.get_by_role("status").filter(has_text="before yours. It starts by itself.")).to_be_visible()
        screenshot(page, "in-line")
        answer(page)


def listen(client: httpx2.Client, song: bytes) -> None:
    """Have the page listen, without waiting for the answer."""
    path = client.post("/ui/gradio_api/upload", files={"files": ("song.wav", song)}).json()[0]
    data = {"path": path, "meta": {"_type": "gradio.FileData"}}
    assert client.post("/ui/gradio_api/call/classify", json={"data": [data]}).status_code == 200
