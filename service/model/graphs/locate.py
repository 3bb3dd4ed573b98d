"""Finds the OpenVINO graphs of a model: shipped in its repo, cached, or converted on first use."""

import atexit
import errno
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import constants

from service.errors import StartupError
from service.model.artefact import Artefact
from service.model.graphs.conversion import EXIT_NO_MODEL
from service.model.layout import Graphs, TiledGraphs, WholeGraph, graph_candidates
from service.model.serving_file import sha256

logger = logging.getLogger(__name__)

_CONVERSION_TIMEOUT_S = 900

# Version of the graphs in the cache. Increase it when conversion makes other graphs than before.
_FORMAT = "2"

# Made when it is wanted, and again where something has cleaned up.
_own: Path | None = None


class ConversionError(Exception):
    """OpenVINO cannot make a graph of a model that is sound."""


@dataclass(frozen=True)
class Located:
    """The graphs of a model that this machine shall run.

    precision: of what is stored, `int8` or `float32`.
    """

    graphs: Graphs
    precision: str


def locate(artefact: Artefact) -> Located:
    """The graphs that the repo ships, in int8 if it has those; else such as are converted once for this commit and
    these library versions.

    Takes seconds when it has to convert. Raises StartupError when the model is none, a shipped graph is damaged, or
    none is shipped and torch is missing; ConversionError when the model has parts that OpenVINO does not know.
    """
    for precision, candidates in graph_candidates(artefact.folder).items():
        for graphs in candidates:
            main = graphs.files[0]
            # An int8 graph that serving.json does not name is left over from another model.
            if main.is_file() and (precision != "int8" or _path(artefact, main) in artefact.graphs):
                _verify(artefact, graphs)
                return Located(graphs, precision)
    if find_spec("torch") is None:
        raise StartupError(
            f"{artefact.model_id} ships no OpenVINO graphs, and torch, which makes them, is not installed. Add them to "
            "the repo with python -m training.export, or install music-genre-service[torch]."
        )
    folder = _cache(artefact) / _key(artefact)
    if not folder.is_dir():
        _convert_into(folder, artefact)
    tiled = TiledGraphs.inside(folder)
    return Located(tiled if tiled.encoder.is_file() else WholeGraph.inside(folder), "float32")


def _verify(artefact: Artefact, graphs: Graphs) -> None:
    """Compare the files with their checksums in serving.json, where it has any."""
    for file in graphs.files:
        path = _path(artefact, file)
        expected = artefact.graphs.get(path)
        if not file.is_file() or (artefact.graphs and sha256(file) != expected):
            raise StartupError(
                f"{path} of {artefact.model_id} is not the file that serving.json names. Export the graphs again with "
                "python -m training.export, and push the model again."
            )


def _path(artefact: Artefact, file: Path) -> str:
    return file.relative_to(artefact.folder).as_posix()


def _key(artefact: Artefact) -> str:
    """A hash of everything that decides the graphs. The revision of a local folder is a hash of its content."""
    libraries = [f"{name}-{version(name)}" for name in ("openvino", "torch", "transformers")]
    parts = [_FORMAT, artefact.model_id, artefact.revision, str(artefact.window.samples), *libraries]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cache(artefact: Artefact) -> Path:
    """The folder beside the Hub client's cache; without room or rights there, one for this process alone."""
    shared = Path(constants.HF_HOME) / "music-genre"
    try:
        shared.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=shared).close()
        if not (shared / _key(artefact)).exists() and shutil.disk_usage(shared).free < _most_bytes(artefact):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        logger.warning("HF_HOME cannot be written or is full: the graphs are converted anew at each start.")
        return _own_folder(_key(artefact))
    return shared


def _own_folder(key: str) -> Path:
    """The folder of this process, without the graphs of other models than that of the key: it may lie in memory."""
    global _own
    if _own is None or not _own.is_dir():
        _own = Path(tempfile.mkdtemp(prefix="music-genre-graph-"))
        atexit.register(shutil.rmtree, _own, ignore_errors=True)
    folder = _own
    for other in folder.iterdir():
        if other.name != key:
            # What an engine has open stays until that is closed.
            shutil.rmtree(other)
    return folder


def _most_bytes(artefact: Artefact) -> int:
    """An upper bound on a float32 graph: twice the weights, should these be in 16 bits."""
    return 2 * sum(path.stat().st_size for path in artefact.folder.glob("*.safetensors"))


def _convert_into(target: Path, artefact: Artefact) -> None:
    """Convert beside the cache, then rename: no process ever reads half a graph, and of two the first wins."""
    logger.info("converting the model to OpenVINO graphs, once")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="converting-") as folder:
        made = Path(folder, "graphs")
        made.mkdir()
        _run(artefact, made)
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():
                raise


def _run(artefact: Artefact, graphs: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "TOKEN" not in name}
    try:
        # The command is ours; only paths are put into it.
        result = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "service.model.graphs.conversion", artefact.folder, graphs, artefact.model_id],
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
