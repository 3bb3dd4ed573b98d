"""Graph files, read and compiled for the CPU."""

import ctypes
import mmap
import os
from contextlib import suppress
from pathlib import Path

import openvino

from service.model.graphs.core import CORE


class GraphError(Exception):
    """Graph files that cannot be read, or do not belong together; the message says which."""


def read_graph(path: Path) -> openvino.Model:
    """A graph from its file. Raises GraphError."""
    try:
        return CORE.read_model(path)
    except RuntimeError as error:
        raise GraphError(f"{path.name} cannot be read") from error


def compile_graph(model: openvino.Model, path: Path, **options: object) -> openvino.CompiledModel:
    """A graph that `read_graph` read from `path`, compiled with OpenVINO's `options`."""
    compiled = CORE.compile_model(model, "CPU", options)
    # A system that does not tell its mappings, such as a sandbox without /proc, keeps the pages.
    with suppress(OSError):
        _release_pages(path.with_suffix(".bin"))
    return compiled


def _release_pages(weights: Path) -> None:
    """Take the pages of a mapped file out of the memory of this process; the kernel reads them again when it must.

    OpenVINO keeps the file of the weights mapped, and computes with copies in an order of its own. With a model of
    DistilHuBERT's size that is 90 MB of the resident memory that `python -m tests.benchmarks --only start` prints.
    """
    libc = ctypes.CDLL(None)
    name = os.path.realpath(weights)
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        bounds, mode, *_, mapped = line.split(maxsplit=5)
        # What can be written to may have been, and would be lost.
        if mapped == name and "w" not in mode:
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)
