"""A workload's own code as text, so that a small one travels inside the compiled pipeline."""

import atexit
import base64
import gzip
import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reprune.errors import InputError

PREFIX = "data:application/x-tar+gzip;base64,"

LIMIT = 48 * 1024
"""Characters of packed code. The workload is an argument of every step, and Linux takes 128 KiB for one argument."""


def pack(folder: Path) -> str | None:
    """Return the modules of a folder, and all that lies in its packages, as text; None where there are none.

    The same files give the same text. Left out are links, hidden files, bytecode and virtual environments.

    Raises:
        InputError: They are too many to travel in a pipeline.
    """
    files = list(_sources(folder))
    if not files:
        return None
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for file in files:
            member = tarfile.TarInfo(file.relative_to(folder).as_posix())
            member.size = file.stat().st_size
            archive.addfile(member, io.BytesIO(file.read_bytes()))
    text = PREFIX + base64.b64encode(buffer.getvalue()).decode()
    if len(text) > LIMIT:
        largest = sorted(files, key=lambda file: file.stat().st_size)[-3:]
        raise InputError(
            f"The code in {folder} packs into {len(text):,} characters, more than the {LIMIT:,} that travel in a "
            f"pipeline; largest: {', '.join(str(file.relative_to(folder)) for file in reversed(largest))}.",
            "Put it into an image (docs/containers.md), and name its folder there as `code`.",
        )
    return text


def unpack(text: str) -> Path:
    """Write packed code to a folder that lasts as long as this process.

    Raises:
        InputError: The text is no packed code.
    """
    folder = Path(tempfile.mkdtemp(prefix="reprune-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        data = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            archive.extractall(folder, filter="data")
    except (ValueError, OSError, tarfile.TarError) as error:
        raise InputError(f"code: the packed code cannot be read: {error}.", "Compile the pipeline again.") from None
    return folder


def _sources(folder: Path) -> Iterator[Path]:
    """Yield the files that travel, in the order of their names."""
    package = (folder / "__init__.py").exists()
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__" or path.is_symlink():
            continue
        if path.is_dir() and not (path / "pyvenv.cfg").exists():
            yield from _sources(path)
        elif path.is_file() and (package or path.suffix == ".py"):
            yield path
