"""Model card: training data, figures and use of a model, from model_card.md.jinja; and the summary for the log."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from service.model.layout import INT8_GRAPH_FOLDER
from training.data.clips import SYNTHETIC_MUSIC
from training.evaluation.report import METRICS, Report, SplitReport
from training.publishing import plots
from training.publishing.quantise import Comparison

_TEMPLATE = Path(__file__).with_name("model_card.md.jinja")
_INT8_HEADING = "## In 8 bits"


def write(folder: Path, report: Report, model_id: str) -> None:
    """Write README.md, its pictures and metrics.json into the model folder."""
    report.write(folder)
    plots.draw(folder, report.main)
    card = ModelCard.from_template(
        _metadata(report, model_id),
        template_path=str(_TEMPLATE),
        name=model_id.split("/")[-1],
        model_id=model_id,
        report=report,
        main=report.main,
        parts=_parts(report.main),
        recipe=", ".join(f"{name} {value}" for name, value in report.recipe.items()),
        gap_points=_gap_points(report),
        synthetic=report.dataset_id is None and report.dataset == SYNTHETIC_MUSIC,
        metrics_file=METRICS,
        plots=plots,
    )
    card.save(folder / "README.md")


def summary(report: Report) -> str:
    """A line for each split, for the end of the log."""
    return "\n".join(
        f"{split.split} (n = {split.accuracy.n}): accuracy {split.accuracy}, macro-F1 {split.macro_f1}, "
        f"ECE {split.ece}, calibrated {split.calibrated_ece}"
        for split in report.splits
    )


def remove_int8(folder: Path) -> None:
    """Take the comparison of an int8 graph that is there no more out of README.md."""
    card = folder / "README.md"
    card.write_text(f"{_without_int8(card)}\n", encoding="utf-8")


def _without_int8(card: Path) -> str:
    return card.read_text(encoding="utf-8").split(_INT8_HEADING)[0].rstrip()


def add_int8(folder: Path, comparison: Comparison) -> None:
    """Append the comparison of the int8 graph to README.md, in place of an earlier one."""
    card = folder / "README.md"
    text = _without_int8(card)
    rows = "\n".join(
        f"| {precision} | {accuracy:.3f} | {comparison.agreement[precision]:.3f} |"
        for precision, accuracy in comparison.accuracy.items()
    )
    verdict = (
        f"It passed, is in `{INT8_GRAPH_FOLDER}/`, and is what the service runs on CPUs."
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
            dataset_type=report.dataset_id or ("synthetic-music" if report.dataset == SYNTHETIC_MUSIC else "local"),
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


def _parts(split: SplitReport) -> str:
    if split.chosen_on_test:
        return f"{split.clips['train']} clips trained on, {split.clips['test']} held out"
    return (
        f"{split.clips['train']} clips trained on, {split.clips['validation']} to choose the epoch, "
        f"{split.clips['test']} tested once"
    )


def _gap_points(report: Report) -> float | None:
    """Points of accuracy that the random split reads above the one by artists; None without both."""
    accuracies = {split.split: split.accuracy.value for split in report.splits}
    if not {"random", "artist"} <= accuracies.keys():
        return None
    return 100 * (accuracies["random"] - accuracies["artist"])
