"""Which group a user means: by its own name, or by the path of a module whose output it is."""

import difflib

from torch import fx

from reprune.errors import PruningError
from reprune.pruning.graph.analysis import Analysis, Group


def exactly(analysis: Analysis, name: str) -> Group:
    """Return the group of that name.

    Raises:
        PruningError: There is none; with the names that come close.
    """
    names = [group.name for group in analysis.groups]
    if name not in names:
        raise PruningError(f"There is no group {name!r}.", _guess(name, names))
    return analysis.group(name)


def find(analysis: Analysis, name: str) -> Group:
    """Return the group of that name, or the one that a module's output belongs to.

    Args:
        analysis: The groups.
        name: Of a group, or the path of a module, such as ``layer3`` or ``layer3.0.bn2``.

    Raises:
        PruningError: It is neither; the output stays whole; or it is of several groups.
    """
    names = [group.name for group in analysis.groups]
    if name in names:
        return analysis.group(name)
    within = _nodes_by_module(analysis).get(name)
    if within is None:
        raise PruningError(
            f"There is neither a group nor a module {name!r}.",
            _guess(name, list(dict.fromkeys([*names, *_nodes_by_module(analysis)]))),
        )
    groups, whole = _makers(analysis, within)
    groups = groups or _producing(analysis, name)
    if len(groups) == 1:
        return analysis.group(groups.pop())
    if groups:
        raise PruningError(
            f"What {name!r} returns belongs to several groups: {', '.join(sorted(groups))}.", "Name one of them."
        )
    reasons = [each.reason for each in analysis.frozen if each.what.rpartition("[")[0] in whole]
    raise PruningError(
        f"What {name!r} returns stays whole: {reasons[-1] if reasons else 'nothing that can be cut makes it'}.",
        f"Leave it out, or name another: {', '.join(names[:5]) or 'no group of this model can be cut'}.",
    )


def _guess(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    return f"Groups are named after modules, such as {', '.join(known[:5]) or 'none'}."


def _nodes_by_module(analysis: Analysis) -> dict[str, set[fx.Node]]:
    """Return the operators that ran inside each module, by its path."""
    found: dict[str, set[fx.Node]] = {}
    for node in analysis.capture.module.graph.nodes:
        for path, _ in (node.meta.get("nn_module_stack") or {}).values():
            found.setdefault(str(path), set()).add(node)
    return {path: nodes for path, nodes in found.items() if path}


def _makers(analysis: Analysis, within: set[fx.Node]) -> tuple[set[str], set[str]]:
    """Follow what leaves a module back to the weights that made it: their groups, and the weights that stay whole."""
    by_node = {operator.node: operator for operator in analysis.operators}
    pending = [node for node in within if any(user not in within for user in node.users)]
    seen = set(pending)
    groups: set[str] = set()
    whole: set[str] = set()
    while pending:
        node = pending.pop()
        operator = by_node.get(node.name)
        if operator is None:
            pending += [source for source in node.all_input_nodes if source not in seen]
            seen.update(node.all_input_nodes)
        elif operator.out_cells:
            groups.update(operator.out_cells)
        else:
            whole.add(operator.name)
    return groups, whole


def _producing(analysis: Analysis, path: str) -> set[str]:
    """Return the groups whose slices a module's own parameters make, such as an embedding's."""
    return {
        group.name
        for group in analysis.groups
        if any(member.tensor.rpartition(".")[0] == path for member in group.producers)
    }
