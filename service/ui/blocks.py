"""Builds the page of Gradio's components and wires their events."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from service.classification.classifier import Classifier
from service.ui import scripts
from service.ui.actions import Actions
from service.ui.examples import as_upload, examples
from service.ui.hardening.patches import refuse_urls
from service.ui.hardening.uploads import KEPT_S, upload_dir
from service.ui.session import Turn
from service.ui.views import multi_upload, results_table, snippets, wording

_TITLE = "Music genre"
_INTRODUCTION = """# What genre is this?
Drop a recording, hold the microphone to the music, or try an example. mp3, m4a, wav, flac, ogg and most others work."""

# Gradio's own cleaner: (how often it looks, age that it deletes at) in seconds.
_DELETE_UPLOADS_S = (300, KEPT_S)
_VISIT_S = 3_600
_POLL_S = 1.0

# Events that compute nothing: no progress is shown, no line, not part of the page's API. They go through the queue, as
# Gradio's way around it is among the routes that are closed.
_QUIET: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}

# Events that classify. So many visitors see their place in our line, as many again wait in Gradio's queue, and the rest
# are told to come back. Gradio by itself drops an event, such as more files, while an earlier one is under way.
_LINE = 64
_LISTENS: dict[str, Any] = {
    **{"concurrency_id": "listen", "concurrency_limit": _LINE},
    **{"show_progress": "hidden", "trigger_mode": "multiple"},
}


def build(classifier: Classifier, *, max_upload_bytes: int) -> gr.Blocks:
    """Gradio's blocks of the page, not mounted. Building them makes no request to any other host."""
    actions = Actions(classifier)
    with gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=_DELETE_UPLOADS_S) as blocks:
        gr.Markdown(_INTRODUCTION)
        status = gr.HTML(visible=False)
        timer = gr.Timer(_POLL_S, active=False)
        visit = _visit()
        with gr.Tabs():
            with gr.Tab("Listen"):
                _one_recording(actions, visit)
            with gr.Tab("Compare"):
                _compare(actions, visit, max_upload_bytes)
            with gr.Tab("From code"):
                _code(blocks)
        blocks.load(actions.readiness, None, [status, timer], **_QUIET)
        timer.tick(actions.readiness, None, [status, timer], **_QUIET)
    blocks.queue(max_size=_LINE)
    page: gr.Blocks = blocks
    return page


@dataclass(frozen=True)
class _Recorder:
    """The components that a recording comes from."""

    audio: gr.Audio
    button: gr.Button
    other: gr.UploadButton
    examples: gr.Dataset


@dataclass(frozen=True)
class _Visit:
    """The recordings of a visit and the components that compare them, which both tabs fill and the second one shows."""

    results: gr.State
    table: gr.Dataframe
    downloads: gr.HTML
    alike: gr.HTML


@dataclass(frozen=True)
class _Inside:
    """The components that look inside a recording."""

    place: gr.Accordion
    part: gr.Dropdown
    genre: gr.Dropdown
    show_sound: gr.Button
    ask_seconds: gr.Button
    spectrogram: gr.HTML
    evidence: gr.HTML


def _visit() -> _Visit:
    table = gr.Dataframe(headers=results_table.HEADERS, label="Results", interactive=False, wrap=True, render=False)
    alike = gr.HTML(visible=False, js_on_load=scripts.ALIKE, render=False)
    return _Visit(gr.State([], time_to_live=_VISIT_S), table, gr.HTML(render=False), alike)


def _one_recording(actions: Actions, visit: _Visit) -> None:
    latest, turn = gr.State(None, time_to_live=_VISIT_S), gr.State(Turn(), time_to_live=_VISIT_S)
    with gr.Row():
        with gr.Column(min_width=320):
            recorder = _recorder()
        with gr.Column(min_width=320):
            notice = gr.HTML(wording.notice("The answer appears here."))
            answer = gr.HTML(visible=False)
            scores = gr.Label(label="All genres", visible=False, show_heading=False)
    sections = gr.HTML(visible=False, js_on_load=scripts.TIMELINE)
    inside = _inside()
    shown = [notice, answer, scores, sections, inside.place, latest]
    remembered = [visit.results, visit.table, visit.downloads, inside.part, inside.genre, inside.place]
    for classified in _classify(actions, recorder, turn, shown):
        kept = classified.then(actions.remember, [latest, visit.results], remembered, **_QUIET)
        kept.then(lambda: [gr.HTML(visible=False)] * 2, None, [inside.spectrogram, inside.evidence], **_QUIET)
        kept.then(actions.alike, visit.results, visit.alike, **_QUIET)
    _look_inside(actions, recorder.audio, inside)


def _recorder() -> _Recorder:
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
    gr.HTML(wording.notice(wording.NO_MICROPHONE, hidden=True), js_on_load=scripts.MICROPHONE, elem_id="no-microphone")
    with gr.Row():
        button = gr.Button("Tell the genre", variant="primary")
        # Browsers call webm and mp4 videos, which the recorder above does not take.
        other = gr.UploadButton("From a video file")
        refuse_urls(other, wording.UPLOAD_FIRST)
    chosen = gr.Dataset(
        label="Examples: synthetic music, composed by a program",
        components=[gr.Textbox(visible=False)],
        samples=[[genre] for genre in examples()],
        type="index",
    )
    return _Recorder(audio, button, other, chosen)


def _inside() -> _Inside:
    with gr.Accordion("Look inside", open=False, visible=False) as place:
        with gr.Row():
            part = gr.Dropdown(label="Part of the recording")
            genre = gr.Dropdown(label="Genre")
        with gr.Row():
            show_sound = gr.Button("Show its sound")
            ask_seconds = gr.Button("Which seconds mattered?")
        spectrogram = gr.HTML(visible=False)
        evidence = gr.HTML(visible=False)
    return _Inside(place, part, genre, show_sound, ask_seconds, spectrogram, evidence)


def _classify(actions: Actions, recorder: _Recorder, turn: gr.State, shown: list[Any]) -> list[Dependency]:
    """Classify when asked, and after an example or a video file was chosen; what is listened to then has an end."""
    audio, files = recorder.audio, list(examples().values())
    # Programs may ask for several recordings at once, and get an answer to each.
    gr.Button(visible=False).click(actions.answer, audio, shown, api_name="classify", **_LISTENS)
    asked = gr.on(
        [recorder.button.click, audio.input],
        actions.classify,
        [audio, turn],
        shown,
        api_visibility="private",
        **_LISTENS,
    )
    picked = recorder.examples.click(
        lambda index: str(as_upload(files[index], upload_dir())), recorder.examples, audio, **_QUIET
    )
    uploaded = recorder.other.upload(lambda path: path, recorder.other, audio, **_QUIET)
    chosen = [
        event.then(actions.classify, [audio, turn], shown, api_visibility="private", **_LISTENS)
        for event in (picked, uploaded)
    ]
    return [asked, *chosen]


def _look_inside(actions: Actions, audio: gr.Audio, inside: _Inside) -> None:
    pictures: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "pictures"}
    inside.show_sound.click(
        actions.spectrogram, [audio, inside.part], inside.spectrogram, concurrency_limit=2, **pictures
    )
    inside.ask_seconds.click(actions.evidence, [audio, inside.part, inside.genre], inside.evidence, **pictures)


def _compare(actions: Actions, visit: _Visit, max_upload_bytes: int) -> None:
    gr.Markdown("Everything heard in this visit. Drop several files together to fill the table row by row.")
    drop = gr.HTML(multi_upload.render(max_upload_bytes), js_on_load=scripts.MULTI_UPLOAD)
    notice = gr.HTML(visible=False)
    for part in (visit.table, visit.downloads, visit.alike):
        part.render()  # type: ignore[no-untyped-call]
    drop.upload(
        actions.batch,
        visit.results,
        [notice, visit.results, visit.table, visit.downloads],
        api_visibility="private",
        **_LISTENS,
    ).then(actions.alike, visit.results, visit.alike, **_QUIET)
    visit.alike.select(actions.alike_chosen, visit.results, visit.alike, **_QUIET)


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
