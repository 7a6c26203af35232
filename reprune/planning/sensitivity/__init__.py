"""How much the loss rises as each group narrows: curves with error bars, measured at a fraction of the full cost."""

from typing import TYPE_CHECKING, Any

from reprune.planning.sensitivity.curves import Curve, CurvePoint, Sensitivity

if TYPE_CHECKING:
    from reprune.planning.sensitivity.measuring import analyze_sensitivity

__all__ = ["Curve", "CurvePoint", "Sensitivity", "analyze_sensitivity"]


def __getattr__(name: str) -> Any:
    """Import what measures when it is first asked for: torch takes seconds, reading curves does not need it."""
    if name != "analyze_sensitivity":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reprune.planning.sensitivity.measuring import analyze_sensitivity

    return analyze_sensitivity
