"""What an S3 server's refusals mean for the user. Messages of the server are not repeated: they may hold keys."""

from typing import Literal

from botocore import exceptions
from botocore.exceptions import ClientError
from s3transfer.exceptions import RetriesExceededError

from reprune.errors import StoreError
from reprune.storage.base import NotFoundError

_UNREACHABLE = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    RetriesExceededError,
)
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.ProfileNotFound,
    exceptions.TokenRetrievalError,
    exceptions.UnauthorizedSSOTokenError,
    exceptions.SSOTokenLoadError,
)
_DENIED = {
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnauthorizedAccess",
}
_FULL = {"507", "InsufficientStorage", "QuotaExceeded", "ServiceQuotaExceeded", "XMinioStorageFull"}


def code_of(error: ClientError) -> str:
    """Return the server's own word for an error, or the HTTP status where there is none."""
    answer = error.response
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    return str(answer.get("Error", {}).get("Code") or status)


def refusal(error: ClientError) -> Literal["failed", "busy"] | None:
    """Return how a condition was refused: it does not hold, another write is in flight, or (None) not at all."""
    code = code_of(error)
    if code in ("PreconditionFailed", "412", "NoSuchKey", "404"):  # 404: If-Match on what is not there
        return "failed"
    return "busy" if code in ("ConditionalRequestConflict", "409") else None


def explain(error: Exception, *, uri: str, key: str) -> StoreError:
    """Return the error that a user can act on.

    Args:
        error: What boto3 raised.
        uri: The store.
        key: What was asked for; empty for the store as a whole.
    """
    if isinstance(error, ClientError):
        return _answered(code_of(error), uri=uri, key=key)
    if isinstance(error, _NO_CREDENTIALS):
        return StoreError(
            f"There are no credentials for {uri} ({type(error).__name__}).",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role gives them.",
        )
    if isinstance(error, _UNREACHABLE):
        return StoreError(
            f"The S3 server of {uri} cannot be reached, or hangs up ({type(error).__name__}).",
            "Check --endpoint-url or AWS_ENDPOINT_URL, the network, and that the server is up.",
        )
    return StoreError(f"The S3 store {uri} failed ({type(error).__name__}).", "Check the AWS settings.")


def _answered(code: str, *, uri: str, key: str) -> StoreError:
    if code == "NoSuchBucket" or (code == "404" and not key):
        return StoreError(f"There is no bucket for {uri}.", "Create the bucket, or check its name and --endpoint-url.")
    if code in ("NoSuchKey", "404"):
        return NotFoundError(f"{uri} has no {key!r}.", "Check the name and the store.")
    if code in _DENIED:
        return StoreError(
            f"The S3 server denies access to {uri} ({code}).",
            "Check the AWS credentials, the clock, and that they may list, read, write and delete there.",
        )
    if code in _FULL:
        return StoreError(f"The S3 server has no room left for {uri} ({code}).", "Make room there, or raise the quota.")
    return StoreError(
        f"The S3 server of {uri} answered {code}{f' for {key!r}' if key else ''}.", "Try again; then ask its owner."
    )
