"""The model in production, for those who serve it."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from reprune.config.target import Target
from reprune.errors import InputError
from reprune.registry.history import Champion
from reprune.registry.manifest import Version
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store

if TYPE_CHECKING:
    import onnxruntime
    from torch import nn

DEFAULT_STORE = "reprune-store"
ONNX = "model.onnx"


class ChampionModel:
    """A version of a workload's model, fetched and verified when it is loaded.

    Args:
        registry: Where it is kept.
        version: Which one.
        allow: Packages and entry points that may build its torch model, as in `reprune.load`.
    """

    def __init__(self, registry: Registry, version: Version, allow: Iterable[str] = ()) -> None:
        self._registry = registry
        self._allow = (allow,) if isinstance(allow, str) else tuple(allow)
        self.version = version

    def torch(self, *, allow: Iterable[str] = (), factory: str | None = None) -> "nn.Module":
        """Return the pruned torch model, in eval mode.

        It is built by the entry point that the version names, if that is allowed, or by ``factory``, from this
        environment.

        Args:
            allow: Further packages and entry points that may build it; a workload that ships needs none.
            factory: Entry point to use in place of the one that the version names.

        Raises:
            IntegrityError: A file is gone or not what its digest says.
            InputError: The entry point is not allowed, or not to be found.
            RetiredError: The version was replaced and retired since; ask for the champion again.
        """
        from reprune.pruning import bundle

        with TemporaryDirectory() as folder:
            names = [file.path for file in self.version.files if file.path in bundle.FILES]
            fetched = self._registry.fetch(self.version, Path(folder), only=names)
            more = (allow,) if isinstance(allow, str) else tuple(allow)
            return bundle.load(fetched, allow=(*self._allow, *more), factory=factory)

    def onnx(self, target: Target | None = None) -> "onnxruntime.InferenceSession":
        """Return a session of the ONNX model; it needs none of the workload's code.

        Args:
            target: Provider and threads; by default one CPU thread.

        Raises:
            IntegrityError: The file is gone or not what its digest says.
            RetiredError: The version was replaced and retired since; ask for the champion again.
        """
        from reprune.inference.session import open_session

        with TemporaryDirectory() as folder:
            fetched = self._registry.fetch(self.version, Path(folder), only=[ONNX])
            return open_session(fetched / ONNX, target or Target())


def champion(
    workload: str, store: str | Path = DEFAULT_STORE, *, endpoint_url: str | None = None, allow: Iterable[str] = ()
) -> ChampionModel:
    """Return the champion of a workload.

    Args:
        workload: Its name.
        store: A folder or ``s3://bucket/prefix``.
        endpoint_url: The S3 server; by default the one that the usual AWS variables name.
        allow: Packages and entry points that may build its torch model, as in `reprune.load`; a workload that ships
            needs none.

    Raises:
        InputError: The workload has no champion in this store.
        IntegrityError: The champion is damaged or gone.
    """
    registry = Registry(open_store(store, endpoint_url=endpoint_url), workload)
    version = registry.with_champion(lambda current: registry.version(current.version))
    if version is None:
        raise _none(registry)
    return ChampionModel(registry, version, allow)


def fetch_champion(registry: Registry, destination: Path, *, only: list[str]) -> Champion:
    """Bring files of the champion into a folder, each verified by its digest.

    Returns:
        The champion that they are of.

    Raises:
        InputError: The workload has no champion in this store, or the champion has no such file.
        IntegrityError: The champion is damaged or gone.
    """
    found = registry.fetch_champion(destination, only=only)
    if found is None:
        raise _none(registry)
    return found


def _none(registry: Registry) -> InputError:
    return InputError(
        f"{registry.workload} has no champion in {registry.store.uri}.",
        f"Make one: reprune run {registry.workload}; or name the store that has one (--store).",
    )
