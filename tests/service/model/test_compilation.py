"""Compiled graphs, and the memory that they leave."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from service.model.artefact import read_artefact
from service.model.graphs.conversion import convert
from service.model.graphs.runner import GraphRunner
from service.model.layout import GRAPH_FOLDER, TiledGraphs


@pytest.mark.skipif(sys.platform != "linux", reason="the pages of other systems are left to them")
def test_the_weights_file_of_a_compiled_graph_takes_no_memory(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / GRAPH_FOLDER
    artefact = read_artefact(model_folder, model_id="you/genre", revision=None)
    convert(artefact, folder)
    # As in the cache of the Hub, where a snapshot holds links.
    for path in folder.glob("*.bin"):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    window = np.random.default_rng(0).standard_normal((1, artefact.window.samples)).astype(np.float32)
    runner = GraphRunner(TiledGraphs.inside(folder), artefact.window.samples, threads=1, precision="f32")
    assert set(resident_kb(tmp_path).values()) == {0}
    first, _ = runner.infer(window)
    again, _ = runner.infer(window)
    np.testing.assert_array_equal(first, again)


def resident_kb(folder: Path) -> dict[str, int]:
    """Resident memory of the files in a folder that are mapped."""
    mappings = re.findall(r"(\S+\.bin)\n(?:.*\n)*?Rss: +(\d+) kB", Path("/proc/self/smaps").read_text(encoding="utf-8"))
    return {name: int(kb) for name, kb in mappings if Path(name).parent == folder}
