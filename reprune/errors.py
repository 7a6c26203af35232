"""One family of errors. Each says what was wrong and what to do, and carries the exit code of the command it ends."""


class RepruneError(Exception):
    """Base of every error that reprune raises on purpose.

    Args:
        message: What was wrong, naming the thing.
        remedy: What to do about it, as an instruction to the user.
    """

    exit_code = 3

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message


class InputError(RepruneError):
    """What the user handed in cannot be used: a workload file, a model, data, a budget, an option."""

    exit_code = 2


class RetiredError(InputError):
    """The version was retired: the history marks it, and its files are deleted or about to be."""


class StepError(RepruneError):
    """A pipeline step failed while it was working on good input."""

    exit_code = 3


class StoreError(RepruneError):
    """The store cannot be reached, read or written, or does not keep the promises that promotion needs."""

    exit_code = 4


class IntegrityError(RepruneError):
    """Something in the store is not what its digest or its pointer says."""

    exit_code = 5


class ConflictError(StoreError):
    """A conditional write lost: somebody else wrote first."""

    exit_code = 6


class PruningError(RepruneError):
    """A model cannot be analyzed, cut, or replayed as asked; the model handed in is untouched."""

    exit_code = 2


class ClusterError(RepruneError):
    """Kubeflow Pipelines or Kubernetes cannot be reached, refuses, or did not do what was asked."""

    exit_code = 7


class Evicted(RepruneError):
    """The process was told to end (SIGTERM); what was finished is kept, and the same work goes on from there.

    The exit code is that of a process which ended on SIGTERM, 128 + 15: one that Kubernetes, Kubeflow and shells know
    as worth another try.
    """

    exit_code = 143


class RepruneWarning(UserWarning):
    """Less was reached than was asked for; what was reached is returned.

    Args:
        message: What was asked for, what was reached, and what held it back.
        remedy: What to do about it, as an instruction to the user.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message


def first_line(error: BaseException) -> str:
    """Return what an exception says, in one line; its type if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
