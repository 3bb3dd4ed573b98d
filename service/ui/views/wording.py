"""Wording of the page: numbers and errors in words that a listener understands."""

from html import escape

from service.errors import (
    AudioTooLong,
    AudioTooShort,
    DeadlineExceeded,
    Draining,
    ModelLoading,
    NonFiniteScores,
    Overloaded,
    ServiceError,
    SilentAudio,
    TooManyConnections,
    UndecodableAudio,
    UnsupportedMedia,
)

CHOOSE_FIRST = "Choose a recording first: drop a file, record one, or take an example."
EXPIRED = "The upload has expired. Choose the recording again."
UPLOAD_FIRST = "Upload the file through this page."
NO_MICROPHONE = (
    "There is no microphone here: browsers give it only to pages at https addresses or on localhost. Drop a file, or "
    "ask whoever runs this page for an https address."
)
NOT_SENT = "This file could not be sent: it is too large, or the connection broke."
SYNTHETIC = (
    "This model was trained on synthetic music, which a program composed. It knows nothing of real recordings: its "
    "answers about them mean little."
)
FAILED = "Something went wrong on our side. Try again; if it stays so, tell whoever runs this page."

_ERRORS: dict[type[ServiceError], str] = {
    UndecodableAudio: "This recording is damaged or incomplete, so it cannot be played. Export or download it again.",
    UnsupportedMedia: "This is not a recording that can be played here. mp3, m4a, wav, flac, ogg and most others work.",
    AudioTooShort: "This recording is too short to tell anything. Half a second is the least, half a minute is good.",
    SilentAudio: "Nothing can be heard in this recording. Check the microphone, or the volume it was recorded with.",
    AudioTooLong: "This recording is too long for this service. Cut out a part of it.",
    DeadlineExceeded: "Listening took too long, as the service is busy. Try again in a moment.",
    Overloaded: "Many recordings are waiting just now. Try again in a moment.",
    ModelLoading: "The service is still getting ready. Try again in a moment.",
    TooManyConnections: "Many people are here just now. Try again in a moment.",
    NonFiniteScores: "The model cannot make sense of this recording. Try it at a lower level, or as a 16-bit file.",
    Draining: "The service is being restarted. Try again in a moment.",
}

_SURE = ((0.9, "very sure"), (0.75, "quite sure"), (0.5, "fairly sure"), (0.3, "not very sure"), (0.0, "a guess"))


def explain(error: ServiceError) -> str:
    """An error as one or two sentences: what is wrong, and what to do."""
    return _ERRORS.get(type(error), FAILED)


def sureness(confidence: float) -> str:
    """A confidence in words."""
    return next(words for least, words in _SURE if confidence >= least)


def percent(share: float) -> str:
    """A share for reading, not for computing: no certainty is rounded up to 100 %."""
    return f"{min(round(share * 100), 99) if share < 1 else 100} %"


def bar(share: float) -> float:
    """A share for Gradio's bars, which round to whole percents by themselves: no certainty becomes 100 %."""
    return min(round(share, 4), 0.99) if share < 1 else 1.0


def clock(seconds: float) -> str:
    """Minutes and seconds, as players show them: 75 is 1:15."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def notice(text: str, *, alert: bool = False, hidden: bool = False) -> str:
    """HTML. alert: for errors; a screen reader reads them at once. hidden: until a script shows it."""
    kind = 'class="notice alert" role="alert"' if alert else 'class="notice" role="status"'
    return f"<p {kind}{' hidden' if hidden else ''}>{escape(text)}</p>"
