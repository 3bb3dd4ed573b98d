"""The model card: what the model was trained on, how good it is, and how to use it; and the summary for the log."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from tabulate import tabulate

from training.data.clips import SYNTHETIC_MUSIC
from training.evaluation.report import METRICS, Report, SplitReport
from training.publishing import plots
from training.publishing.quantise import Comparison

_INT8_HEADING = "## In 8 bits"


def write(folder: Path, report: Report, model_id: str) -> None:
    """Write README.md, its pictures and metrics.json into the model folder."""
    report.write(folder)
    plots.draw(folder, report.main)
    card = ModelCard(f"---\n{_metadata(report, model_id).to_yaml()}\n---\n\n{_text(report, model_id)}")
    card.save(folder / "README.md")


def summary(report: Report) -> str:
    """The table at the end of the log."""
    table: str = tabulate(
        [
            (split.split, split.accuracy.n, split.accuracy, split.macro_f1, split.ece, split.calibrated_ece)
            for split in report.splits
        ],
        headers=["split", "n", "accuracy [95 %]", "macro-F1", "ECE", "calibrated ECE"],
    )
    return table


def add_int8(folder: Path, comparison: Comparison) -> None:
    """Append to README.md how the int8 graph compares, in place of what an earlier comparison said."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8").split(_INT8_HEADING)[0].rstrip()
    rows = [
        (precision, f"{accuracy:.3f}", f"{comparison.agreement[precision]:.3f}")
        for precision, accuracy in comparison.accuracy.items()
    ]
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

{_table(rows, ["precision", "accuracy", "same answer as float32"])}
""",
        encoding="utf-8",
    )


def _metadata(report: Report, model_id: str) -> ModelCardData:
    results = [
        EvalResult(
            task_type="audio-classification",
            dataset_type=report.dataset_id or "made-music",
            dataset_name=f"{report.dataset} ({split.split} split, {split.accuracy.n} clips)",
            dataset_revision=report.dataset_revision,
            metric_type=metric,
            metric_value=round(figure.value, 4),
        )
        for split in report.splits
        for metric, figure in (("accuracy", split.accuracy), ("f1", split.macro_f1))
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
    main = report.main
    revision = f", commit `{report.dataset_revision}`" if report.dataset_revision else ""
    skipped = "".join(f"\n  - {problem}" for problem in report.skipped)
    recipe = ", ".join(f"{name} {value}" for name, value in report.recipe.items())
    return f"""# {model_id.split("/")[-1]}

Tells which of {len(main.genres)} genres a recording is: {", ".join(main.genres)}.

| | |
|---|---|
| Data | {report.dataset}{revision} |
| Split | `{main.split}`, seed {report.seed}: {_parts(main)} |
| Accuracy | {main.accuracy} on {main.accuracy.n} test clips |
| Macro-F1 | {main.macro_f1} on the same clips |
| Base model | {report.base_model} |
| Recipe | {recipe} |
| Parameters | {report.parameters:,} |
| Window | {report.window_s:g} s, up to three of a recording, as the service hears it |

In brackets: 95 % intervals, from 1,000 bootstrap samples of the test clips. All figures are in `{METRICS}`.

{_splits(report)}## How to read these figures

{_cautions(report)}- With {main.accuracy.n} clips, one clip is {100 / main.accuracy.n:.1f} points of accuracy.
- Clips left out because they could not be decoded: {len(report.skipped)}{skipped}

## By genre

On the same {main.accuracy.n} clips of the `{main.split}` split:

{_genres(main)}

![Confusion matrix]({plots.CONFUSION})

## Confidence

{_confidence(main)}

![Reliability, risk and coverage]({plots.CALIBRATION})

{_robustness(main)}## Training

![Training curve]({plots.CURVE})

## Use

```python
from transformers import pipeline

classify = pipeline("audio-classification", "{model_id}", top_k=None)
```

The pipeline does not cut recordings: give it at most {report.window_s:g} s. `serving.json` and
`preprocessor_config.json` hold what a service must know: sampling rate, window, how short audio is filled, temperature
and threshold.
"""


def _genres(split: SplitReport) -> str:
    rows = [(name, f"{genre.precision:.3f}", f"{genre.recall:.3f}", genre.n) for name, genre in split.genres.items()]
    return _table(rows, ["genre", "precision", "recall", "n"])


def _parts(split: SplitReport) -> str:
    if split.chosen_on_test:
        return f"{split.clips['train']} clips trained on, {split.clips['test']} held out"
    return (
        f"{split.clips['train']} clips trained on, {split.clips['validation']} to choose the epoch, "
        f"{split.clips['test']} tested once"
    )


def _splits(report: Report) -> str:
    if len(report.splits) == 1:
        return ""
    rows = [(split.split, split.accuracy.n, split.accuracy, split.macro_f1) for split in report.splits]
    gap = ""
    by_name = {split.split: split for split in report.splits}
    if {"random", "artist"} <= by_name.keys():
        points = 100 * (by_name["random"].accuracy.value - by_name["artist"].accuracy.value)
        gap = (
            f"\n\nThe random split reads {points:+.1f} points against artists that were never heard. The model in this "
            f"repo is that of the `{report.main.split}` split."
        )
    return f"{_table(rows, ['split', 'n', 'accuracy', 'macro-F1'])}{gap}\n\n"


def _cautions(report: Report) -> str:
    made = report.dataset_id is None and report.dataset == SYNTHETIC_MUSIC
    lines = [
        "**Synthetic music**: the clips were composed by a program. The figures say nothing about real recordings."
    ]
    lines = lines if made else []
    lines += [f"`{split.split}` split: {split.caution}" for split in report.splits if split.caution]
    return "".join(f"- {line}\n" for line in lines)


def _confidence(split: SplitReport) -> str:
    threshold = split.threshold
    where = "the test clips, each calibrated on others of them" if split.chosen_on_test else "the test clips"
    rows = [("ECE, 15 bins", split.ece, split.calibrated_ece), ("Brier score", split.brier, split.calibrated_brier)]
    return f"""Logits are divided by a temperature of {split.temperature:.3f}.
Measured on {where} (n = {split.accuracy.n}):

{_table(rows, ["", "as trained", "calibrated"])}

An answer counts as `uncertain` under a confidence of {threshold.uncertain_below:.3f}. The rule: the accepted answers
reach 95 % of the accuracy of the surest ones (the best at a coverage of 20 % or more).
That is {threshold.reachable_accuracy:.3f} on the clips that it was chosen on, of which
{100 * threshold.accepted_share:.0f} % were accepted, with an accuracy of {threshold.accepted_accuracy:.3f}."""


def _robustness(split: SplitReport) -> str:
    if not split.robustness:
        return ""
    rows = [(name, figure) for name, figure in split.robustness.items()]
    return f"""## Under distortion

Accuracy on the {split.accuracy.n} test clips of the `{split.split}` split:

{_table(rows, ["what was done to the clips", "accuracy"])}

"""


def _table(rows: Sequence[tuple[object, ...]], headers: list[str]) -> str:
    """As Markdown. Numbers come as text: each is printed with the digits that mean something."""
    table: str = tabulate(
        [[str(cell) for cell in row] for row in rows], headers=headers, tablefmt="github", disable_numparse=True
    )
    return table
