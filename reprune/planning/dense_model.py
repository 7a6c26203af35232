"""The dense model of a workload, for whoever needs it without a run: where it comes from, and how much it is worth."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from reprune.config.workload import Workload
from reprune.errors import InputError, IntegrityError, PruningError, RepruneError
from reprune.pruning import bundle
from reprune.storage.base import NotFoundError, Store
from reprune.storage.uri import fetch_file
from reprune.training.trainer import seed_everything

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Dense:
    """A dense model.

    Attributes:
        model: In eval mode.
        origin: Where its weights come from, in words.
        trained: Whether they are those of a training; else they are the model's own initial ones.
        warning: What the user must know about them, or nothing.
    """

    model: "nn.Module"
    origin: str
    trained: bool
    warning: str = ""


def keep(store: Store, workload: str, folder: Path) -> None:
    """Keep the bundle of the dense model that a run trained; it replaces the one of the run before.

    The weights are written under their digest before the description names them, so that a reader sees one or the
    other and never half of each.
    """
    description = bundle.Description.read(folder)
    weights = f"{_prefix(workload)}{description.files[bundle.WEIGHTS]}.safetensors"
    store.upload(folder / bundle.WEIGHTS, weights)
    described = f"{_prefix(workload)}{bundle.DESCRIPTION}"
    store.put(described, (folder / bundle.DESCRIPTION).read_bytes())
    for key in list(store.list(_prefix(workload))):
        if key not in (weights, described):
            store.delete(key)


def find(workload: Workload, store: Store) -> Dense:
    """Return the dense model: by the workload's ``weights``, else of the last run, else untrained.

    Raises:
        InputError: The model cannot be built, or ``weights`` do not fit it.
    """
    seed_everything(workload.seed)
    if workload.weights:
        model = bundle.build(workload.model, key="model")
        load_weights(model, workload.weights)
        return Dense(model.eval(), f"weights of {workload.weights}", trained=True)
    why = "no run has trained it yet"
    try:
        kept, _ = _kept(workload, store)
        return Dense(kept, f"the last run's, from {store.uri}", trained=True)
    except NotFoundError:
        pass
    except RepruneError as error:
        why = f"what the last run left does not fit: {error.message}"
    warning = (
        f"The weights are untrained: {why}. Latencies and sizes are what they will be; predicted losses, and which "
        f"group is cut rather than another, mean little until `reprune run {workload.name}` has trained it."
    )
    return Dense(bundle.build(workload.model, key="model").eval(), "untrained", trained=False, warning=warning)


def previous(workload: Workload, store: Store) -> "tuple[nn.Module, bundle.Description] | None":
    """Return the dense model that the last run trained, with its description, where it is of this class still."""
    try:
        return _kept(workload, store)
    except (NotFoundError, InputError, IntegrityError, PruningError):
        return None


def load_weights(model: "nn.Module", uri: str) -> None:
    """Fill a model with the weights that a workload names.

    Raises:
        InputError: There is no such file, it does not fit, or it holds values that are not finite.
    """
    with TemporaryDirectory() as scratch:
        bundle.load_weights(model, fetch_file(uri, Path(scratch)))
    if not all(tensor.isfinite().all() for tensor in model.state_dict().values() if tensor.is_floating_point()):
        raise InputError(
            f"weights: {uri} holds values that are not finite.", "Give the weights of a training that converged."
        )


def _kept(workload: Workload, store: Store) -> "tuple[nn.Module, bundle.Description]":
    """Return what the last run trained; raises InputError where that was another model."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store.download(f"{_prefix(workload.name)}{bundle.DESCRIPTION}", folder / bundle.DESCRIPTION)
        description = bundle.Description.read(folder)
        if description.model != workload.model:
            raise InputError(f"it is a {description.model}, the workload names {workload.model}.")
        digest = description.files[bundle.WEIGHTS]
        store.download(f"{_prefix(workload.name)}{digest}.safetensors", folder / bundle.WEIGHTS, sha256=digest)
        return bundle.load(folder, factory=workload.model), description


def _prefix(workload: str) -> str:
    return f"dense/{workload}/"
