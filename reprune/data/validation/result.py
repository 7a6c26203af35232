"""What validation found, as later steps read it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from reprune.errors import InputError

Severity = Literal["critical", "warning", "info"]


class Failure(BaseModel):
    """An expectation that a split does not meet."""

    model_config = ConfigDict(frozen=True)

    split: str
    expectation: str
    """Great Expectations' name of it, such as ``expect_column_values_to_be_between``."""
    column: str | None
    severity: Severity
    observed: str
    """What was found, in words."""

    def in_words(self) -> str:
        """Return the failure as one line."""
        return f"{self.split}: {self.column or 'table'}: {self.expectation}: {self.observed}"


class Validation(BaseModel):
    """What validation found; the HTML page is left out of the JSON."""

    model_config = ConfigDict(frozen=True)

    examples: dict[str, int]
    """Examples of each split."""
    inspected: dict[str, int]
    """Examples of each split that were looked at: evenly spaced ones of a large split."""
    classes: int | None
    """Distinct labels of the train split; None where targets are not classes."""
    expectations: dict[Severity, int]
    """Expectations that ran, by severity."""
    failures: tuple[Failure, ...]
    """Expectations that were not met."""
    leaks: tuple[str, ...]
    """Splits that share inputs with train, in words."""
    data_digest: str
    """The sha256 over the inspected examples of train, validation and test."""
    html: str = Field("", exclude=True, repr=False)
    """Great Expectations' findings as one page without anything from outside."""

    @property
    def failed(self) -> dict[Severity, int]:
        """Failed expectations, by severity."""
        return {severity: sum(f.severity == severity for f in self.failures) for severity in self.expectations}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at, though it stops nothing."""
        return self.leaks + tuple(f.in_words() for f in self.failures if f.severity != "critical")

    @property
    def summary(self) -> str:
        """One line: ``1,797 examples, 10 classes, 0 failed expectations``."""
        parts = [f"{sum(self.examples.values()):,} examples"]
        parts += [f"{self.classes} classes"] if self.classes else []
        parts += [f"{len(self.failures)} failed expectation{'' if len(self.failures) == 1 else 's'}"]
        parts += ["inputs shared between splits"] if self.leaks else []
        return ", ".join(parts)

    def require(self) -> None:
        """Raise InputError when a critical expectation failed; call it once the page is written."""
        critical = [failure for failure in self.failures if failure.severity == "critical"]
        if critical:
            raise InputError(
                f"data: {len(critical)} critical expectation{'' if len(critical) == 1 else 's'} failed:\n"
                + "\n".join(f"  - {failure.in_words()}" for failure in critical[:10]),
                "Mend the data; the validation page shows every expectation.",
            )
