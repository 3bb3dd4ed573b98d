"""Where the graph of a model is: in its repo, in the cache, or made now."""

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

logger = logging.getLogger(__name__)

INT8 = "openvino/int8.xml"
"""Where in the model folder the int8 graph lies. Training writes it only when it answers as the float one does."""

_FLOAT = "openvino/model.xml"
_CONVERSION_TIMEOUT_S = 900


class ConversionError(Exception):
    """The model is sound, and OpenVINO cannot make a graph of it."""


def graph_of(artefact: Artefact) -> Path:
    """The graph that the repo ships, in int8 if it has one; else one that is converted once for this commit and these
    library versions.

    Takes seconds when it has to convert. Raises StartupError when the model is none or a shipped graph is damaged,
    ConversionError when the model has parts that OpenVINO does not know.
    """
    for name in (INT8, _FLOAT):
        # An int8 graph that serving.json does not name is left over from another model.
        if (artefact.folder / name).is_file() and (name in artefact.graphs or name == _FLOAT):
            _verify(artefact, name)
            return artefact.folder / name
    cache = _cache(artefact) / _key(artefact)
    graph = cache / "model.xml"
    if not graph.is_file():
        _convert_into(cache, artefact)
    return graph


def _verify(artefact: Artefact, name: str) -> None:
    """The graph's two files against their checksums in serving.json, where it has any."""
    for path in (name, name.replace(".xml", ".bin")):
        expected = artefact.graphs.get(path)
        if expected and _sha256(artefact.folder / path) != expected:
            raise StartupError(
                f"{path} of {artefact.model_id} is not the file that serving.json names. Export the graph again with "
                "python -m training.export, and push the model again."
            )


def _sha256(path: Path) -> str | None:
    """None of a file that is missing."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _key(artefact: Artefact) -> str:
    """Of everything that decides the graph. The revision of a local folder is a hash of its content."""
    libraries = [f"{name}-{version(name)}" for name in ("openvino", "torch", "transformers")]
    parts = [artefact.model_id, artefact.revision, str(artefact.window.samples), *libraries]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cache(artefact: Artefact) -> Path:
    """Beside the models that the Hub client keeps; without room or rights there, a folder for this process alone."""
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
    """Of a graph in float32: twice the weights, should these be in 16 bits."""
    return 2 * sum(path.stat().st_size for path in artefact.folder.glob("*.safetensors"))


def _convert_into(cache: Path, artefact: Artefact) -> None:
    """Convert beside the cache, then rename: nobody ever sees half a graph, and of two processes the first wins."""
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
        result = subprocess.run(
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
    if result.returncode == 1 and "Traceback" not in result.stderr:
        raise StartupError(result.stderr.strip().splitlines()[-1])
    if result.returncode != 0:
        raise ConversionError(result.stderr.strip().splitlines()[-1] if result.stderr else f"exit {result.returncode}")
