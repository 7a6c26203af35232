"""How well the models answer: in each slice, by confidence, and where they part."""

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas

from reprune import formatting
from reprune.gate.calibration_error import Bin, expected_error
from reprune.gate.confidence_intervals import mean_interval
from reprune.gate.disagreements import Disagreement
from reprune.report import theme
from reprune.report.html import Figure, Gallery, Picture

MOST_SLICES = 30


def by_slice(
    dense: np.ndarray, candidate: np.ndarray, slices: Mapping[str, np.ndarray], *, metric: str, confidence: float = 0.95
) -> Figure:
    """Draw the mean score of each slice with its interval, dense above pruned.

    Args:
        dense: Scores of the dense model, ``[N]``.
        candidate: Scores of the pruned model, ``[N]``.
        slices: Boolean ``[N]`` by name; of very many, those that lost most are drawn.
        metric: Name of the mean score.
        confidence: Confidence of the intervals.
    """
    slices = {name: inside for name, inside in slices.items() if inside.any()}
    worst = sorted(slices, key=lambda name: -float((dense - candidate)[slices[name]].mean()))[:MOST_SLICES]
    shown = [name for name in slices if name in worst]
    shares = bool((dense >= 0).all() and (dense <= 1).all() and (candidate >= 0).all() and (candidate <= 1).all())
    scale = 100.0 if shares else 1.0

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        series = (("dense", dense, theme.DENSE, -0.14), ("pruned", candidate, theme.PRUNED, 0.14))
        for label, scores, colour, offset in series:
            found = [mean_interval(scores[slices[name]], confidence) for name in shown]
            value = np.array([it.value for it in found]) * scale
            ends = np.array([[it.value - it.low, it.high - it.value] for it in found]).T * scale
            place = np.arange(len(shown)) + offset
            axes.errorbar(value, place, xerr=ends, fmt="o", color=colour, label=label, markersize=4.5, elinewidth=1.4)
        axes.set_yticks(range(len(shown)), [f"{name} ({int(slices[name].sum()):,})" for name in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlabel(f"{metric} (%)" if shares else metric)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02))
        theme.bare(axes, x_grid=True)

    return Figure(
        svg=theme.draw(paint, width=theme.WIDE, height=0.3 * len(shown) + 0.9),
        alt=f"{metric} of dense and pruned in {formatting.count(len(shown), 'slice')}, with intervals",
        caption=f"Bars are {100 * confidence:.3g} % intervals of each model alone. Both saw the same examples, so the "
        "checks compare them pair by pair, which is sharper than the overlap of the bars.",
    )


def calibration(bins: Sequence[Bin], *, name: str) -> Figure:
    """Draw the reliability diagram of one model.

    Args:
        bins: Its examples by confidence.
        name: The model.
    """
    error = expected_error(bins)
    largest = max(it.examples for it in bins)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.plot([0, 100], [0, 100], color=theme.CONTROL, linewidth=1)
        axes.vlines(
            [100 * it.confidence for it in bins],
            [100 * it.confidence for it in bins],
            [100 * it.accuracy for it in bins],
            color=theme.WARN,
            linewidth=1.6,
        )
        axes.scatter(
            [100 * it.confidence for it in bins],
            [100 * it.accuracy for it in bins],
            s=[14 + 130 * it.examples / largest for it in bins],
            color=theme.PRUNED if name != "dense" else theme.DENSE,
            linewidths=0,
            clip_on=False,
            zorder=3,
        )
        axes.set(xlim=(0, 102), ylim=(0, 104), xlabel="confidence (%)", ylabel="accuracy (%)", title=name)
        theme.bare(axes)

    return Figure(
        svg=theme.draw(paint, height=3.4),
        alt=f"Reliability of {name}: expected calibration error {formatting.percent(error)}",
        caption=f"{name}: calibration error {formatting.percent(error)}. A dot on the line means what it says; "
        "its area is the number of examples, the bar its distance.",
    )


def disagreements(found: Sequence[Disagreement]) -> Gallery:
    """Show the examples on which the pruned model changed its mind, with their pictures."""
    shown = [it for it in found if it.image is not None]
    return Gallery([_picture(it, it.image) for it in shown if it.image is not None])


def _picture(it: Disagreement, image: np.ndarray) -> Picture:
    verdict = (
        "pruned is wrong" if it.dense == it.label else "pruned is right" if it.candidate == it.label else "both wrong"
    )
    return Picture(
        png=base64.b64encode(png(image)).decode(),
        title=f"{it.dense} → {it.candidate}",
        detail=f"label {it.label}: {verdict}",
        alt=f"Example {it.index} of class {it.label}: dense says {it.dense}, pruned says {it.candidate}",
    )


def png(image: np.ndarray) -> bytes:
    """Return an image ``[C, H, W]`` with one or three channels as PNG, its range stretched to the full scale."""
    low, high = float(np.nanmin(image)), float(np.nanmax(image))
    pixels = np.nan_to_num((image - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
    channels, height, width = pixels.shape
    rows = pixels.transpose(1, 2, 0).reshape(height, width * channels)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(kind, data) for kind, data in parts)


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
