"""The page, built of Gradio's parts: what is where, and what happens when."""

from typing import Any

import gradio as gr
from gradio.events import Dependency

from service.classification.classifier import Classifier
from service.ui import scripts
from service.ui.actions import Actions
from service.ui.examples import as_upload, examples
from service.ui.hardening.patches import refuse_urls
from service.ui.hardening.uploads import KEPT_S, upload_dir
from service.ui.views import multi_upload, results_table, snippets, wording

_TITLE = "Music genre"
_INTRODUCTION = """# What genre is this?
Drop a recording, hold the microphone to the music, or try an example. mp3, m4a, wav, flac, ogg and most others work."""

# Gradio's own cleaner: (how often it looks, age that it deletes at) in seconds.
_DELETE_UPLOADS_S = (300, KEPT_S)
_VISIT_S = 3_600
_POLL_S = 1.0

# Events that compute nothing: unseen, never in line, and not part of the page's API. They go through the queue, as the
# way around it is among the routes that are closed.
_QUIET: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}

# Of everything that listens, whatever starts it. So many visitors see their place in our line, as many again wait
# unseen in Gradio's, and the rest are told to come back.
_LINE = 64
_LISTENS: dict[str, Any] = {"concurrency_id": "listen", "concurrency_limit": _LINE, "show_progress": "hidden"}


def build(classifier: Classifier, *, max_upload_bytes: int) -> gr.Blocks:
    """The page, unmounted. Building it makes no request to any other host."""
    actions = Actions(classifier)
    with gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=_DELETE_UPLOADS_S) as blocks:
        gr.Markdown(_INTRODUCTION)
        status = gr.HTML(visible=False)
        timer = gr.Timer(_POLL_S, active=False)
        results = gr.State([], time_to_live=_VISIT_S)
        # Both tabs fill them, the second one shows them.
        table = gr.Dataframe(
            headers=results_table.HEADERS,
            label="Results",
            interactive=False,
            wrap=True,
            render=False,
        )
        downloads = gr.HTML(render=False)
        with gr.Tabs():
            with gr.Tab("Listen"):
                _one_recording(actions, results, table, downloads)
            with gr.Tab("Compare"):
                _compare(actions, results, table, downloads, max_upload_bytes)
            with gr.Tab("From code"):
                _code(blocks)
        blocks.load(actions.readiness, None, [status, timer], **_QUIET)
        timer.tick(actions.readiness, None, [status, timer], **_QUIET)
    blocks.queue(max_size=_LINE)
    page: gr.Blocks = blocks
    return page


def _one_recording(actions: Actions, results: gr.State, table: gr.Dataframe, downloads: gr.HTML) -> None:
    files = examples()
    latest = gr.State(None, time_to_live=_VISIT_S)
    with gr.Row():
        with gr.Column(min_width=320):
            audio = gr.Audio(
                label="Recording",
                sources=["upload", "microphone"],
                type="filepath",
                editable=False,
                # Not "share": it would upload the recording to another host.
                buttons=["download"],
                # The browser's own player: Gradio's would decode a long recording as a whole to draw it.
                waveform_options=gr.WaveformOptions(show_recording_waveform=False),
                elem_id="recording",
            )
            refuse_urls(audio, wording.UPLOAD_FIRST)
            with gr.Row():
                button = gr.Button("Tell the genre", variant="primary")
                # Browsers call webm and mp4 videos, which the recorder above does not take.
                other = gr.UploadButton("From a video file")
                refuse_urls(other, wording.UPLOAD_FIRST)
            chosen = gr.Dataset(
                label="Examples: synthetic music, composed by a program",
                components=[gr.Textbox(visible=False)],
                samples=[[genre] for genre in files],
                type="index",
            )
        with gr.Column(min_width=320):
            notice = gr.HTML(wording.notice("The answer appears here."))
            answer = gr.HTML(visible=False)
            scores = gr.Label(label="All genres", visible=False, show_heading=False)
    sections = gr.HTML(visible=False, js_on_load=scripts.TIMELINE)
    with gr.Accordion("Look inside", open=False, visible=False) as inside:
        with gr.Row():
            part = gr.Dropdown(label="Part of the recording")
            genre = gr.Dropdown(label="Genre")
        with gr.Row():
            see = gr.Button("Show its sound")
            ask = gr.Button("Which seconds mattered?")
        spectrogram = gr.HTML(visible=False)
        evidence = gr.HTML(visible=False)

    shown = [notice, answer, scores, sections, latest]
    asked = gr.on(
        [button.click, audio.input],
        actions.classify,
        audio,
        shown,
        api_name="classify",
        trigger_mode="once",
        **_LISTENS,
    )

    def classify_after(event: Dependency) -> Dependency:
        then: Dependency = event.then(actions.classify, audio, shown, api_visibility="private", **_LISTENS)
        return then

    picked = chosen.click(
        lambda index: str(as_upload(list(files.values())[index], upload_dir())), chosen, audio, **_QUIET
    )
    uploaded = other.upload(lambda path: path, other, audio, **_QUIET)
    for event in (asked, classify_after(picked), classify_after(uploaded)):
        event.then(
            actions.remember, [latest, results], [results, table, downloads, part, genre, inside], **_QUIET
        ).then(lambda: [gr.HTML(visible=False)] * 2, None, [spectrogram, evidence], **_QUIET)
    see.click(
        actions.spectrogram,
        [audio, part],
        spectrogram,
        api_visibility="private",
        concurrency_id="pictures",
        concurrency_limit=2,
    )
    ask.click(actions.evidence, [audio, part, genre], evidence, api_visibility="private", concurrency_id="pictures")


def _compare(
    actions: Actions, results: gr.State, table: gr.Dataframe, downloads: gr.HTML, max_upload_bytes: int
) -> None:
    gr.Markdown("Everything heard in this visit. Drop several files together to fill the table row by row.")
    drop = gr.HTML(multi_upload.render(max_upload_bytes), js_on_load=scripts.MULTI_UPLOAD)
    notice = gr.HTML(visible=False)
    for part in (table, downloads):
        part.render()  # type: ignore[no-untyped-call]
    drop.upload(
        actions.batch,
        results,
        [notice, results, table, downloads],
        api_visibility="private",
        **_LISTENS,
    )


def _code(blocks: gr.Blocks) -> None:
    gr.Markdown(
        "### Use this from code\nThe same request from a program. [The API's own page](../docs) has the rest. A "
        "service with API keys wants one as well: `Authorization: Bearer <key>`."
    )
    with gr.Tab("curl"):
        curl = gr.Code(language="shell", label="curl", interactive=False, wrap_lines=True)
    with gr.Tab("Python"):
        python = gr.Code(language="python", label="Python", interactive=False, wrap_lines=True)
    with gr.Tab("JavaScript"):
        javascript = gr.Code(language="javascript", label="JavaScript", interactive=False, wrap_lines=True)
    address = gr.Textbox(visible=False)
    blocks.load(snippets.snippets, address, [curl, python, javascript], js=scripts.ADDRESS, **_QUIET)
