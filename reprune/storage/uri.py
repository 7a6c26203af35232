"""From a URI to a store, or to a file."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from reprune.errors import InputError
from reprune.storage.base import Store
from reprune.storage.local import FolderStore


def open_store(uri: str | Path, *, endpoint_url: str | None = None) -> Store:
    """Open a store; nothing is created, written or reached before it is used.

    Args:
        uri: A folder (a path or ``file:///path``) or ``s3://bucket/prefix``.
        endpoint_url: The S3 server; by default the one that the usual AWS variables (``AWS_ENDPOINT_URL_S3``,
            ``AWS_ENDPOINT_URL``) name, or else Amazon's.

    Raises:
        InputError: The URI is neither.
        StoreError: The path is a file.
    """
    scheme, location = _split(str(uri))
    if scheme == "file":
        return FolderStore(Path(location))
    from reprune.storage.s3 import S3Store  # boto3 takes a while to import, and a folder needs none of it

    bucket, _, prefix = location.partition("/")
    return S3Store(bucket, prefix.strip("/"), endpoint_url=endpoint_url)


def fetch_file(uri: str | Path, folder: Path, *, endpoint_url: str | None = None) -> Path:
    """Have a file at hand, wherever it is.

    Args:
        uri: A path, ``file:///path`` or ``s3://bucket/key``.
        folder: Where to put what is not on disk yet.
        endpoint_url: As in `open_store`.

    Returns:
        The path of the file: itself when it is on disk, whether it exists or not.

    Raises:
        NotFoundError: There is no such object on S3.
    """
    scheme, location = _split(str(uri))
    if scheme == "file":
        return Path(location)
    parent, _, name = location.rpartition("/")
    if not parent or not name:
        raise InputError(f"{str(uri)!r} names no file.", "Write s3://bucket/key.")
    open_store(f"s3://{parent}", endpoint_url=endpoint_url).download(name, folder / name)
    return folder / name


def _split(uri: str) -> tuple[str, str]:
    """Return ``("file", path)`` or ``("s3", bucket/key)``."""
    if uri.startswith("s3://"):
        return "s3", uri.removeprefix("s3://")
    if uri.startswith("file:"):
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise InputError(f"{uri!r} is no absolute path.", "Write file:///absolute/path, or just the path.")
        return "file", unquote(parts.path)
    if "://" in uri:
        scheme = uri.partition("://")[0]
        raise InputError(f"{scheme}:// is no store that reprune knows.", "Use a folder or s3://bucket/prefix.")
    if not uri.strip():
        raise InputError("The store's URI is empty.", "Use a folder or s3://bucket/prefix.")
    return "file", str(Path(uri).expanduser())
