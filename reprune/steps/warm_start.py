"""What a cycle can go on from: the dense model of the one before, the champion's recipe, and its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from reprune.errors import InputError, IntegrityError, PruningError
from reprune.pruning import bundle
from reprune.pruning.iterative.rounds import Round
from reprune.pruning.recipe import Recipe
from reprune.pruning.recipe_overlap import Overlap
from reprune.steps.context import Step, read_records

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Former:
    """The champion's cut.

    Attributes:
        version: Short name of its version.
        recipe: Leads to its widths from the dense model.
        cost: What its cycle cost, in dense trainings, by step; empty where that is not known.
    """

    version: str
    recipe: Recipe
    cost: dict[str, float]


@dataclass(frozen=True)
class FormerModel:
    """The champion's pruned model, to go on from.

    Attributes:
        model: In float, also where its quantized file is served.
        weights: Their sha256.
    """

    model: "nn.Module"
    weights: str


class WarmStart(BaseModel):
    """What became of the champion's recipe in this cycle."""

    model_config = ConfigDict(frozen=True)

    version: str | None = None
    """The champion's version, if its recipe was replayed."""
    accepted: bool = False
    reason: str
    """Why it serves, or why it does not, in words."""
    begun: str = ""
    """Whose weights its recovery began from, and why, in words."""
    weights: str | None = None
    """The sha256 of the champion's weights, if it began from those."""
    round: Round | None = None
    """Its recovery, if it came to that."""
    overlap: Overlap | None = None
    """Of the cells that it keeps with those that today's saliency would keep at its widths."""
    former_cost: dict[str, float] = {}
    """What the champion's cycle cost, in dense trainings, by step."""

    @property
    def cost(self) -> float:
        """Return what the attempt cost, in dense trainings."""
        return self.round.cost if self.round else 0.0


def former_cut(step: Step, dense: "nn.Module") -> Former | str:
    """Return the champion's cut, or why it cannot be replayed on the dense model.

    A recipe whose replay the gate refused is not tried again: the search may find what it lacks.
    """
    from reprune.pruning.surgery import replay

    if not step.workload.warm_start:
        return "warm_start is 0"
    try:
        pointer = step.registry.champion()
        if pointer is None:
            return "there is no champion yet"
        version = step.registry.version(pointer.version)
        if bundle.RECIPE not in {file.path for file in version.files}:
            return f"the champion {version.short} was never cut"
        refused = _refused_in(step, version.id)
        if refused:
            return f"the gate refused a replay of the champion {version.short} in run {refused}"
        with TemporaryDirectory() as scratch:
            folder = step.registry.fetch(version, Path(scratch), only=[bundle.RECIPE])
            recipe = Recipe.load(folder / bundle.RECIPE)
        replay(dense, recipe)
    except (InputError, IntegrityError, PruningError) as error:
        return f"the champion's recipe does not serve: {error.message}"
    return Former(version.short, recipe, dict(version.lineage.get("cost") or {}))


def former_model(step: Step, former: Former, dense: "nn.Module", origin: Mapping[str, Any]) -> FormerModel | str:
    """Return the champion's pruned model, or why recovery cannot begin from its weights.

    Args:
        step: The step.
        former: The champion's cut.
        dense: The new dense model, which lends its class and is left as it is.
        origin: The lineage of that one: by other code, the same weights may be another function.
    """
    from reprune.pruning.surgery import replay

    with TemporaryDirectory() as scratch:
        try:
            version = step.registry.version(former.version)
            made, files = version.lineage, {file.path: file.sha256 for file in version.files}
            factory = (made.get("entry_points") or {}).get("model")
            if factory != step.workload.model:
                return f"it was built by {factory or 'nobody knows what'}, the workload names {step.workload.model}"
            if made.get("code_digest") != origin.get("code_digest"):
                return "it was made by other code"
            if bundle.MASKS in files:
                return "single weights of it are masked, which recovery does not keep"
            step.registry.fetch(version, Path(scratch), only=[bundle.WEIGHTS])
            model = replay(dense, former.recipe)
            bundle.load_weights(model, Path(scratch) / bundle.WEIGHTS)
        except (InputError, IntegrityError) as error:
            return error.message.replace(f"{scratch}/", "").rstrip(".")
    return FormerModel(model, files[bundle.WEIGHTS])


def note_replay(step: Step) -> None:
    """Remember that this run hands on a replay of the champion's recipe."""
    pointer = step.registry.champion()
    assert pointer is not None
    step.store.put_json(_key(step), {"version": pointer.version, "run": step.run})


def shortened(epochs: int, share: float) -> int:
    """Return the epochs of a training that goes on from one before it: a share, but one at least, if there are any."""
    return min(epochs, max(1, round(share * epochs)))


def _refused_in(step: Step, version: str) -> str | None:
    if not step.store.exists(_key(step)):
        return None
    noted: dict[str, Any] = step.store.get_json(_key(step))
    refused = "reject" in read_records(step.store, step.workload.name, noted["run"])
    return noted["run"] if noted["version"] == version and refused else None


def _key(step: Step) -> str:
    return f"warm-start/{step.workload.name}.json"
