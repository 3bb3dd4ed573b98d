"""The model card: what the model was trained on, how good it is, and how to use it; with its confusion matrix."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from matplotlib.figure import Figure

from training.metrics import Counts
from training.quantise import Comparison

PICTURE = "confusion_matrix.png"
_INT8_HEADING = "## In 8 bits"


@dataclass(frozen=True)
class Report:
    """What one training run amounts to.

    dataset_id and base_model_id: Hub ids, None for what is not on the Hub. dataset_revision: commit. clips: how many in
    each part of the split. skipped: clips that could not be decoded. counts: the confusion matrix on those held out.
    """

    dataset: str
    dataset_id: str | None
    dataset_revision: str | None
    base_model: str
    base_model_id: str | None
    genres: list[str]
    split: str
    seed: int
    clips: dict[str, int]
    skipped: tuple[str, ...]
    window_s: float
    parameters: int
    accuracy: float
    macro_f1: float
    counts: Counts


def write(folder: Path, report: Report, model_id: str) -> None:
    """Write README.md, and the picture of the confusion matrix, into the model folder."""
    _draw(report).savefig(folder / PICTURE)
    card = ModelCard(f"---\n{_metadata(report, model_id).to_yaml()}\n---\n\n{_text(report, model_id)}")
    card.save(folder / "README.md")


def add_int8(folder: Path, comparison: Comparison) -> None:
    """Append to README.md how the int8 graph compares, in place of what an earlier comparison said."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8").split(_INT8_HEADING)[0].rstrip()
    rows = "\n".join(
        f"| {precision} | {accuracy:.3f} | {comparison.agreement[precision]:.3f} |"
        for precision, accuracy in comparison.accuracy.items()
    )
    verdict = (
        "It passed, travels in `openvino/int8.xml`, and is what the service runs on CPUs."
        if comparison.passed
        else "It failed, and is not part of this repo."
    )
    card.write_text(
        f"""{text}

{_INT8_HEADING}

The graph quantised to 8 bits after training, on the {comparison.clips} held-out clips, each answered from up to three
windows as the service does. It is kept when accuracy drops by less than 0.5 points and at least 99 % of the answers
are those of float32. {verdict}

| precision | accuracy | same answer as float32 |
|---|---|---|
{rows}
""",
        encoding="utf-8",
    )


def _metadata(report: Report, model_id: str) -> ModelCardData:
    results = [
        EvalResult(
            task_type="audio-classification",
            dataset_type=report.dataset_id or "made-music",
            dataset_name=report.dataset,
            dataset_revision=report.dataset_revision,
            metric_type=metric,
            metric_value=round(value, 4),
        )
        for metric, value in (("accuracy", report.accuracy), ("f1", report.macro_f1))
    ]
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="audio-classification",
        base_model=report.base_model_id,
        datasets=[report.dataset_id] if report.dataset_id else None,
        metrics=["accuracy", "f1"],
        tags=["music", "music-genre"],
        model_name=model_id.split("/")[-1],
        eval_results=results,
    )


def _text(report: Report, model_id: str) -> str:
    revision = f", commit `{report.dataset_revision}`" if report.dataset_revision else ""
    held_out = report.clips["test"]
    skipped = "".join(f"\n  - {problem}" for problem in report.skipped)
    return f"""# {model_id.split("/")[-1]}

Tells which of {len(report.genres)} genres a recording is: {", ".join(report.genres)}.

| | |
|---|---|
| Data | {report.dataset}{revision} |
| Split | `{report.split}`, seed {report.seed}: {report.clips["train"]} clips trained on, {held_out} held out |
| Accuracy | {report.accuracy:.3f} on the {held_out} held-out clips |
| Macro-F1 | {report.macro_f1:.3f} on the same clips |
| Base model | {report.base_model} |
| Parameters | {report.parameters:,} |
| Window | {report.window_s:g} s, the beginning of each clip |

![Confusion matrix]({PICTURE})

## How to read these figures

- The best epoch was chosen on the held-out clips themselves, so the figures are a little optimistic.
- With {held_out} clips, one clip is {100 / held_out:.1f} points of accuracy.
{_caution(report)}- Clips left out because they could not be decoded: {len(report.skipped)}{skipped}

## Use

```python
from transformers import pipeline

classify = pipeline("audio-classification", "{model_id}", top_k=None)
```

The pipeline does not cut recordings: give it at most {report.window_s:g} s. `serving.json` and
`preprocessor_config.json` hold what a service must know: sampling rate, window, and how short audio is filled.
"""


def _caution(report: Report) -> str:
    if report.dataset_id is None and report.dataset == "made music":
        return (
            "- **Made music**: the clips were composed by a program. The figures say nothing about real recordings.\n"
        )
    return (
        "- A random split puts clips of the same artist, even of the same recording, on both sides. On GTZAN that "
        "lifts accuracy by ten points and more over artists that were never heard (Sturm, 2013).\n"
    )


def _draw(report: Report) -> Figure:
    """Figure alone, not pyplot: no global state, no display."""
    figure = Figure(figsize=(7, 6), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.imshow(report.counts, cmap="Blues")
    ticks = np.arange(len(report.genres))
    axes.set_xticks(ticks, report.genres, rotation=45, ha="right")
    axes.set_yticks(ticks, report.genres)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(
        f"{report.dataset}, {report.split} split, n = {report.clips['test']}, accuracy {report.accuracy:.3f}"
    )
    dark = report.counts.max() / 2
    for (row, column), count in np.ndenumerate(report.counts):
        if count:
            axes.text(column, row, str(count), ha="center", va="center", color="white" if count > dark else "black")
    return figure
