"""serving.json: what serving must know of a model besides its weights. Training writes it, the service reads it."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.audio import MIN_DURATION_S
from service.model.layout import GOLDEN_FOLDER, GRAPH_FOLDER, SERVING
from service.schemas import TrainedOn

__all__ = [
    "MAX_WINDOW_S",
    "MIN_WINDOW_S",
    "FamiliarityEntry",
    "Golden",
    "GoldenClip",
    "Precision",
    "Reference",
    "ServingFile",
    "TrainedOn",
    "sha256",
    "stamp_graphs",
]

MIN_WINDOW_S = MIN_DURATION_S
"""A shorter window would leave out audio that is long enough to be classified."""

MAX_WINDOW_S = 120.0
"""A decoder has memory for so much of eight channels at 48 kHz, or for 30 s of them at 192 kHz."""


Probability = Annotated[float, Field(ge=0, le=1)]

Precision = Literal["float32", "bfloat16", "float16", "int8"]
"""What a backend computes in."""

_MAX_GOLDEN_CLIPS = 16


class GoldenClip(BaseModel):
    """A clip with the scores that the model gave it in training.

    file: its path in the repo. scores: the calibrated probability of each label, the mean over the clip's windows.
    """

    file: str = Field(pattern=rf"^{GOLDEN_FOLDER}/\w[\w.-]*\.flac$")
    sha256: str
    scores: dict[str, Probability]


class Golden(BaseModel):
    """The golden clips of a model.

    tolerances: by how much a score may differ, by the precision that the backend computes in.
    """

    clips: list[GoldenClip] = Field(min_length=1, max_length=_MAX_GOLDEN_CLIPS)
    tolerances: dict[Precision, Probability] = Field(default_factory=dict)


class Reference(BaseModel):
    """What the model answered to recordings that it was not trained on: what serving's answers can be compared with.

    clips: how many. genres: the share of clips with each best genre. confidence: the share of clips in each tenth of
    the best score, from 0 to 1.
    """

    clips: int = Field(ge=1)
    genres: dict[str, Probability]
    confidence: list[Probability] = Field(min_length=10, max_length=10)


class FamiliarityEntry(BaseModel):
    """The file by which unfamiliar recordings are told (`service.model.familiarity`).

    threshold: the distance from which on a recording is unfamiliar. clips: held-out clips that it was chosen on.
    """

    sha256: str
    threshold: float = Field(gt=0, allow_inf_nan=False)
    clips: int = Field(ge=1)


class ServingFile(BaseModel):
    """serving.json, version 1. For a field that is None the service chooses (`service.model.artefact`).

    Unknown fields are ignored: those of later versions, and `fill` of earlier ones. A changed meaning raises the
    version. thresholds: of a model that tells several genres of a recording, by label; `uncertain_below` for those that
    are missing. graphs: the SHA-256 of each exported file, by its path in the repo. golden, reference, familiarity:
    None in repos of earlier versions.
    """

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    schema_version: Literal[1]
    window_s: float | None = Field(None, ge=MIN_WINDOW_S, le=MAX_WINDOW_S)
    temperature: float | None = Field(None, gt=0, allow_inf_nan=False)
    confidence_threshold: float | None = Field(None, ge=0, le=1, alias="uncertain_below")
    thresholds: dict[str, Probability] | None = None
    trained_on: TrainedOn | None = None
    graphs: dict[str, str] = Field(default_factory=dict)
    golden: Golden | None = None
    reference: Reference | None = None
    familiarity: FamiliarityEntry | None = None

    def write(self, folder: Path) -> None:
        """Write the file into a model folder; fields that are None are left out."""
        text = self.model_dump_json(indent=2, by_alias=True, exclude_none=True)
        (folder / SERVING).write_text(f"{text}\n", encoding="utf-8")


def stamp_graphs(folder: Path) -> None:
    """Write the checksums of a model folder's graphs into its serving.json: the service runs no others."""
    files = sorted(path for path in (folder / GRAPH_FOLDER).rglob("*") if path.is_file())
    graphs = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    serving = ServingFile.model_validate_json((folder / SERVING).read_bytes())
    serving.model_copy(update={"graphs": graphs}).write(folder)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
