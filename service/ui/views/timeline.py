"""Timeline of a recording: the waveform, and beneath it each window, its genre as colour, its confidence as height."""

from html import escape
from itertools import groupby

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from service.audio import Window
from service.schemas import Classification, Span
from service.ui.views.figures import DPI, colours, data_uri
from service.ui.views.wording import clock, percent

_WIDTH_PX, _HEIGHT_PX = 1_200, 200
# Peaks of a whole recording, one for three pixels.
_PEAKS = 400
_MAX_SECTIONS = 60
_TICKS = 5

# Seen on both backgrounds, so that one picture does for light and dark.
_WAVEFORM = "#7d8597"

Peaks = npt.NDArray[np.float32]
"""float32 (n, 2): seconds, and the loudest sample around them in 0..1."""


def peaks_of(window: Window, sampling_rate: int, windows: int) -> Peaks:
    """The outline of one of the `windows` of a recording; each has fewer peaks the more windows there are."""
    levels = np.abs(window.waveform[: max(1, round((window.end_s - window.start_s) * sampling_rate))])
    starts = np.unique(np.linspace(0, len(levels), max(1, _PEAKS // windows), endpoint=False).astype(int))
    peaks = np.stack([window.start_s + starts / sampling_rate, np.maximum.reduceat(levels, starts)], axis=1)
    return peaks.astype(np.float32)


def render(answer: Classification, peaks: Peaks) -> str:
    """HTML of the timeline: the picture under a slider, its scale, the genres' colours, and the sections to play from.
    Takes a tenth of a second: call it in `Pictures`."""
    spans = answer.timeline or []
    colour = colours([score.label for score in answer.scores])
    genres = sorted({span.genre for span in spans})
    legend = "".join(
        f'<li><span class="swatch" style="background:{colour[genre]}"></span>{escape(genre)}</li>' for genre in genres
    )
    ticks = "".join(f"<span>{clock(answer.duration_s * tick / (_TICKS - 1))}</span>" for tick in range(_TICKS))
    return (
        '<section class="timeline" aria-label="Timeline"><h3>Timeline</h3>'
        f'<div class="plot"><img src="{_picture(spans, peaks, answer.duration_s, colour)}" alt="">'
        f'<input type="range" min="0" max="{answer.duration_s:.1f}" step="any" value="0"'
        ' aria-label="Play from this second of the recording"></div>'
        f'<div class="ticks" aria-hidden="true">{ticks}</div>'
        f'<ul class="legend" aria-label="Colours">{legend}</ul>'
        f'<ol class="sections" aria-label="Sections, each plays from its start">{_sections(spans, colour)}</ol>'
        "</section>"
    )


def _picture(spans: list[Span], peaks: Peaks, duration_s: float, colour: dict[str, str]) -> str:
    figure = Figure((_WIDTH_PX / DPI, _HEIGHT_PX / DPI), facecolor="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, max(duration_s, 0.1)), ylim=(-1, 1))
    axes.axis("off")
    loudest = max(float(peaks[:, 1].max(initial=0)), 1e-3)
    # The waveform has the upper half, 0..1; the genres have the lower one, and grow from its floor.
    heights = peaks[:, 1] / loudest * 0.46
    # As wide as there is room for, in points.
    width = 0.7 * 72 / DPI * _WIDTH_PX * np.diff(peaks[:, 0]).min(initial=duration_s) / max(duration_s, 0.1)
    axes.vlines(peaks[:, 0], 0.52 - heights, 0.52 + heights, color=_WAVEFORM, linewidth=max(width, 0.5))
    axes.bar(
        [span.start_s for span in spans],
        [span.confidence * 0.96 for span in spans],
        [span.end_s - span.start_s for span in spans],
        bottom=-1,
        align="edge",
        color=[colour[span.genre] for span in spans],
    )
    return data_uri(figure)


def _sections(spans: list[Span], colour: dict[str, str]) -> str:
    """Neighbours of one genre together, each a button that plays from there."""
    sections = [(genre, list(group)) for genre, group in groupby(spans, key=lambda span: span.genre)]
    items = []
    for genre, group in sections[:_MAX_SECTIONS]:
        confidence = sum(span.confidence for span in group) / len(group)
        items.append(
            f'<li><button type="button" data-start="{group[0].start_s}" style="border-color:{colour[genre]}">'
            f"<b>{clock(group[0].start_s)}</b> {escape(genre)} {percent(confidence)}</button></li>"
        )
    if rest := len(sections) - len(items):
        items.append(f"<li>and {rest} more</li>")
    return "".join(items)
