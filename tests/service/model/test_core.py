"""Models that come and go leave the process able to handle signals."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.model.artefact import read_artefact
from service.model.graphs.conversion import convert
from service.model.layout import GRAPH_FOLDER
from tests.support.processes import ROOT

_SWAPS = """
import signal, sys
from pathlib import Path
from service.model.graphs.runner import GraphRunner
from service.model.layout import graph_candidates

graphs = next(graphs for graphs in graph_candidates(Path(sys.argv[1]))["float32"] if graphs.files[0].is_file())
signal.signal(signal.SIGTERM, lambda number, frame: print("handled", flush=True))
runners = [GraphRunner(graphs, 16_000, 1, "f32")]
for _ in range(3):
    runners.append(GraphRunner(graphs, 16_000, 1, "f32"))
    del runners[0]
runners.clear()
signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.thorough
def test_a_signal_is_handled_after_models_were_swapped(model_folder: Path, tmp_path: Path) -> None:
    artefact = read_artefact(model_folder, model_id="you/genre", revision=None)
    convert(artefact, tmp_path / GRAPH_FOLDER)
    process = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _SWAPS, str(tmp_path)], cwd=ROOT, capture_output=True, check=True
    )
    assert process.stdout == b"handled\n"
