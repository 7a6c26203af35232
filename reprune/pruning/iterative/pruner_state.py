"""Where the iterative pruner stands, in memory and in the store, so that a run that was killed goes on from there."""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from reprune.pruning.iterative.rounds import Measured, Round
from reprune.pruning.recipe import Recipe
from reprune.pruning.surgery import replay
from reprune.storage.checkpoints import Checkpoints

ROUNDS, CUT, BEST = "rounds", "cut", "best"
"""Names of the checkpoints: the model that the next round starts from; that round's cut; the best round's model."""


@dataclass(frozen=True)
class Cutting:
    """A model that was cut and is still to recover.

    Attributes:
        model: Trained in place while it recovers.
        recipe: Leads to it from the dense model.
        progress: Share of the cells to cut that are gone.
        widths: Cells of each group that are left.
        measured: What it costs.
    """

    model: nn.Module
    recipe: Recipe
    progress: float
    widths: dict[str, int]
    measured: Measured


@dataclass(frozen=True)
class State:
    """The rounds that are over.

    Attributes:
        model: The last that recovered, or the dense one: what the next round cuts.
        recipe: Leads to it from the dense model.
        rounds: All rounds so far.
        best: Model and recipe of the best round.
        chosen: That round.
    """

    model: nn.Module
    recipe: Recipe
    rounds: tuple[Round, ...] = ()
    best: tuple[nn.Module, Recipe] | None = None
    chosen: Round | None = None

    @property
    def spent(self) -> float:
        """Return what the rounds cost, in dense trainings."""
        return self.rounds[-1].cost_so_far if self.rounds else 0.0

    @property
    def widths(self) -> dict[str, int]:
        """Return the widths of the model; empty for the dense one."""
        return next((it.widths for it in reversed(self.rounds) if it.recovered), {})


@dataclass
class Progress:
    """Keeps the state of a run.

    Latency is kept with the cut: measured anew it would be another number, and might decide otherwise.

    Attributes:
        checkpoints: Where it is kept beyond this process, if anywhere.
    """

    checkpoints: Checkpoints | None = None
    _dense: nn.Module = field(init=False, repr=False)

    def resume(self, dense: nn.Module) -> State:
        """Return the state that was kept, or that of the dense model before the first round."""
        self._dense = dense
        found = self._load(ROUNDS)
        if found is None:
            return State(copy.deepcopy(dense), Recipe.identity(dense))
        model, recipe, kept = found
        state = State(model, recipe, tuple(map(Round.model_validate, kept["rounds"])))
        best = self._load(BEST)
        if best is None or best[2]["round"] > len(state.rounds):  # its round is the one that was not finished
            return state
        return replace(state, best=best[:2], chosen=state.rounds[best[2]["round"] - 1])

    def cut_of(self, state: State) -> Cutting | None:
        """Return the next round's cut as it was before recovery, if it was made already."""
        found = self._load(CUT)
        if found is None or found[2]["round"] != len(state.rounds) + 1:
            return None
        model, recipe, kept = found
        return Cutting(model, recipe, kept["progress"], kept["widths"], Measured(**kept["measured"]))

    def keep_cut(self, state: State, cutting: Cutting) -> Cutting:
        """Keep the next round's cut; returns it."""
        kept = {"progress": cutting.progress, "widths": cutting.widths, "measured": vars(cutting.measured)}
        self._save(CUT, cutting.model, cutting.recipe, {"round": len(state.rounds) + 1, **kept})
        return cutting

    def add(self, state: State, done: Round, cutting: Cutting) -> State:
        """Take a finished round in; one that did not recover is taken back."""
        after = replace(state, rounds=(*state.rounds, done))
        if done.recovered:
            after = replace(after, model=cutting.model, recipe=cutting.recipe)
        if state.chosen is None or done.worth > state.chosen.worth:
            after = replace(after, best=(cutting.model, cutting.recipe), chosen=done)
            self._save(BEST, cutting.model, cutting.recipe, {"round": done.round})
        self._save(ROUNDS, after.model, after.recipe, {"rounds": [it.model_dump() for it in after.rounds]})
        return after

    def _save(self, name: str, model: nn.Module, recipe: Recipe, state: dict[str, Any]) -> None:
        if self.checkpoints:
            self.checkpoints.save(name, model.state_dict(), {**state, "recipe": recipe.to_json()})

    def _load(self, name: str) -> tuple[nn.Module, Recipe, dict[str, Any]] | None:
        found = self.checkpoints.load(name) if self.checkpoints else None
        if found is None:
            return None
        tensors, state = found
        recipe = Recipe.from_json(state["recipe"])
        model = replay(self._dense, recipe)
        model.load_state_dict(tensors)
        return model, recipe, state
