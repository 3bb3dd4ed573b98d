"""The wire formats: what the routes answer. Their docstrings are what `/docs` shows."""

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from service.audio.quality import WarningCode


def schema_of(type_: Any, mode: Literal["validation", "serialization"] = "serialization") -> dict[str, Any]:
    """The JSON schema of a type, for the parts of the OpenAPI document that FastAPI does not write itself.

    It refers to the document's schemas; `$defs` holds those that it needs, which `api.openapi` moves there.
    mode: serialization for what is answered, validation for what is sent.
    """
    schemas, definitions = TypeAdapter.json_schemas(
        [(0, mode, TypeAdapter(type_))], ref_template="#/components/schemas/{model}"
    )
    return {**schemas[0, mode], "$defs": definitions.get("$defs", {})}


Decision = Literal["accepted", "uncertain"]


class Score(BaseModel):
    """The probability of a genre."""

    label: str = Field(examples=["blues"])
    score: float = Field(ge=0, le=1, description="Calibrated probability of this genre.")


class ModelReference(BaseModel):
    """The model that answered."""

    id: str = Field(description="Hub id, or the name of the local folder.", examples=["you/genre"])
    revision: str = Field(description="Commit of the model repo that answered.")
    backend: str = Field(description="What computed the answer.", examples=["torch-cpu-float32"])


class Span(BaseModel):
    """A window of a timeline."""

    start_s: float
    end_s: float
    genre: str
    confidence: float = Field(ge=0, le=1)
    scores: list[Score]


class RecordingWarning(BaseModel):
    """A reason to trust the answer about a recording less."""

    code: WarningCode
    detail: str = Field(examples=["12.0 % of the samples stand at the loudest value. Record at a lower level."])


class ClassifyOptions(BaseModel):
    """What a request asks of the answer."""

    top_k: int | None = Field(None, ge=1, description="How many scores to answer; all by default.")
    max_windows: int | None = Field(
        None, ge=1, description="Analyse at most so many windows, spread evenly; the service has a bound of its own."
    )
    timeline: bool = Field(False, description="Also answer the genre of each window of the whole recording.")
    embedding: bool = Field(False, description="Also answer the vector that the model's classifier gets.")


_EXAMPLE: JsonDict = {
    "genre": "blues",
    "confidence": 0.93,
    "decision": "accepted",
    "scores": [{"label": "blues", "score": 0.93}, {"label": "jazz", "score": 0.04}],
    "duration_s": 187.2,
    "analysed_s": 90.0,
    "warnings": [],
    "model": {"id": "you/genre", "revision": "3f2c9a54d1b7e8f60312c4a5968d7e0b1f2a3c4d", "backend": "openvino-bf16"},
    "request_id": "1f0c9a36-5c3b-4a3e-9d8e-0f6f0b9b6c1d",
}


class Classification(BaseModel):
    """The genre of one recording."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    genre: str = Field(description="The most probable genre, also when the decision is `uncertain`.")
    confidence: float = Field(ge=0, le=1, description="Score of `genre`.")
    decision: Decision = Field(
        description="`uncertain` when the confidence is under the model's threshold, no genre reaches its own, or the "
        "recording is `unfamiliar`."
    )
    genres: list[str] | None = Field(
        None, description="Only of a model that tells several genres of a recording: those that reach their threshold."
    )
    scores: list[Score] = Field(
        description="Best first; over all genres they sum to 1, unless the model tells several of a recording."
    )
    duration_s: float = Field(description="Length of the recording in seconds.")
    analysed_s: float = Field(description="How many of those seconds the model was shown.")
    warnings: list[RecordingWarning] = Field([], description="What makes the recording hard to judge; usually empty.")
    timeline: list[Span] | None = Field(
        None, description="Only when asked for. Windows end to end; silent ones are left out."
    )
    embedding: list[float] | None = Field(
        None,
        description="Only when asked for. What the model's classifier gets, the mean over the windows: recordings that "
        "sound alike to the model lie close together.",
    )
    logits: SkipJsonSchema[dict[str, float] | None] = Field(
        None, exclude=True, description="Mean over the windows, by label, not calibrated; for other dialects only."
    )
    etag: SkipJsonSchema[str] = Field(
        "", exclude=True, description="Names the answer, all but the id of its request; for the header alone."
    )
    model: ModelReference
    request_id: str = Field("", description="Also in the X-Request-ID header and in every log line of the request.")


class TrainedOn(BaseModel):
    """The training data of a model."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Name of the data set.", examples=["marsyas/gtzan"])
    synthetic: bool = Field(
        False, description="Whether a program composed the music: the model knows no real recordings."
    )


class ModelCard(BaseModel):
    """The loaded model, and everything that serving took from its repo."""

    id: str
    revision: str
    backend: str
    backend_note: str | None = Field(
        description="Why a slower backend or graph is used than this machine could run; usually null."
    )
    embedding: bool = Field(description="Whether answers can have an embedding.")
    familiarity: bool = Field(description="Whether answers warn of recordings unlike the music of the training.")
    labels: list[str]
    sampling_rate: int = Field(description="Hz")
    window_s: float = Field(description="Length of one window in seconds.")
    temperature: float = Field(description="Logits are divided by it before the softmax.")
    uncertain_below: float = Field(description="Confidence under which a decision is `uncertain`.")
    thresholds: dict[str, float] | None = Field(
        description="Score from which on each genre is told, of a model that tells several of a recording."
    )
    trained_on: TrainedOn | None = Field(description="Its training data, if the repo says so.")
    stale_since: AwareDatetime | None = Field(
        description="Since when the Hub does not say whether this is the newest commit; usually null."
    )
    defaulted: list[str] = Field(description="Which of these the repo does not say, so that a default is used.")


class Reload(BaseModel):
    """What became of a reload."""

    result: Literal["swapped", "unchanged", "rolled_back"]
    model: ModelReference = Field(description="The model that answers now.")


class Health(BaseModel):
    """The state of the service."""

    status: Literal["alive", "ready"]


class Problem(BaseModel):
    """An error, as RFC 9457 describes it (application/problem+json)."""

    type: str = Field(examples=["urn:music-genre:undecodable-audio"])
    title: str
    status: int
    detail: str = Field(description="What is wrong with this request, and what to do.")
    request_id: str


class WindowLine(BaseModel):
    """A line of a streamed answer: one more window was heard."""

    done: int = Field(description="Windows that were read.")
    total: int = Field(description="Windows of the whole answer.")
    window: Span | None = Field(None, description="What was heard; left out where the window is silent.")


class AnswerLine(BaseModel):
    """The last line of a streamed answer."""

    answer: Classification


class ProblemLine(BaseModel):
    """The last line of a streamed answer that could not be completed."""

    problem: Problem


class FileLine(BaseModel):
    """A line of the answer about several files."""

    index: int = Field(description="Number of the file in the request, from 0.")
    file: str = Field(description="Its name, as the request has it.")
    answer: Classification | None = None
    problem: Problem | None = Field(None, description="In place of the answer: why there is none about this file.")


class ErrorObject(BaseModel):
    """An error, as clients of Hugging Face's API and of the Open Inference Protocol read it."""

    error: str = Field(description="What is wrong with this request, and what to do.")
    type: str = Field(examples=["urn:music-genre:undecodable-audio"])
    request_id: str


class LabelScore(BaseModel):
    """A label as the audio-classification task answers it."""

    label: str = Field(examples=["blues"])
    score: float = Field(description="A calibrated probability, unless another function than the model's is asked for.")


class EndpointInfo(BaseModel):
    """The model behind an endpoint, in the words of Hugging Face's Inference Endpoints."""

    model_id: str
    model_sha: str = Field(description="Commit of the model repo.")
    model_pipeline_tag: Literal["audio-classification"]
    version: str = Field(description="Version of the service.")
