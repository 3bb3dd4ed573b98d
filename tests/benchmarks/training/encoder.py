"""The encoder cache's computation alone, in tiles against torch: `python -m tests.benchmarks.training.encoder`."""

import argparse
import itertools
import sys
from collections.abc import Callable

import numpy as np
import torch
from transformers import HubertForSequenceClassification

from service.audio import normalise
from service.model.graphs.runner import best_precision
from service.runtime.resources import available_cpus
from tests.benchmarks.measuring import interleaved, machine, median
from tests.benchmarks.model import SAMPLING_RATE, WINDOW_S, config, encoder_flop
from tests.benchmarks.report import Row, Section
from training.finetuning.frozen_encoder import features

_MATMUL_SIZE = 4_096


def main() -> None:
    """Print the medians as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=2, help="windows of a batch (2)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, the ways in turn (7)")
    options = parser.parse_args()
    sys.stdout.write("".join(f"- {name}: {value}\n" for name, value in machine().items()))
    torch.set_num_threads(available_cpus())
    sys.stdout.write(f"\n{_measure(options.windows, options.rounds).markdown()}\n")


def _measure(count: int, rounds: int) -> Section:
    bf16 = best_precision() == "bf16"
    dtype = torch.bfloat16 if bf16 else torch.float32
    model = HubertForSequenceClassification(config()).eval()
    noise = np.random.default_rng(0).standard_normal((count, round(WINDOW_S * SAMPLING_RATE))).astype(np.float32)
    windows = torch.from_numpy(np.stack([normalise(window) for window in noise]))
    tiles = features(itertools.repeat({"input_values": windows}), model, bf16=bf16)
    by_torch = _torch(model, windows, bf16=bf16)
    matrix = torch.randn(_MATMUL_SIZE, _MATMUL_SIZE).to(dtype)
    expected = by_torch(0)
    difference = float((next(tiles).float() - expected).abs().max() / expected.abs().max())
    ways: dict[str, Callable[[int], object]] = {
        "torch": by_torch,
        "tiles": lambda _: next(tiles),
        "matmul": lambda _: matrix @ matrix,
    }
    seconds = {name: median(values) or 0.0 for name, values in interleaved(ways, rounds).items()}
    rate = 2 * _MATMUL_SIZE**3 / seconds.pop("matmul")
    floor_s = encoder_flop() / rate
    rows: list[Row] = [
        {
            "encoder": name,
            "s a window": of_batch / count,
            "times torch": seconds["torch"] / of_batch,
            "share of the floor": floor_s * count / of_batch,
        }
        for name, of_batch in seconds.items()
    ]
    remark = (
        f"Random weights of full size, batches of {count} windows of {WINDOW_S:g} s, in {dtype}. A window costs "
        f"{encoder_flop() / 1e9:.0f} GFLOP, {floor_s:.3f} s at the {rate / 1e9:.0f} GFLOP/s of a matmul in the same "
        f"rounds. The features differ by {difference:.1e} of the largest, one of both in bfloat16, as they are kept."
    )
    return Section("The encoder's output, for the cache", rows, [remark])


def _torch(model: torch.nn.Module, windows: torch.Tensor, *, bf16: bool) -> Callable[[int], torch.Tensor]:
    encoder = model.get_submodule("hubert.feature_extractor")

    def encode(_: int) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            encoded: torch.Tensor = encoder(windows)
        return encoded.float()

    return encode


if __name__ == "__main__":
    main()
