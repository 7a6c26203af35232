"""ONNX Runtime sessions, opened the one way that everything here is measured and served with."""

import os
from pathlib import Path

import onnxruntime

from reprune.config.target import Target
from reprune.errors import InputError

CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3


def open_session(model: str | os.PathLike[str] | bytes, target: Target) -> onnxruntime.InferenceSession:
    """Open a model with the target's provider and threads.

    The runtime's worker threads spin while an inference runs and sleep between inferences: spinning is what makes
    several threads fast, but a pool that still spins after its inference slows whatever runs next.

    Args:
        model: Path of an ONNX file, or its contents.
        target: Where it runs.

    Raises:
        InputError: There is no such file, the runtime refuses the model, or the provider takes no part of it.
    """
    target.check()
    if not isinstance(model, bytes) and not Path(model).is_file():
        raise InputError(f"There is no ONNX file at {os.fspath(model)}.", "Name a file that `export_onnx` wrote.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = target.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else os.fspath(model), options, providers=_providers(target)
        )
    except Exception as error:  # the runtime's exceptions share no base class of their own
        raise InputError(
            f"onnxruntime {onnxruntime.__version__} refuses {_name(model)} on {target.label()}: {error}",
            "Name a file that is whole and is ONNX, exported with an opset that this runtime knows.",
        ) from error
    _took_part(session, model, target)
    return session


def _providers(target: Target) -> list[str]:
    """The CPU runs what an accelerator has no kernel for."""
    return [target.provider] if target.provider == CPU else [target.provider, CPU]


def _took_part(session: onnxruntime.InferenceSession, model: str | os.PathLike[str] | bytes, target: Target) -> None:
    """Refuse a session that fell back to the CPU as a whole: its figures would be another target's."""
    if target.provider not in session.get_providers():
        raise InputError(
            f"{target.provider} could not be started for {_name(model)}; onnxruntime fell back to the CPU.",
            "Mend the provider's installation (driver, libraries), or measure on CPUExecutionProvider.",
        )


def _name(model: str | os.PathLike[str] | bytes) -> str:
    return f"a model of {len(model)} bytes" if isinstance(model, bytes) else os.fspath(model)
