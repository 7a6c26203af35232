"""The versions of a workload as rows of a table, each with its state."""

from typing import TYPE_CHECKING, Any

from reprune.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from reprune.registry.history import History
    from reprune.registry.registry import Registry


def describe(registry: "Registry") -> list[dict[str, Any]]:
    """Describe each version of a workload, oldest first, and what is wrong with those that cannot be read."""
    history = registry.document()
    while True:
        rows = [row for version_id in registry.ids() if (row := _described(registry, history, version_id))]
        before, history = history, registry.document()
        if history == before:
            break  # else the rows may be of before and after a move
    champion = history.champion
    if champion and champion.version not in {row["version"] for row in rows}:
        reason = f"champion, but gone from the store: {champion.reason}"
        lost: dict[str, Any] = {
            "workload": registry.workload,
            "version": champion.version,
            "state": "gone",
            "published": "",
        }
        rows.append(lost | {"size_bytes": None, "reason": reason})
    return sorted(rows, key=lambda row: str(row["published"]))


def _described(registry: "Registry", history: "History", version_id: str) -> dict[str, Any] | None:
    """Describe a version; None if it was retired since its workload's versions were listed."""
    reasons = {move.version: move.reason for move in history.champion_moves}
    if history.canary and history.canary.version == version_id:
        reasons[version_id] = history.canary.reason
    row: dict[str, Any] = {"workload": registry.workload, "version": version_id, "state": state(history, version_id)}
    try:
        row["published"] = registry.published(version_id).isoformat()
        row |= {"size_bytes": registry.version(version_id).size_bytes, "reason": reasons.get(version_id, "")}
    except InputError:
        return None
    except IntegrityError as error:
        row |= {"state": "damaged", "size_bytes": None, "reason": error.message}
    return row


def state(history: "History", version_id: str) -> str:
    """Return the stage of a version: candidate, canary with its share (or shadow), champion, archived."""
    champion, canary = history.champion, history.canary
    if champion and champion.version == version_id:
        return "champion"
    if canary and canary.version == version_id:
        return f"canary, {canary.percent} %" if canary.percent else "shadow"
    return "archived" if any(move.version == version_id for move in history.champion_moves) else "candidate"
