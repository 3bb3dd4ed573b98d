"""A typed client that openapi-python-client generates from the OpenAPI document classifies with a running service."""

import compileall
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from service.schemas import Classification
from tests.service.application import MP3, application
from tests.support.serving import serving

pytestmark = pytest.mark.thorough

KEY = "key-of-the-tests-0123456789"
NAME = "generated_genre_client"

# What the generator does not know: ranges of media types, for which it takes others of the same routes, and lines.
UNSUPPORTED = {"audio/*", "video/*", "application/x-ndjson"}


@pytest.fixture(scope="module")
def app(model_folder: Path) -> FastAPI:
    return application(model_folder, api_keys=KEY, decoders=1)


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with serving(app) as url:
        yield url


@pytest.fixture(scope="module")
def generated(app: FastAPI, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that holds the generated package, and what the generator said."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(app.openapi()))
    # Without its linters, which only change how the code looks.
    (folder / "config.yml").write_text("post_hooks: []\n")
    command = [str(Path(sys.executable).with_name("openapi-python-client")), "generate", "--meta", "none"]
    paths = ["--path", "openapi.json", "--config", "config.yml", "--output-path", NAME]
    done = subprocess.run([*command, *paths], cwd=folder, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return folder, said


def test_the_generator_leaves_out_nothing_but_what_it_does_not_know(generated: tuple[Path, str]) -> None:
    _, said = generated
    warnings = re.findall(r"^WARNING .*\n\n(.*)$", said, re.M)
    assert warnings
    unsupported = [re.search(r"Unsupported content.type ([\w*/-]+)", warning) for warning in warnings]
    assert {found[1] if found else "another warning" for found in unsupported} == UNSUPPORTED, said


def test_the_client_compiles_and_classifies(
    generated: tuple[Path, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = generated
    assert compileall.compile_dir(folder / NAME, quiet=1)
    monkeypatch.syspath_prepend(folder)

    def module(name: str) -> Any:
        return importlib.import_module(f"{NAME}.{name}")

    models, classify = module("models"), module("api.classify.classify")
    with module("client").AuthenticatedClient(base_url=url, token=KEY, timeout=60) as client:
        file = module("types").File(payload=BytesIO(MP3), file_name="song.mp3")
        answer = classify.sync(client=client, body=models.ClassifyFilesBody(file=file), top_k=3)
        assert isinstance(answer, models.Classification)
        assert answer.genre == answer.scores[0].label
        assert len(answer.scores) == 3
        assert answer.decision is models.ClassificationDecision.UNCERTAIN
        card = module("api.operate.model").sync(client=client)
        assert answer.genre in card.labels
        refused = classify.sync(client=client, body=module("types").File(payload=BytesIO(b"no music")))
        assert isinstance(refused, models.Problem)
        assert refused.type_ == "urn:music-genre:unsupported-media"


def _operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    paths = app.openapi()["paths"]
    return {f"{method} {path}": operation for path, item in paths.items() for method, operation in item.items()}


def test_operations_have_short_names_of_their_own(app: FastAPI) -> None:
    names = [operation["operationId"] for operation in _operations(app).values()]
    assert len(set(names)) == len(names)
    assert {"classify", "classify_batch", "model", "readyz", "audio_classification", "infer"} <= set(names)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)


def test_operations_are_described_and_say_what_may_fail(app: FastAPI) -> None:
    described = app.openapi()["components"]["schemas"]
    assert {"Problem", "ErrorObject", "Classification", "WindowLine", "FileLine", "InferenceRequest"} <= set(described)
    assert "HTTPValidationError" not in described
    for name, operation in _operations(app).items():
        assert len(operation["tags"]) == 1, name
        assert operation["summary"], name
        refusals = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert name.startswith("get ") or {"400", "401", "413", "422", "429", "500", "503"} <= refusals.keys(), name
        for status, answer in refusals.items():
            (content,) = answer["content"].values()
            assert content["schema"]["$ref"].rsplit("/")[-1] in {"Problem", "ErrorObject"}, (name, status)


def test_example_of_an_answer_is_one(app: FastAPI) -> None:
    (example,) = app.openapi()["components"]["schemas"]["Classification"]["examples"]
    assert Classification.model_validate(example).model_dump(exclude_none=True, mode="json") == example
