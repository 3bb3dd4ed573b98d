"""Pictures of one window: its mel spectrogram, and the seconds that spoke for a genre."""

from html import escape

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from service.audio import Window
from service.classification.occlusion import Evidence, Segment
from service.ui.views.figures import DPI, data_uri
from service.ui.views.mel import MIN_HZ, RANGE_DB, Decibels, hertz_to_mel, mel_decibels
from service.ui.views.wording import clock, percent

_WIDTH_PX, _HEIGHT_PX = 800, 380
_DARK, _LIGHT, _FOR, _AGAINST = "#10131c", "#e8eaf0", "#f0a43a", "#6b9df0"

_FRAME_S = 0.064
_MELS = 96
_MAX_FRAMES = 800

# A drop of less is noise: nothing is said of it in words.
_MIN_DROP = 0.02
_MIN_SHOWN = 5
_MAX_NAMED = 3


def spectrogram_html(window: Window, sampling_rate: int) -> str:
    """HTML of the mel spectrogram of a window."""
    text = f"Mel spectrogram from {clock(window.start_s)} to {clock(window.end_s)}"
    uri = _spectrogram_picture(window, sampling_rate)
    return (
        f'<figure class="inside"><img src="{uri}" alt="{text}: bright is loud, low tones are at the bottom.">'
        f"<figcaption>{text}. Bright is loud, low tones are at the bottom.</figcaption></figure>"
    )


def evidence_html(evidence: Evidence) -> str:
    """HTML of an evidence picture: what each part of a window contributes to a genre; and the same in words."""
    text = _in_words(evidence)
    genre = escape(evidence.genre)
    return (
        f'<figure class="inside"><img src="{_evidence_picture(evidence)}" alt="Evidence for {genre}: {text}">'
        f"<figcaption>{text} Each part was silenced in turn: what speaks for {genre} is orange, what speaks against it"
        " blue.</figcaption></figure>"
    )


def decibels_of(window: Window, sampling_rate: int) -> Decibels:
    """The mel spectrogram of the part of a window that holds the recording, of about `_MAX_FRAMES` frames at most."""
    waveform = window.waveform[: max(1, round((window.end_s - window.start_s) * sampling_rate))]
    frame = round(_FRAME_S * sampling_rate)
    return mel_decibels(
        waveform,
        sampling_rate,
        frame=frame,
        hop=max(frame // 4, len(waveform) // _MAX_FRAMES),
        mels=_MELS,
    )


def _spectrogram_picture(window: Window, sampling_rate: int) -> str:
    figure, axes = _figure()
    axes.imshow(
        decibels_of(window, sampling_rate),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-RANGE_DB,
        vmax=0,
        extent=(window.start_s, window.end_s, 0, _MELS),
    )
    shown = [hertz for hertz in (125, 500, 1_000, 2_000, 4_000, 8_000) if hertz <= sampling_rate / 2]
    low, high = hertz_to_mel(MIN_HZ), hertz_to_mel(sampling_rate / 2)
    axes.set_yticks(
        [(hertz_to_mel(hertz) - low) / (high - low) * _MELS for hertz in shown], [f"{hertz:,} Hz" for hertz in shown]
    )
    return data_uri(figure)


def _evidence_picture(evidence: Evidence) -> str:
    figure, axes = _figure()
    drops = [segment.probability_drop * 100 for segment in evidence.segments]
    axes.bar(
        [segment.start_s for segment in evidence.segments],
        drops,
        [segment.end_s - segment.start_s for segment in evidence.segments],
        align="edge",
        color=[_FOR if segment.probability_drop > 0 else _AGAINST for segment in evidence.segments],
        edgecolor=_DARK,
    )
    axes.axhline(0, color=_LIGHT, linewidth=1)
    axes.set_ylabel("points", color=_LIGHT, fontsize=14)
    # Less than this is noise, and shall look like it.
    low, high = min(drops), max(drops)
    axes.set_ylim(min(low * 1.1, -_MIN_SHOWN), max(high * 1.1, _MIN_SHOWN))
    axes.margins(x=0)
    return data_uri(figure)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure((_WIDTH_PX / DPI, _HEIGHT_PX / DPI), facecolor=_DARK, layout="tight")
    axes = figure.add_subplot(facecolor=_DARK)
    axes.tick_params(colors=_LIGHT, labelsize=14)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g} s")
    return figure, axes


def _in_words(evidence: Evidence) -> str:
    genre = escape(evidence.genre)
    strongest = sorted(evidence.segments, key=lambda segment: segment.probability_drop, reverse=True)[:_MAX_NAMED]
    named = [_part(segment) for segment in strongest if segment.probability_drop >= _MIN_DROP]
    share = f"In this part {genre} has {percent(evidence.probability)}."
    if not named:
        return f"{share} No single moment decides it."
    return f"{share} What speaks most for it: {', '.join(named)}."


def _part(segment: Segment) -> str:
    return f"{segment.start_s:.1f} to {segment.end_s:.1f} s ({segment.probability_drop * 100:.0f} points)"
