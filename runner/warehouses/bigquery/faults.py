"""From what Google's clients raise to the errors of `runner.errors`, by the reason that the service gives.

Source of the reasons: cloud.google.com/bigquery/docs/error-messages ("Error table").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import requests
from google.api_core import exceptions as google_errors
from google.auth import exceptions as auth_errors

from runner.errors import (
    AuthenticationFailed,
    CostLimitExceeded,
    ObjectNotFound,
    PermissionDenied,
    QuotaExceeded,
    ResourceExhausted,
    RunPipelineError,
    TimeLimitExceeded,
    WarehouseError,
    WarehouseUnavailable,
    WriteConflict,
)
from runner.ports import Statement
from runner.warehouses.bigquery.network import network_message

ENGINE = "bigquery"
_STATEMENT_LENGTH = 500

DRIVER_ERRORS = (google_errors.GoogleAPIError, auth_errors.GoogleAuthError, requests.RequestException)
"""What the clients raise: answers of the service, credentials, and the network."""

_UNANSWERED = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    auth_errors.TransportError,
    google_errors.ServerError,
    google_errors.TooManyRequests,
    google_errors.RetryError,
)
_LIMITED = frozenset({"rateLimitExceeded", "jobRateLimitExceeded"})
_UNAVAILABLE = frozenset(
    {"backendError", "internalError", "jobBackendError", "jobInternalError", "badGateway", "tableUnavailable"}
)
_CONFLICT = re.compile(r"concurrent update|Failed to commit|Transaction conflict", re.IGNORECASE)
"""The first is the service's ("Transaction is aborted due to concurrent update against table …")."""
_BILLED = re.compile(r"limit for bytes billed:?\s*(?P<limit>\d+).*?(?P<needed>\d+) or higher", re.DOTALL)
_PLACE = re.compile(r" at \[(\d+):(\d+)\]")
_NOT_KNOWN = (
    "the service does not know these credentials; check credentials_file, or Google's default credentials"
)
_SLOWER = "it can be sent again a moment later; fewer jobs at once ask for less: max_workers, or a queue"
_LONGER = "the quota of the project is used up; wait, or have it raised in the Google Cloud console"


def reason_of(error: BaseException) -> str:
    """Return the service's word for what is wrong, "" when it gives none."""
    found: Sequence[Any] = getattr(error, "errors", None) or ()
    first = found[0] if found else None
    return str(first.get("reason") or "") if isinstance(first, Mapping) else ""


def may_pass(error: BaseException) -> bool:
    """Tell whether the very same request may be answered a moment later: nobody answered, or only "not now"."""
    if isinstance(error, requests.exceptions.SSLError):
        return False
    if isinstance(error, auth_errors.RefreshError):
        return bool(error.retryable)
    return isinstance(error, _UNANSWERED) or reason_of(error) in _LIMITED | _UNAVAILABLE


def is_unanswered(error: BaseException) -> bool:
    """Tell whether it is not known what became of a request: the work may have been done and the answer lost."""
    return may_pass(error) and reason_of(error) not in _LIMITED


def translate(error: BaseException, statement: str = "", *, limit: float | None = None) -> RunPipelineError:
    """Return the error of ours that says what `error` means. `statement` is shown, cut, without values; `limit`:
    the time limit in seconds that the job has reached.
    """
    message, head = _message(error), statement[:_STATEMENT_LENGTH]
    if isinstance(error, auth_errors.GoogleAuthError):
        return _of_credentials(error, message)
    if isinstance(error, requests.RequestException):
        return WarehouseUnavailable(ENGINE, message, statement=head)
    if _CONFLICT.search(message):
        return WriteConflict(ENGINE, message, statement=head)
    return _of_service(error, message, head, limit)


def _of_credentials(error: auth_errors.GoogleAuthError, message: str) -> RunPipelineError:
    """What the credentials say. A file that is no key shows its content in no message of Google's client."""
    if isinstance(error, auth_errors.TransportError) or getattr(error, "retryable", False):
        return WarehouseUnavailable(ENGINE, message)
    if isinstance(error, auth_errors.DefaultCredentialsError):
        return AuthenticationFailed(
            ENGINE, message, hint="name a key in credentials_file, or log in with gcloud"
        )
    return AuthenticationFailed(ENGINE, message, hint=_NOT_KNOWN)


def _of_service(error: BaseException, message: str, head: str, limit: float | None) -> RunPipelineError:
    reason = reason_of(error)
    if reason in ("stopped", "timeout") and limit is not None:
        return TimeLimitExceeded("query", limit)
    if reason == "bytesBilledLimitExceeded" or "bytesBilledLimitExceeded" in message:
        found = _BILLED.search(message)
        billed, needed = (int(found["limit"]), int(found["needed"])) if found else (None, None)
        return CostLimitExceeded(ENGINE, limit=billed, needed=needed, statement=head)
    if reason in _LIMITED or isinstance(error, google_errors.TooManyRequests):
        return QuotaExceeded(ENGINE, message, statement=head, hint=_SLOWER)
    if reason == "quotaExceeded":
        return QuotaExceeded(ENGINE, message, statement=head, hint=_LONGER)
    if reason in _UNAVAILABLE or isinstance(error, google_errors.ServerError | google_errors.RetryError):
        return WarehouseUnavailable(ENGINE, message, statement=head)
    if isinstance(error, google_errors.Unauthorized):
        return AuthenticationFailed(ENGINE, message, statement=head, hint=_NOT_KNOWN)
    if reason in ("accessDenied", "billingNotEnabled") or isinstance(error, google_errors.Forbidden):
        return PermissionDenied(ENGINE, message, statement=head)
    if reason == "notFound" or isinstance(error, google_errors.NotFound):
        return ObjectNotFound(ENGINE, message, statement=head)
    return _of_query(reason, message, head)


def _of_query(reason: str, message: str, head: str) -> WarehouseError:
    if reason == "resourcesExceeded":
        return ResourceExhausted(ENGINE, message, statement=head, hint="narrow what the step reads")
    if reason == "responseTooLarge":
        hint = "the result is too large for one answer; narrow it by filters or fewer columns"
        return WarehouseError(ENGINE, message, statement=head, hint=hint)
    return WarehouseError(ENGINE, message, statement=head)


def locate(error: RunPipelineError, statement: Statement, step_id: str = "") -> None:
    """Note in an error of a statement of the project which step, file and line it is about."""
    if not isinstance(error, WarehouseError):
        return
    error.step_id = step_id
    if statement.file:
        found = _PLACE.search(error.message)
        error.place = f"{statement.file}:{statement.line + (int(found[1]) if found else 1) - 1}"


def _message(error: BaseException) -> str:
    """Return the service's text alone: the client adds the request's method and address, and the job's id. Where it
    has said nothing, what is wrong with the network.
    """
    if text := network_message(error):
        return text
    text = str(getattr(error, "message", "") or error).partition("\n\nLocation: ")[0]
    text = re.sub(r"^(?:\d{3} )?(?:GET|POST|PUT|PATCH|DELETE) https?://\S+: ", "", text.strip())
    return text or type(error).__name__
