"""What a run ends with: dense against pruned, the verdict with its reasons, the champion, and where the report is."""

from typing import TYPE_CHECKING, Any

from reprune import formatting
from reprune.steps.context import record_prefix
from reprune.steps.run_outcome import Outcome

if TYPE_CHECKING:
    from rich.console import Console

    from reprune.config.workload import Workload
    from reprune.storage.base import Store

COLUMNS = ("parameters", "size", "p50", "p95")
REPORT = "report.html"
LABELS = {"promoted": "promote", "waiting": "waits", "rejected": "reject", "nothing-to-do": "nothing to do"}


def show(
    console: "Console",
    workload: "Workload",
    run: str,
    ended: Outcome,
    records: dict[str, dict[str, Any]],
    *,
    store: "Store",
) -> None:
    """Print how a run ended."""
    from rich.text import Text

    console.print()
    if "gate" in records:
        show_comparison(console, records["gate"]["comparison"])
        if quantization := records["gate"].get("quantization"):
            console.print(f"  {quantization}", soft_wrap=True, markup=False)
        console.print()
        show_checks(console, records["gate"]["checks"])
    style = {"promoted": "bold green", "waiting": "bold yellow", "rejected": "bold red"}.get(ended.kind, "bold")
    label = LABELS[ended.kind]
    console.print(Text(f"  {label:<14}", style=style) + Text(ended.reason))
    if ended.kind == "promoted":
        console.print(Text(f"  {'undo':<14}", style="bold") + Text(f"reprune rollback {workload.name}"))
    if "gate" in records:
        where = f"{store.uri}/{record_prefix(workload.name, run)}{REPORT}"
        console.print(Text(f"  {'report':<14}", style="bold") + Text(where), soft_wrap=True)


def as_json(
    workload: str, run: str, ended: Outcome, records: dict[str, dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """Return how a run ended, for machines."""
    gate = records.get("gate", {})
    return {
        "workload": workload,
        "run": run,
        "outcome": ended.kind,
        "reason": ended.reason,
        "version": records.get("promote", {}).get("version"),
        "comparison": gate.get("comparison"),
        "reasons": gate.get("reasons", []),
        "quantization": gate.get("quantization"),
        "seconds": seconds,
    }


def show_comparison(console: "Console", rows: list[dict[str, Any]]) -> None:
    """Print the models side by side, the served one last, then how much faster; a row is what the gate recorded."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2), show_edge=False, pad_edge=True)
    table.add_column("")
    for column in (f"{rows[0]['metric']} (95 %)", *COLUMNS):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        low, high = row["accuracy_interval"]
        table.add_row(
            f"[bold]{row['model']}[/bold]",
            f"{formatting.score(row['accuracy'])} [dim]({formatting.score(low)} – {formatting.score(high)})[/dim]",
            f"{row['parameters']:,}",
            formatting.size(row["size_bytes"]),
            formatting.seconds(row["p50_seconds"]),
            formatting.seconds(row["p95_seconds"]),
        )
    console.print(table)
    pruned = rows[-1]
    if "speed_up" not in pruned:
        return
    (low, high), (control_low, control_high) = pruned["speed_up_interval"], pruned["control_interval"]
    console.print(
        f"  [bold]{pruned['speed_up']:.2f}x faster[/bold] ({low:.2f} – {high:.2f}) on {pruned['target']}; "
        f"[dim]dense against itself: {pruned['control']:.2f} ({control_low:.2f} – {control_high:.2f})[/dim]",
        soft_wrap=True,
    )


def show_checks(console: "Console", checks: list[dict[str, Any]]) -> None:
    """Print every check that can block or did not pass, and how many more passed; a row is what the gate recorded."""
    from rich.text import Text

    marks = {"passed": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "inconclusive": ("?", "red")}
    made = [check for check in checks if check["status"] != "skipped"]
    shown = [check for check in made if check["severity"] == "block" or check["status"] != "passed"]
    for check in shown:
        mark, style = marks[check["status"]]
        console.print(Text(f"  {mark} ", style=style) + Text(check["statement"]), soft_wrap=True)
    if len(shown) < len(made):
        console.print(Text(f"  ✓ and {len(made) - len(shown)} more checks passed", style="dim"))
    console.print()
