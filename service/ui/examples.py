"""The bundled recordings: synthetic music, one a genre, so that everybody has something to try the page with."""

import shutil
import tempfile
from pathlib import Path

_FOLDER = Path(__file__).parent / "examples"


def examples() -> dict[str, Path]:
    """The file of each genre, by name."""
    return {path.parent.name: path for path in sorted(_FOLDER.glob("*/*.mp3"))}


def as_upload(example: Path, uploads: Path) -> Path:
    """A copy that is kept and swept as an upload is: with the time of now, not that of the file."""
    uploads.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(example, Path(tempfile.mkdtemp(dir=uploads), example.name)))
