"""Writes clips of synthetic music: `python -m training.synthetic OUTPUT_DIR`."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from training.synthetic.render import GENRES, Format, encode, render


def main(argv: Sequence[str] | None = None) -> None:
    """Write clips to `OUTPUT_DIR/<genre>/<genre>.<seed>.<format>`, the layout and names of GTZAN."""
    options = _parse(argv)
    seeds = range(options.first_seed, options.first_seed + options.clips_per_genre)
    clips = [(genre, seed) for genre in GENRES for seed in seeds]
    for genre, seed in tqdm(clips, unit="clip"):
        path: Path = options.output_dir / genre / f"{genre}.{seed:05d}.{options.format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(render(genre, seed, options.duration_s), options.format))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.synthetic",
        description="Write synthetic music of ten genres, to try things out where GTZAN cannot be had.",
    )
    parser.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR")
    parser.add_argument("--clips_per_genre", type=int, default=10)
    parser.add_argument("--duration_s", type=float, default=30.0)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--format", choices=get_args(Format), default="flac")
    options = parser.parse_args(argv)
    if options.clips_per_genre < 1:
        parser.error("--clips_per_genre must be at least 1")
    if not 0 < options.duration_s < math.inf:
        parser.error("--duration_s must be positive and finite")
    if options.first_seed < 0:
        parser.error("--first_seed must not be negative")
    return options


if __name__ == "__main__":
    main()
