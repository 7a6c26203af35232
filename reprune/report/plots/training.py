"""How a training went, epoch by epoch."""

from matplotlib.figure import Figure as Canvas

from reprune import formatting
from reprune.report import theme
from reprune.report.html import Figure
from reprune.training.training_history import History


def curves(history: History, *, name: str, metric: str, percent: bool = True) -> Figure:
    """Draw loss and validation score over the epochs, one above the other.

    Args:
        history: The training.
        name: What was trained: ``dense``, ``fine-tuning`` ...
        metric: Name of the mean score.
        percent: Whether the score is a share.
    """
    epochs = history.epochs
    assert epochs, "a training without epochs has no curve"
    scale = 100 if percent else 1
    best = max(epochs, key=lambda it: it.validation_score)

    def paint(canvas: Canvas) -> None:
        loss, score = canvas.subplots(2, 1, sharex=True)
        number = [it.epoch for it in epochs]
        marker = "o" if len(epochs) < 3 else ""
        loss.plot(number, [it.loss for it in epochs], marker=marker, color=theme.DENSE)
        loss.set_ylim(bottom=0)
        loss.set_title("training loss")
        score.plot(number, [scale * it.validation_score for it in epochs], marker=marker, color=theme.PRUNED)
        score.plot(best.epoch, scale * best.validation_score, "o", color=theme.PRUNED, markersize=6)
        score.set_title(f"validation {metric}{' (%)' if percent else ''}")
        score.set_xlabel("epoch")
        score.xaxis.get_major_locator().set_params(integer=True)
        for axes in (loss, score):
            theme.bare(axes)

    reached = formatting.percent(best.validation_score) if percent else formatting.plain(best.validation_score)
    spent = formatting.seconds(sum(it.seconds for it in epochs))
    return Figure(
        svg=theme.draw(paint, height=3.8),
        alt=f"Training curves of {name}: best validation {metric} {reached} at epoch {best.epoch}",
        caption=f"{name}: best validation {metric} {reached} at epoch {best.epoch} of {len(epochs)}; {spent} in all.",
    )
