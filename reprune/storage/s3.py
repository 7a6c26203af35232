"""A store in an S3 bucket, of Amazon or of any server that speaks the protocol."""

import contextlib
import io
import os
import re
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from s3transfer.exceptions import RetriesExceededError

from reprune.errors import ConflictError, InputError, StoreError
from reprune.storage import keys, s3_errors
from reprune.storage.base import Entry, NotFoundError, Store
from reprune.storage.upload import Hashing, readable

PROBE = ".probe-"
STALE = timedelta(hours=1)
"""A probe as old as this belongs to a process that was killed."""

PART_BYTES = 8 << 20
MAX_PARTS = 9000
"""S3 allows 10,000."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONNECTIONS = Config(
    connect_timeout=3,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 3},
    # Older servers (Ceph 16 among them) do not know the newer trailing checksums; reads are verified by sha256.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)

_quotes_by_bucket: dict[tuple[str, str], bool] = {}
"""Buckets found to keep conditions, and whether they want the ETag in quotes (Ceph 16 matches only the bare one)."""


class S3Store(Store):
    """A store in an S3 bucket. Credentials come from where boto3 finds them, never from the URI.

    Args:
        bucket: The bucket; it must exist.
        prefix: What all keys begin with; may be empty.
        endpoint_url: The server; by default the one of the AWS variables, or else Amazon's. A server that is named is
            addressed by path (``server/bucket``), as self-hosted ones need it.

    Raises:
        InputError: No bucket or server can have this name.
    """

    def __init__(self, bucket: str, prefix: str = "", *, endpoint_url: str | None = None) -> None:
        if not _BUCKET.fullmatch(bucket):
            raise InputError(
                "The store's URI names no bucket." if not bucket else "The store's URI names a bucket that cannot be.",
                "Write s3://bucket/prefix; a bucket is 3 to 63 lower-case letters, digits, dots and dashes.",
            )
        if prefix:
            keys.check_key(prefix)
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        named = endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        try:
            self._client = _client(named)
        except ValueError:
            raise InputError(
                f"The endpoint of {self.uri} is no URL.", "Write http://host:port or https://host."
            ) from None
        except BotoCoreError as error:
            raise s3_errors.explain(error, uri=self.uri, key="") from None

    def entry(self, key: str) -> Entry:
        """Read bytes; the token is the ETag."""
        with self._explained(key):
            for attempt in range(3):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key))
                try:
                    return Entry(answer["Body"].read(), answer["ETag"].strip('"'))
                except (
                    ResponseStreamingError,
                    IncompleteReadError,
                    ReadTimeoutError,
                ):  # boto3 retries up to the headers only
                    if attempt == 2:
                        raise
        raise AssertionError("unreachable")

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> None:
        """Write bytes, on a condition if one is given and the server was seen to keep it."""
        conditions = {}
        if if_absent:
            conditions["IfNoneMatch"] = "*"
        if if_match is not None:
            conditions["IfMatch"] = if_match
        if conditions:
            self.check_conditional_writes()
            quoted = _quotes_by_bucket[self._identity]
            self._put_if(key, data, conditions, quoted=quoted)
        elif len(data) > 8 * PART_BYTES:
            self._send(key, io.BytesIO(data), len(data))
        else:
            with self._explained(key):
                self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=data)

    def upload(self, path: Path, key: str) -> str:
        """Send a file in parts; it appears once all of them are there."""
        with readable(path) as file:
            hashing = Hashing(file)
            self._send(key, hashing, path.stat().st_size)
        return hashing.hexdigest()

    def exists(self, key: str) -> bool:
        """Return whether there is an object by this name."""
        try:
            self.modified(key)
        except NotFoundError:
            return False
        return True

    def modified(self, key: str) -> datetime:
        """Return when the object was written, by the server's clock."""
        with self._explained(key):
            answer = self._client.head_object(Bucket=self._bucket, Key=self._key(key))
        written: datetime = answer["LastModified"]
        return written

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, page by page; names that no store can have are left out."""
        keys.check_prefix(prefix)
        with self._explained(prefix):
            for item in self._objects(self._prefix + prefix):
                key = item["Key"].removeprefix(self._prefix)
                if keys.is_key(key):
                    yield key

    def delete(self, key: str) -> None:
        """Remove an object."""
        with self._explained(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))

    def check(self, *, write: bool = False) -> None:
        """Try the bucket, and sweep up probes that nobody needs any more."""
        with self._explained():
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
            if not write:
                return
            with self._probe() as probe:
                self._client.put_object(Bucket=self._bucket, Key=probe, Body=b"reprune")
                now = self._client.head_object(Bucket=self._bucket, Key=probe)["LastModified"]  # by the server's clock
            long_ago = now - STALE
            for item in self._objects(self._prefix + PROBE):
                if item["LastModified"] < long_ago:
                    self._client.delete_object(Bucket=self._bucket, Key=item["Key"])

    def check_conditional_writes(self) -> None:
        """Try both conditions, each where it must hold and where it must not."""
        if self._identity in _quotes_by_bucket:
            return
        with self._explained(), self._probe() as probe:
            first, second = b"first", b"second"
            if not self._accepted(probe, first, IfNoneMatch="*"):
                raise self._unconditional("refuses to create an object only if there is none (If-None-Match)")
            if self._accepted(probe, second, IfNoneMatch="*"):
                raise self._unconditional("ignores If-None-Match")
            if self._accepted(probe, second, IfMatch='"00000000000000000000000000000000"'):
                raise self._unconditional("ignores If-Match")
            tag = self._client.head_object(Bucket=self._bucket, Key=probe)["ETag"].strip('"')
            quotes = self._accepted(probe, second, IfMatch=f'"{tag}"')
            if not quotes and not self._accepted(probe, second, IfMatch=tag):
                raise self._unconditional("never accepts If-Match")
        _quotes_by_bucket[self._identity] = quotes

    @property
    def _identity(self) -> tuple[str, str]:
        return self._client.meta.endpoint_url, self._bucket

    def _key(self, key: str) -> str:
        keys.check_key(key)
        return self._prefix + key

    def _objects(self, prefix: str) -> Iterator[dict[str, Any]]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
            yield from page.get("Contents", [])

    def _send(self, key: str, stream: Any, size_bytes: int) -> None:
        parts = TransferConfig(
            multipart_threshold=PART_BYTES,
            multipart_chunksize=max(PART_BYTES, size_bytes // MAX_PARTS + 1),
            max_concurrency=4,
        )
        with self._explained(key):
            self._client.upload_fileobj(stream, self._bucket, self._key(key), Config=parts)

    def _fetch(self, key: str, path: Path) -> None:
        with self._explained(key), path.open("wb") as file:
            self._client.download_fileobj(self._bucket, self._key(key), file)

    def _put_if(self, key: str, data: bytes, conditions: dict[str, str], *, quoted: bool) -> None:
        if "IfMatch" in conditions and quoted:
            conditions["IfMatch"] = f'"{conditions["IfMatch"]}"'
        with self._explained(key):
            written = self._accepted(self._key(key), data, **conditions)
        if not written:
            raise ConflictError(f"{key!r} in {self.uri} was changed meanwhile.", "Read it again and decide again.")

    def _accepted(self, full_key: str, data: bytes, **condition: str) -> bool:
        """Write on a condition; returns whether the server found that it holds."""
        for attempt in range(6):
            try:
                self._client.put_object(Bucket=self._bucket, Key=full_key, Body=data, **condition)
                return True
            except ClientError as error:
                refusal = s3_errors.refusal(error)
                if refusal is None:
                    raise
                if refusal == "failed":
                    return False
                time.sleep(0.05 * 2**attempt)  # 409: another write is in flight, and nobody has won yet
        return False

    @contextlib.contextmanager
    def _probe(self) -> Iterator[str]:
        full_key = f"{self._prefix}{PROBE}{uuid.uuid4().hex}"
        try:
            yield full_key
        except BaseException:
            with contextlib.suppress(
                BotoCoreError, ClientError
            ):  # the error that led here says more than this one would
                self._client.delete_object(Bucket=self._bucket, Key=full_key)
            raise
        self._client.delete_object(Bucket=self._bucket, Key=full_key)

    def _unconditional(self, what: str) -> StoreError:
        return StoreError(
            f"The S3 server of {self.uri} {what}, so two promotions at once could both believe that they won.",
            "Use a server with conditional writes (Amazon S3, Ceph, MinIO, SeaweedFS of 2025 or later), or a folder.",
        )

    @contextlib.contextmanager
    def _explained(self, key: str = "") -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError, RetriesExceededError) as error:
            raise s3_errors.explain(error, uri=self.uri, key=key) from None


def _client(endpoint_url: str | None) -> Any:
    session = boto3.session.Session()
    style = "path" if endpoint_url else "auto"
    return session.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=session.region_name or "us-east-1",
        config=_CONNECTIONS.merge(Config(s3={"addressing_style": style})),
    )
