"""A cut as a value: which slices of which tensors were kept. JSON on disk, replayed on any weights of the class."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from reprune import text_files
from reprune.errors import InputError, PruningError, first_line
from reprune.pruning.graph.capture import tensors_of

FORMAT: Literal[1] = 1
Size = int | tuple[int, ...]


class Slice(BaseModel):
    """The indices of one dimension that were kept, ascending."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int
    kept: tuple[int, ...]


class AttributeEdit(BaseModel):
    """A number that a module's Python reads, kept true: ``out_channels``, ``num_heads``, ``normalized_shape``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str
    """Path of the module, empty for the model itself."""
    attribute: str
    before: Size
    after: Size


class Recipe(BaseModel):
    """Everything that a cut did to a model, and what it found there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    slices: dict[str, tuple[Slice, ...]] = {}
    """By name of the parameter or buffer; a name that is absent was kept whole."""
    attributes: tuple[AttributeEdit, ...] = ()
    dropped: tuple[str, ...] = ()
    """Paths of residual blocks that were taken out whole; what they were given passes through."""
    shapes: dict[str, tuple[int, ...]] = {}
    """The shape of every parameter and buffer before the cut."""

    @classmethod
    def identity(cls, model: nn.Module) -> Self:
        """Return the recipe that keeps a whole model: where a series of cuts begins."""
        return cls(shapes={name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()})

    def to_json(self) -> str:
        """Return the recipe as JSON."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a recipe from JSON.

        Raises:
            PruningError: The text is not a recipe that this version of reprune can read.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problem = first_line(error)
            raise PruningError(
                f"This is no recipe of format {FORMAT}: {problem}.", "Use what Recipe.to_json gave."
            ) from None

    def save(self, path: str | Path) -> None:
        """Write the recipe as JSON."""
        Path(path).write_text(self.model_dump_json(indent=1))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recipe.

        Raises:
            PruningError: The file is not a recipe that this version of reprune can read.
        """
        try:
            return cls.model_validate_json(text_files.read(path))
        except (InputError, ValidationError) as error:
            raise PruningError(
                f"{path} is not a recipe of format {FORMAT}: {first_line(error)}.",
                "Name a file written by Recipe.save.",
            ) from None

    def then(self, second: "Recipe") -> "Recipe":
        """Return the one recipe that does this cut and then another, from the dense model.

        Raises:
            PruningError: The second recipe is not one of the model that this one makes.
        """
        slices = dict(self.slices)
        for name, cuts in second.slices.items():
            if name not in self.shapes:
                raise PruningError(
                    f"The second recipe cuts {name!r}, which the first does not know.", "Compose recipes of one model."
                )
            merged = {cut.dim: cut.kept for cut in self.slices.get(name, ())}
            for cut in cuts:
                before = merged.get(cut.dim, tuple(range(self.shapes[name][cut.dim])))
                if len(before) != second.shapes[name][cut.dim]:
                    raise PruningError(
                        f"The second recipe expects {second.shapes[name][cut.dim]} indices in "
                        f"dimension {cut.dim} of {name!r}; the first leaves {len(before)}.",
                        "Compose recipes in the order in which the cuts were made.",
                    )
                merged[cut.dim] = tuple(before[i] for i in cut.kept)
            slices[name] = tuple(Slice(dim=dim, kept=kept) for dim, kept in sorted(merged.items()))
        edits = {(edit.module, edit.attribute): edit for edit in self.attributes}
        for edit in second.attributes:
            first = edits.get((edit.module, edit.attribute))
            edits[edit.module, edit.attribute] = (
                edit if first is None else edit.model_copy(update={"before": first.before})
            )
        dropped = tuple(dict.fromkeys(self.dropped + second.dropped))
        return Recipe(slices=slices, attributes=tuple(edits.values()), dropped=dropped, shapes=self.shapes)
