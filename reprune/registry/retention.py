"""Which old versions go: a stated rule, so that a registry does not grow for ever."""

from reprune.registry.registry import Registry


def retire(registry: Registry, keep: int) -> list[str]:
    """Delete old versions, and return their identifiers.

    Never deleted are the champion, the one that a rollback returns to, the canary, whatever was published since the
    champion's promotion (it may wait for approval), and the `keep` that were published last.

    Args:
        registry: Of one workload.
        keep: Number of versions, by their time of publication, that stay whatever they are.
    """
    history = registry.document()
    champion = history.champion
    if champion is None:
        return []
    published = {version_id: registry.published(version_id) for version_id in registry.ids()}
    latest = sorted(published, key=lambda version_id: published[version_id], reverse=True)[:keep]
    on_trial = [history.canary.version] if history.canary else []
    needed = {champion.version, *history.standing()[-2:], *on_trial, *latest}
    old = [version_id for version_id, at in published.items() if at < champion.since and version_id not in needed]
    for version_id in old:
        registry.delete(version_id)
    return old
