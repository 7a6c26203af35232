"""One page for each step of the loop: its evidence, as the Kubeflow UI or a browser shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from reprune import formatting
from reprune.inference.onnx.parity import Parity
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.report.html import Note, Section, Table, page
from reprune.report.plots import pruning
from reprune.report.plots import training as learning
from reprune.report.plots.pruning import SensitivityPoint
from reprune.training.training_history import History


def training(title: str, history: History, metric: str, note: str = "") -> str:
    """Return the page of a training: its curves and its epochs, and a sentence about what followed."""
    if not history.epochs:
        return page(title, "Not trained here", [Section("Training", [Note("The weights were taken as they are.")])])
    table = Table(
        headings=("epoch", "loss", f"{metric} on validation", "learning rate", "seconds"),
        rows=[
            (
                str(e.epoch),
                f"{e.loss:.4f}",
                formatting.percent(e.validation_score),
                f"{e.learning_rate:.2e}",
                f"{e.seconds:.1f}",
            )
            for e in history.epochs
        ],
        numeric=(0, 1, 2, 3, 4),
    )
    figure = learning.curves(history, name=title.lower(), metric=metric)
    notes = [Note(f"Epoch {it.epoch}: {it.text}.", "warn") for it in history.incidents]
    notes += [Note(f"{note}.", "plain")] if note else []
    return page(
        title,
        f"{formatting.count(len(history.epochs), 'epoch')}",
        [Section("Curves", [figure, *notes]), Section("Epochs", [table])],
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


def export(models: Mapping[str, Mapping[str, Any]], quantized: Mapping[str, Parity]) -> str:
    """Return the page of an export: sizes, how far ONNX Runtime is from torch, and a quantized file from float."""
    described = Table(
        headings=("model", "size", "parameters"),
        rows=[(name, formatting.size(row["size_bytes"]), f"{row['parameters']:,}") for name, row in models.items()],
        numeric=(1, 2),
    )
    hops = {f"{name}: torch → ONNX": Parity.model_validate(row["parity"]) for name, row in models.items()}
    sections = [Section("Models", [described]), Section("Parity", [parity({**hops, **quantized})])]
    return page("Export", "torch against ONNX Runtime", sections)


def parity(hops: Mapping[str, Parity]) -> Table:
    """Return how far outputs move at each hop from torch to what is served."""
    return Table(
        headings=("hop", "maximum error", "mean error", "largest output", "predictions that agree", "examples"),
        rows=[
            (
                name,
                f"{hop.max_abs_error:.1e}",
                f"{hop.mean_abs_error:.1e}",
                f"{hop.output_scale:.3g}",
                "–" if hop.argmax_agreement is None else f"{100 * hop.argmax_agreement:.4g} %",
                f"{hop.examples:,}",
            )
            for name, hop in hops.items()
        ],
        numeric=(1, 2, 3, 4, 5),
    )


def sensitivity_points(curves: Sensitivity) -> dict[str, list[SensitivityPoint]]:
    """Return sensitivity curves as their plot takes them."""
    return {
        name: [
            SensitivityPoint(width=p.width, loss_increase=p.loss_increase, standard_error=p.standard_error)
            for p in curve.points
        ]
        for name, curve in curves.curves.items()
    }
