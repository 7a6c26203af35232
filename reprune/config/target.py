"""Where a model is served: the target a user names, and the machine that a measurement was made on."""

import hashlib
import json
import math
import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from reprune.errors import InputError

# What ONNX Runtime's CPU kernels (MLAS, KleidiAI) choose between; the other flags change no figure.
INSTRUCTION_SETS = (
    *("avx", "fma", "f16c", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme", "sme2"),
)


class Target(BaseModel):
    """Hardware and batch size that a model is served with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str = Field(default="CPUExecutionProvider", min_length=1)
    """Execution provider of ONNX Runtime, as `onnxruntime.get_available_providers()` names it."""

    threads: int = Field(default=1, ge=1)
    """Threads that one inference may use."""

    batch_size: int = Field(default=1, ge=1)
    """Examples in one inference."""

    def label(self) -> str:
        """Return the target in words, for tables: ``CPU, 1 thread, batch 32``."""
        provider = self.provider.removesuffix("ExecutionProvider")
        return f"{provider}, {self.threads} thread{'s' if self.threads > 1 else ''}, batch {self.batch_size}"

    def key(self) -> str:
        """Return the target as a name for files: ``cpu-1-thread-batch-32``."""
        return re.sub(r"[^a-z0-9]+", "-", self.label().lower())

    def slug(self) -> str:
        """Return the target as a part of file names: ``cpu-1-thread-batch-32``."""
        return re.sub(r"[^a-z0-9]+", "-", self.label().lower())

    def timer(self) -> Callable[[], float]:
        """Return what durations of calls are read from while planning, in seconds.

        On one CPU thread it is the time that the thread itself has run: what a call takes on a free machine, and nearly
        the same on a busy one, where the wall clock also counts the turns of other processes.
        """
        return time.thread_time if self.provider == "CPUExecutionProvider" and self.threads == 1 else time.perf_counter

    def available(self) -> bool:
        """Return whether this machine can serve the target."""
        try:
            self.check()
        except InputError:
            return False
        return True

    def check(self) -> "Target":
        """Return the target itself when this machine can serve it.

        Raises:
            InputError: The provider is not in this onnxruntime, or there are fewer cores than threads.
        """
        import onnxruntime

        available = onnxruntime.get_available_providers()
        if self.provider not in available:
            raise InputError(
                f"target.provider: {self.provider!r} is not available in onnxruntime {onnxruntime.__version__} here.",
                f"Use one of {', '.join(available)}, or install the onnxruntime build that has it.",
            )
        cores = usable_cores()
        if self.threads > cores:
            raise InputError(
                f"target.threads: {self.threads} is more than the number of cores here, {cores}.",
                f"Set threads to at most {cores}, or run this step on the machine that serves the model.",
            )
        return self


def provider_named(name: str) -> str:
    """Return the full name of an execution provider: ``CUDAExecutionProvider`` for ``cuda``."""
    import onnxruntime

    full = {it.removesuffix("ExecutionProvider").lower(): it for it in onnxruntime.get_all_providers()}
    return full.get(name.removesuffix("ExecutionProvider").lower(), name)


@dataclass(frozen=True)
class Machine:
    """What decides how long an inference takes here.

    Attributes:
        cpu_model: Name of the processor.
        instruction_sets: Those that ONNX Runtime chooses its kernels by.
        cores: Cores that this process may use.
        runtime: ONNX Runtime's version and build.
        system: Operating system and architecture.
    """

    cpu_model: str
    instruction_sets: tuple[str, ...]
    cores: int
    runtime: str
    system: str

    def key(self, target: Target) -> str:
        """Return the name under which measurements for this machine and target are kept.

        The number of cores is left out: a pod that may use more cores runs the same threads at the same speed.
        """
        identity = {key: value for key, value in asdict(self).items() if key != "cores"} | target.model_dump()
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
        name = re.sub(r"[^a-z0-9]+", "-", self.cpu_model.lower()).strip("-")
        return f"{name}-{target.key()}-{digest}"


@lru_cache(maxsize=1)
def machine() -> Machine:
    """Return the machine that this process runs on."""
    import onnxruntime

    model, flags = _processor()
    return Machine(
        cpu_model=model,
        instruction_sets=tuple(name for name in INSTRUCTION_SETS if name in flags),
        cores=usable_cores(),
        runtime=f"onnxruntime {onnxruntime.__version__} ({onnxruntime.get_build_info()})",
        system=f"{platform.system()} {platform.machine()}",
    )


def usable_cores() -> int:
    """Return how many cores this process may use: its affinity, and the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        allowed, period = quota.read_text().split()
        if allowed != "max":
            cores = min(cores, math.ceil(int(allowed) / int(period)))
    return max(cores, 1)


def _processor() -> tuple[str, set[str]]:
    """Return the processor's name and its feature flags; both come from the kernel on Linux."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine(), set()
    fields = dict(re.findall(r"^([^\t:]+?)\s*: (.*)$", info.read_text(), flags=re.MULTILINE))
    part = " ".join(fields[key] for key in ("CPU implementer", "CPU part") if key in fields)
    return fields.get("model name") or part or platform.machine(), set(
        (fields.get("flags") or fields.get("Features", "")).split()
    )
