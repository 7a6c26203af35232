"""Examples held against the user's model and task, on a real forward pass."""

from typing import Any

import torch
from torch import nn
from torch.utils.data import default_collate

from reprune.config.entry_points import describe
from reprune.data.model_io import call, named_outputs
from reprune.data.tasks import Task
from reprune.data.validation.examples import Example
from reprune.errors import InputError

Spec = dict[str, str]
"""Type and shape of each input and target, by name."""


class Judge:
    """Checks one split: its first batch goes through the model, the targets of all batches against its outputs.

    Args:
        model: In evaluation mode.
        task: Says which targets belong to which outputs.
        entry_point: The model's name, for messages.
        split: The split's name, for messages.
    """

    def __init__(self, model: nn.Module, task: Task, entry_point: str, split: str) -> None:
        self._model = model
        self._task = task
        self._name = entry_point
        self._split = split
        self._outputs: Any = None

    def check(self, batch: list[Example], spec: Spec) -> None:
        """Check a batch.

        Raises:
            InputError: The model refuses the inputs, or the task the targets.
        """
        targets = default_collate([target for _, _, target in batch])
        if self._outputs is None:
            self._outputs = self._run(batch, spec)
            self._hold(batch, self._outputs, targets)
            self._try_out(self._outputs, targets)
        elif torch.is_tensor(self._outputs):
            self._hold(batch, self._outputs[:1].expand(len(batch), *self._outputs.shape[1:]), targets)

    def _run(self, batch: list[Example], spec: Spec) -> Any:
        inputs = default_collate([value for _, value, _ in batch])
        try:
            with torch.no_grad():
                return call(self._model, inputs)
        except Exception as error:
            shapes = ", ".join(f"{key}: {what}" for key, what in spec.items() if not key.startswith("target"))
            raise InputError(
                f"model: {self._name} refuses the {self._split} split from example {batch[0][0]} on "
                f"({shapes}; a batch of {len(batch)}): {describe(error)}",
                "Let model and dataset agree on shape and type of an input, without the batch dimension.",
            ) from error

    def _hold(self, batch: list[Example], outputs: Any, targets: Any) -> None:
        try:
            self._task.check(outputs, targets)
        except InputError as error:
            culprit = self._culprit(batch, outputs, targets)
            where = self._split if culprit is None else f"example {culprit} of {self._split}"
            raise InputError(f"{where}: {error.message}", error.remedy) from None

    def _try_out(self, outputs: Any, targets: Any) -> None:
        """Call the task's functions once, since the first need of some of them comes after the training."""
        found = [tensor.numpy() for tensor in named_outputs(outputs).values()]
        arrays = found[0] if len(found) == 1 else found
        rows: dict[str, Any] = {}
        for name, given in {"loss": (outputs, targets), "score": (outputs, targets), "signals": (arrays,)}.items():
            try:
                rows[name] = getattr(self._task, name)(*given)
            except Exception as error:
                what = "NumPy arrays" if name == "signals" else "tensors"
                raise InputError(
                    f"task: {name}() of {type(self._task).__name__} fails on the first batch of {self._split}: "
                    f"{describe(error)}",
                    f"It is given {what}; see reprune.data.tasks.Task.",
                ) from error
        for name, value in ({f"signals()[{key!r}]": it for key, it in rows.pop("signals").items()} | rows).items():
            if tuple(value.shape) != (len(found[0]),):
                raise InputError(
                    f"task: {name} of {type(self._task).__name__} has the shape {list(value.shape)} for "
                    f"{len(found[0])} examples.",
                    "Return one number for each example.",
                )

    def _culprit(self, batch: list[Example], outputs: Any, targets: Any) -> int | None:
        """Return the index of the first example that the task refuses on its own."""
        if not (torch.is_tensor(outputs) and torch.is_tensor(targets)):
            return None
        for row, (index, _, _) in enumerate(batch):
            try:
                self._task.check(outputs[row : row + 1], targets[row : row + 1])
            except InputError:
                return index
        return None
