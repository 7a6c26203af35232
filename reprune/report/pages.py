"""One page for each step of the loop: its evidence, as the Kubeflow UI or a browser shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from reprune.gate import words
from reprune.planning.sensitivity import Sensitivity
from reprune.report.html import Note, Section, Table, page
from reprune.report.plots import pruning
from reprune.report.plots import training as learning
from reprune.report.plots.pruning import SensitivityPoint
from reprune.training.history import History


def training(title: str, history: History, metric: str) -> str:
    """Return the page of a training: its curves and its epochs."""
    if not history.epochs:
        return page(title, "Not trained here", [Section("Training", [Note("The weights were taken as they are.")])])
    table = Table(
        headings=("epoch", "loss", f"{metric} on validation", "learning rate", "seconds"),
        rows=[
            (
                str(e.epoch),
                f"{e.loss:.4f}",
                words.percent(e.validation_score),
                f"{e.learning_rate:.2e}",
                f"{e.seconds:.1f}",
            )
            for e in history.epochs
        ],
        numeric=(0, 1, 2, 3, 4),
    )
    figure = learning.curves(history, name=title.lower(), metric=metric)
    befell = [Note(f"Epoch {it.epoch}: {it.text}.", "warn") for it in history.incidents]
    return page(
        title,
        f"{words.count(len(history.epochs), 'epoch')}",
        [Section("Curves", [figure, *befell]), Section("Epochs", [table])],
    )


def sensitivity(curves: Sensitivity, frozen: Sequence[str], *, warning: str = "") -> str:
    """Return the page of a sensitivity analysis, with what must stay dense and why, and a warning about the weights."""
    told = [Note(warning, "warn")] if warning else []
    figure = pruning.sensitivity(sensitivity_points(curves))
    sections = [
        Section("Loss over width", [*told, figure], lead="How much the loss rises as a group narrows, all else dense.")
    ]
    if frozen:
        sections.append(Section("Left dense", [Note("What could not be proven safe to cut:", "plain", frozen)]))
    return page("Sensitivity", f"{len(curves.curves)} groups on {curves.examples} examples", sections)


def export(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page of an export: sizes, and how far ONNX Runtime is from torch."""
    table = Table(
        headings=("model", "size", "parameters", "largest error", "mean error", "examples", "same predictions"),
        rows=[_exported(name, row) for name, row in models.items()],
        numeric=(1, 2, 3, 4, 5, 6),
    )
    return page("Export", "torch against ONNX Runtime", [Section("Parity", [table])])


def sensitivity_points(curves: Sensitivity) -> dict[str, list[SensitivityPoint]]:
    """Return sensitivity curves as their plot takes them."""
    return {
        name: [
            SensitivityPoint(width=p.width, loss_increase=p.loss_increase, standard_error=p.standard_error)
            for p in curve.points
        ]
        for name, curve in curves.curves.items()
    }


def _exported(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    parity = row["parity"]
    agreement = parity["argmax_agreement"]
    return (
        name,
        words.size(row["size_bytes"]),
        f"{row['parameters']:,}",
        f"{parity['max_abs_error']:.1e}",
        f"{parity['mean_abs_error']:.1e}",
        f"{parity['examples']:,}",
        "–" if agreement is None else words.percent(agreement),
    )
