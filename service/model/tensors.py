"""Files of named arrays, as the contract has them beside the weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors.numpy import save_file


def save_tensors(arrays: Mapping[str, npt.NDArray[Any]], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that every user may read: the library makes it for its owner alone, and the service runs
    as another user."""
    save_file(dict(arrays), path, metadata=metadata)
    path.chmod(0o644)
