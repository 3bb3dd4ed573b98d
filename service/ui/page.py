"""The Gradio page: upload or record audio, see its genre. It calls the same function as the API."""

from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from gradio.utils import get_upload_folder
from gradio_client.utils import is_http_url_like

from service.classify import Classifier
from service.errors import ServiceError
from service.schemas import Classification

PATH = "/ui"

# (how often to look, age to delete at) in seconds: an upload is kept while its visitor may still play it.
_DELETE_UPLOADS_S = (300, 1_800)

_UPLOAD_FIRST = "Upload the file through this page."
_TITLE = "Music genre"
_INTRODUCTION = """# What genre is this?
Drop a recording here, or hold the microphone to the music. mp3, m4a, wav, flac, ogg and most other formats work."""


def mount(app: FastAPI, classifier: Classifier, *, max_upload_bytes: int) -> None:
    """Serve the page at `/ui` of `app`."""
    blocks = build(classifier)
    # A mounted page is never launched, and while it says so Gradio skips its check of file paths: anyone could then
    # read every file of the server by posting its path.
    blocks.has_launched = True
    gr.mount_gradio_app(
        app,
        blocks,
        PATH,
        root_path=PATH,
        app_kwargs={"openapi_url": None},
        footer_links=[],
        max_file_size=max_upload_bytes,
        run_history=False,
        # Its own errors may hold paths; ours are raised as gr.Error, which is always shown.
        show_error=False,
        ssr_mode=False,
    )


def build(classifier: Classifier) -> gr.Blocks:
    """The page, unmounted. Building it makes no request to any other host."""

    async def show(path: str | None) -> tuple[gr.Label, str]:
        if path is None:
            raise gr.Error("Choose a recording first.", print_exception=False)
        # Gradio has checked this; a second look costs nothing, and Gradio has been wrong before.
        if not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
            raise gr.Error(_UPLOAD_FIRST, print_exception=False)
        try:
            with open(path, "rb") as file:
                answer = await classifier.classify(file)
        except FileNotFoundError:
            raise gr.Error("The upload has expired. Choose the recording again.", print_exception=False) from None
        except ServiceError as error:
            raise gr.Error(f"{error.title}. {error.detail}", print_exception=False) from error
        bars = {score.label: round(score.score, 4) for score in answer.scores}
        return gr.Label(bars, visible=True), _explain(answer)

    with gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=_DELETE_UPLOADS_S) as blocks:
        gr.Markdown(_INTRODUCTION)
        with gr.Row():
            with gr.Column():
                audio = gr.Audio(
                    label="Recording",
                    sources=["upload", "microphone"],
                    type="filepath",
                    editable=False,
                    # Not "share": it would upload the recording to another host.
                    buttons=["download"],
                )
                _refuse_urls(audio)
                button = gr.Button("Tell the genre", variant="primary")
            with gr.Column():
                scores = gr.Label(label="Genre", visible=False)
                explanation = gr.Markdown()
        button.click(show, audio, [scores, explanation], api_name="classify", concurrency_limit=None)
    page: gr.Blocks = blocks
    return page


def _refuse_urls(audio: gr.Audio) -> None:
    """Gradio takes a URL in place of an upload, and would download it without a limit.

    On the object, as a subclass of a component makes Gradio write a stub file beside its source.
    """
    move = audio.async_move_resource_to_block_cache

    async def move_upload(url_or_path: str | Path | None) -> str | None:
        if url_or_path is not None and is_http_url_like(str(url_or_path)):
            raise gr.Error(_UPLOAD_FIRST, print_exception=False)
        return await move(url_or_path)

    audio.async_move_resource_to_block_cache = move_upload  # type: ignore[method-assign, assignment]


def _explain(answer: Classification) -> str:
    certainty = (
        f"**{answer.genre}**, {answer.confidence:.0%} sure."
        if answer.decision == "accepted"
        else f"Uncertain: perhaps **{'** or **'.join(score.label for score in answer.scores[:2])}**."
    )
    return (
        f"{certainty} Listened to {answer.analysed_s:.0f} of {answer.duration_s:.0f} seconds. "
        f"Answered by {answer.model.id} ({answer.model.revision[:12]})."
    )
