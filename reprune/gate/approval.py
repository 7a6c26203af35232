"""From a version that the gate let through to the champion, at once or when somebody says so."""

from pathlib import Path
from tempfile import TemporaryDirectory

from reprune.config.target import Target
from reprune.errors import InputError, IntegrityError
from reprune.gate import serving_probe
from reprune.gate.verdict import Verdict
from reprune.inference.champion import ONNX
from reprune.registry.history import Canary, Champion
from reprune.registry.manifest import Version
from reprune.registry.registry import Registry

VERDICT = "verdict.json"
REQUESTS = "requests.npz"
"""File of a version: requests with the answers of the file that was judged."""

COMPARED_WITH = "compared_with"
"""Key of a version's lineage: the champion that the gate compared it with, or None."""

TARGETS = "targets"
"""Key of a version's lineage: where it is to be served."""

BUNDLE = "bundle.json"
"""The description of the torch model; `reprune.pruning.bundle` says so too, but brings torch along."""


def approve(
    registry: Registry, reference: str, *, reason: str = "", by: str = "", canary: int | None = None
) -> Champion | Canary:
    """Make a judged version the champion, or put it on trial beside the champion.

    Args:
        registry: Where it was published.
        reference: The version.
        reason: Why, for the history; by default what the gate said.
        by: The run or the person that decided.
        canary: Share of the traffic in percent, to try it out first; 0 is a shadow.

    Raises:
        InputError: The version was not published by reprune's gate, or the gate refused it.
        IntegrityError: Its model is not the one that the gate judged, or the registry's copy does not answer as it did.
        ConflictError: The champion is not the one any more that the gate compared it with.
    """
    version = registry.version(reference)
    verdict = judged(registry, version)
    serve(registry, version)
    compared = version.lineage.get(COMPARED_WITH)
    expected = Champion.model_validate(compared) if compared else None
    reason = reason or verdict.summary
    if canary is None:
        return registry.promote(version.id, reason=reason, expected=expected, by=by)
    return registry.try_out(version.id, canary, reason=reason, expected=expected, by=by)


def judged(registry: Registry, version: Version) -> Verdict:
    """Return the verdict on a version.

    Raises:
        InputError: It has none, or was refused.
        IntegrityError: Its model is not the one that the gate judged.
    """
    files = {file.path: file for file in version.files}
    if VERDICT not in files or ONNX not in files:
        raise InputError(
            f"Version {version.short} of {registry.workload} has no verdict of the gate.",
            "Approve a version that a run has published.",
        )
    verdict = Verdict.model_validate_json(registry.read(version, VERDICT))
    if not verdict.passed:
        raise InputError(
            f"The gate refused version {version.short}: {verdict.summary}", "Approve one that it let through."
        )
    expected = {ONNX: verdict.candidate_sha256} | ({BUNDLE: verdict.bundle_sha256} if verdict.bundle_sha256 else {})
    for name, sha256 in expected.items():
        found = files[name].sha256 if name in files else "nothing"
        if found != sha256:
            raise IntegrityError(
                f"The {name} of version {version.short} is not the one that the gate judged "
                f"({found[:12]} in place of {sha256[:12]}).",
                "Run the pipeline again.",
            )
    return verdict


def serve(registry: Registry, version: Version) -> None:
    """Let fresh processes open the registry's copy with each target's threads, and repeat the recorded answers.

    Targets that this machine cannot serve are passed over: who approves need not sit at the machine that serves.

    Raises:
        InputError: The version holds no recorded requests.
        IntegrityError: A copy is damaged, does not open, or answers otherwise.
    """
    with TemporaryDirectory(prefix="reprune-approve-") as scratch:
        folder = registry.fetch(version, Path(scratch), only=[ONNX, REQUESTS])
        for target in map(Target.model_validate, version.lineage[TARGETS]):
            if not target.available():
                continue
            found = serving_probe.probe(folder / ONNX, target, recording=folder / REQUESTS)
            if not found.answers:
                why = found.problem or f"it answers otherwise than recorded, by up to {found.max_abs_error:.2g}"
                raise IntegrityError(
                    f"The registry's copy of version {version.short} does not serve on {target.label()}: {why}.",
                    "Run the pipeline again, with the onnxruntime that serves.",
                )


def waiting(registry: Registry) -> list[Version]:
    """Return the versions that could be approved now: let through, and compared with the champion that stands."""
    champion = registry.pointer()
    found = []
    for version in registry.versions():
        compared = version.lineage.get(COMPARED_WITH, "nothing")
        here = champion.model_dump(mode="json") if champion else None
        if compared == here and version.id != (champion.version if champion else None):
            found.append(version)
    return found
