"""The objects of the protocol, in the words of its specification.

Parameters that the service does not know are ignored, as other servers do: clients send some of their own.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.json_values import WHOLE

Datatype = Literal["BYTES", "FP32"]

# The rate in bytes, 4 times as much, has to fit into the header of a WAV file.
SamplingRate = Annotated[int, Field(ge=1, lt=1 << 30, strict=False, description="Samples per second of `waveform`.")]


class ServerLive(BaseModel):
    """The process is alive."""

    live: bool


class ServerReady(BaseModel):
    """The model is loaded and warm."""

    ready: bool


class ModelReady(BaseModel):
    """This model is loaded and warm."""

    name: str
    ready: bool


class ServerMetadata(BaseModel):
    """The service, as a server of the protocol."""

    name: str
    version: str
    extensions: list[str]


class MetadataTensor(BaseModel):
    """A tensor that the model takes or answers."""

    name: str
    datatype: Datatype
    shape: list[int] = Field(description="-1 is any size.")


class ModelMetadata(BaseModel):
    """The model, as the protocol describes it."""

    name: str
    versions: list[str] = Field(description="The commit of the model repo that answers.")
    platform: str = Field(description="What computes the answers.", examples=["openvino-bf16"])
    inputs: list[MetadataTensor] = Field(description="A request holds one of them.")
    outputs: list[MetadataTensor]


class _Sent(BaseModel):
    model_config = ConfigDict(strict=True)


class InputParameters(_Sent):
    """Parameters of an input."""

    model_config = ConfigDict(extra="allow")

    sampling_rate: SamplingRate | None = None
    binary_data_size: Annotated[int, Field(ge=0, lt=1 << 63), WHOLE] | None = Field(
        None, description="Bytes of the tensor behind the JSON, where it is not in `data`."
    )


class RequestInput(_Sent):
    """The recordings: either `audio`, encoded files, or `waveform`, mono samples."""

    name: Literal["audio", "waveform"]
    shape: list[Annotated[int, Field(ge=0), WHOLE]] = Field(
        description="Of `audio` the number of files; of `waveform` samples, or recordings and samples."
    )
    datatype: Datatype = Field(description="BYTES for `audio`, FP32 for `waveform`.")
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = Field(
        None, description="Files in base64, or numbers; flat or nested. Left out where the tensor follows the JSON."
    )


class OutputParameters(_Sent):
    """Parameters of an output."""

    model_config = ConfigDict(extra="allow")

    binary_data: bool | None = Field(None, description="Whether the tensor follows the JSON of the answer.")


class RequestOutput(_Sent):
    """An output that is asked for."""

    name: str
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Sent):
    """Parameters of a request."""

    model_config = ConfigDict(extra="allow")

    sampling_rate: SamplingRate | None = None
    binary_data_output: bool = Field(False, description="Whether all outputs follow the JSON of the answer.")


class InferenceRequest(_Sent):
    """A request to tell the genre of some recordings."""

    id: str | None = Field(None, description="Answered as it is.")
    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[list[RequestInput], Field(min_length=1, max_length=1)]
    outputs: list[RequestOutput] | None = Field(None, description="All outputs by default.")


class ResponseOutput(BaseModel):
    """A tensor of the answer."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: dict[str, int] | None = None
    data: list[str] | list[float] | None = Field(None, description="Row by row; left out where it follows the JSON.")


class InferenceResponse(BaseModel):
    """The genres of some recordings."""

    model_name: str
    model_version: str = Field(description="Commit of the model repo that answered.")
    id: str | None = None
    outputs: list[ResponseOutput]
