"""Which old versions go: a stated rule, so that a registry does not grow for ever."""

from datetime import datetime

from reprune.errors import InputError
from reprune.registry.history import History
from reprune.registry.registry import Registry


def retire(registry: Registry, keep: int, *, by: str = "") -> list[str]:
    """Retire old versions and delete their files; returns their identifiers.

    Never retired are the champion, the one that a rollback returns to, the canary, whatever was published since the
    champion's promotion (it may wait for approval), and the `keep` that were published last. Before and after follow
    from the history and, within one store, from the store's clock, so a wrong clock on one machine retires nothing.

    Each version is marked in the history before its files are deleted; what an earlier sweep marked and did not live
    to delete is deleted too.

    Args:
        registry: Of one workload.
        keep: Number of versions, by the order of their publication, that stay whatever they are.
        by: The run or the person that decided, for the history.

    Raises:
        StoreError: The store cannot be read or written; the next sweep finishes what is marked.
    """
    marked = registry.mark_retired(
        lambda history: _old(registry, history, keep), reason=f"older than the latest {keep}", by=by
    )
    leftovers = registry.retired_copies()  # by the history as it is now
    for version_id in leftovers:
        registry.delete(version_id)
    return sorted({*marked, *leftovers})


def _old(registry: Registry, history: History, keep: int) -> list[str]:
    champion = history.champion
    if champion is None:
        return []
    positions = registry.positions()
    published = _published(registry, positions)
    order = sorted(published, key=lambda it: (_known(positions[it], history, it), published[it]), reverse=True)
    on_trial = [history.canary.version] if history.canary else []
    needed = {champion.version, *history.standing()[-2:], *on_trial, *order[:keep]}
    return [it for it in published if it not in needed and _before_champion(it, positions[it], published, history)]


def _published(registry: Registry, positions: dict[str, int | None]) -> dict[str, datetime]:
    """Return when each version was published, by the store's clock."""
    found = {}
    for version_id in positions:
        try:
            found[version_id] = registry.published(version_id)
        except InputError:
            continue  # deleted since it was listed
    return found


def _known(position: int | None, history: History, version_id: str) -> int:
    """Return after how many moves a version was published, or the most that it can have been.

    Versions without a record are those of a reprune before records were kept; if one was never promoted nor tried out,
    it counts as older than all moves.
    """
    if position is not None:
        return position
    return next((move.sequence - 1 for move in history.moves if move.version == version_id), -1)


def _before_champion(version_id: str, position: int | None, published: dict[str, datetime], history: History) -> bool:
    """Return whether a version was certainly published before the champion was promoted."""
    champion = history.champion
    assert champion is not None
    known = _known(position, history, version_id)
    if known >= 0:
        return known < champion.sequence
    # published before the champion itself, by the store's clock; the moves have only the clocks of their machines
    return champion.version in published and published[version_id] < published[champion.version]
