"""Finds the OpenVINO graph of a model: shipped in its repo, cached, or converted on first use."""

import errno
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import constants

from service.errors import StartupError
from service.model.artefact import Artefact
from service.model.convert import EXIT_NO_MODEL
from service.model.layout import GRAPH, INT8_GRAPH, graph_weights
from service.model.serving_file import sha256

logger = logging.getLogger(__name__)

_CONVERSION_TIMEOUT_S = 900


class ConversionError(Exception):
    """OpenVINO cannot make a graph of a model that is sound."""


def graph_of(artefact: Artefact) -> Path:
    """The graph that the repo ships, in int8 if it has one; else one that is converted once for this commit and these
    library versions.

    Takes seconds when it has to convert. Raises StartupError when the model is none or a shipped graph is damaged,
    ConversionError when the model has parts that OpenVINO does not know.
    """
    for name in (INT8_GRAPH, GRAPH):
        # An int8 graph that serving.json does not name is left over from another model.
        if (artefact.folder / name).is_file() and (name in artefact.graphs or name == GRAPH):
            _verify(artefact, name)
            return artefact.folder / name
    cache = _cache(artefact) / _key(artefact)
    graph = cache / "model.xml"
    if not graph.is_file():
        _convert_into(cache, artefact)
    return graph


def _verify(artefact: Artefact, name: str) -> None:
    """Compare the graph's two files with their checksums in serving.json, where it has any."""
    for path in (name, graph_weights(name)):
        file, expected = artefact.folder / path, artefact.graphs.get(path)
        if expected and not (file.is_file() and sha256(file) == expected):
            raise StartupError(
                f"{path} of {artefact.model_id} is not the file that serving.json names. Export the graph again with "
                "python -m training.export, and push the model again."
            )


def _key(artefact: Artefact) -> str:
    """A hash of everything that decides the graph. The revision of a local folder is a hash of its content."""
    libraries = [f"{name}-{version(name)}" for name in ("openvino", "torch", "transformers")]
    parts = [artefact.model_id, artefact.revision, str(artefact.window.samples), *libraries]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cache(artefact: Artefact) -> Path:
    """The folder beside the Hub client's cache; without room or rights there, one for this process alone."""
    cache = Path(constants.HF_HOME) / "music-genre"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
        if not (cache / _key(artefact)).exists() and shutil.disk_usage(cache).free < _most_bytes(artefact):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        logger.warning("HF_HOME cannot be written or is full: the graph is converted anew at each start.")
        return Path(tempfile.mkdtemp(prefix="music-genre-graph-"))
    return cache


def _most_bytes(artefact: Artefact) -> int:
    """An upper bound on a float32 graph: twice the weights, should these be in 16 bits."""
    return 2 * sum(path.stat().st_size for path in artefact.folder.glob("*.safetensors"))


def _convert_into(cache: Path, artefact: Artefact) -> None:
    """Convert beside the cache, then rename: no process ever reads half a graph, and of two the first wins."""
    logger.info("converting the model to an OpenVINO graph, once")
    with tempfile.TemporaryDirectory(dir=cache.parent, prefix="converting-") as folder:
        made = Path(folder, "graph")
        made.mkdir()
        _run(artefact, made / "model.xml")
        try:
            made.rename(cache)
        except OSError:
            if not (cache / "model.xml").is_file():
                raise


def _run(artefact: Artefact, graph: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "TOKEN" not in name}
    try:
        # The command is ours; only paths are put into it.
        result = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "service.model.convert", artefact.folder, graph, artefact.model_id],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_CONVERSION_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConversionError(f"no end after {_CONVERSION_TIMEOUT_S} s") from error
    if result.returncode == EXIT_NO_MODEL:
        raise StartupError(result.stderr.strip().splitlines()[-1])
    if result.returncode != 0:
        raise ConversionError(result.stderr.strip().splitlines()[-1] if result.stderr else f"exit {result.returncode}")
