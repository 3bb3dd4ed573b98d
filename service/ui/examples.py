"""The bundled recordings: made music, one a genre, so that everybody has something to try the page with."""

from pathlib import Path

FOLDER = Path(__file__).parent / "examples"


def examples() -> dict[str, Path]:
    """The file of each genre, by name."""
    return {path.parent.name: path for path in sorted(FOLDER.glob("*/*.mp3"))}
