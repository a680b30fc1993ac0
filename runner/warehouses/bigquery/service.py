"""The open client: credentials, endpoint, connection pool, and what all jobs of a process share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import google.auth
from google.api_core.client_info import ClientInfo
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import bigquery
from google.oauth2 import service_account
from requests.adapters import HTTPAdapter

from runner.errors import AuthenticationFailed, ConfigurationError, Problem
from runner.retry import Backoff
from runner.settings import BigQuerySettings
from runner.version import __version__
from runner.warehouses.bigquery.faults import DRIVER_ERRORS, ENGINE, may_pass, translate
from runner.warehouses.bigquery.names import StatementNumbers
from runner.warehouses.bigquery.stopping import Stop

if TYPE_CHECKING:
    from google.cloud.bigquery_storage_v1.services.big_query_read import BigQueryReadClient

T = TypeVar("T")

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
TRIES = 3
"""How often one request is sent before its failure is told. The client's own retries are switched off, and a job that
failed is never sent again here: that is for the `retries` of its step. (Only a landing that another transaction was in
the way of is: it has been rolled back.)
"""
NO_RETRY: Any = None
"""What switches the client's own retries off; its annotations leave it out."""
CANCEL_TIMEOUT = 5.0
"""Seconds that one cancel request may take; it is repeated."""


class Service:
    """BigQuery as one process uses it. Methods block; all but `open` and `close` may be called from many threads.

    `query_timeout` in seconds bounds each job, on the server too; None: unbounded. `backoff`: how long to wait before
    a request is sent again.
    """

    def __init__(
        self, settings: BigQuerySettings, query_timeout: float | None, backoff: Backoff | None = None
    ) -> None:
        self.settings = settings
        self.query_timeout = query_timeout
        self.backoff = backoff or Backoff()
        self.location = settings.location
        self.numbers = StatementNumbers()
        self.unknown: dict[str, set[str]] = {}
        self._client: bigquery.Client | None = None
        self._storage: BigQueryReadClient | None = None
        self._opening = threading.Lock()
        self._credentials: Any = None

    def open(self) -> None:
        """Find the credentials and make the client; nothing is sent yet.

        Raises `AuthenticationFailed` without credentials, `ConfigurationError` without a project.
        """
        settings = self.settings
        try:
            self._credentials, found = _credentials(settings)
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        project = settings.project or found
        if not project:
            message = "no project: the credentials name none"
            raise ConfigurationError(
                [Problem(path="warehouse.project", message=message, expected="a project")]
            )
        session = AuthorizedSession(self._credentials)
        # A cancelled call sends from a second thread.
        pool = HTTPAdapter(pool_connections=4, pool_maxsize=2 * settings.max_connections)
        session.mount("https://", pool)
        session.mount("http://", pool)
        self._client = bigquery.Client(
            project=project,
            credentials=self._credentials,
            _http=session,
            location=settings.location,
            client_info=ClientInfo(user_agent=f"run-pipeline/{__version__}"),
            client_options={"api_endpoint": settings.endpoint} if settings.endpoint else None,
        )

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._storage is not None:
            self._storage.transport.close()
            self._storage = None

    @property
    def client(self) -> bigquery.Client:
        """The client of the REST API. Give each of its methods `retry=NO_RETRY` and `timeout=service.timeout`."""
        if self._client is None:
            raise RuntimeError("the warehouse is not open; use it as an async context manager")
        return self._client

    @property
    def project(self) -> str:
        """The project that pays for the jobs and holds the datasets."""
        return str(self.client.project)

    @property
    def timeout(self) -> float:
        """Seconds that one request may take."""
        return self.settings.request_timeout

    def patiently(self, request: Callable[[], T], stop: Stop) -> T:
        """Send a request that may be sent twice, `TRIES` times at most while nobody answers. Raises as the client."""
        failures = 0
        while True:
            try:
                return request()
            except DRIVER_ERRORS as error:
                failures += 1
                if failures >= TRIES or not may_pass(error) or stop.wanted:
                    raise
            stop.wait(self.backoff.delay(failures))

    def cancel(self, job_id: str, location: str | None = None) -> None:
        """Send one cancel request, for a job in a location if that is known. Raises as the client does."""
        self.client.cancel_job(
            job_id, location=location or self.location, retry=NO_RETRY, timeout=CANCEL_TIMEOUT
        )

    def storage_reader(self) -> BigQueryReadClient | None:
        """Return the client of the Storage Read API; None where it is not installed, or an emulator has no endpoint for
        it.
        """
        with self._opening:
            if self._storage is None:
                self._storage = self._open_storage()
            return self._storage

    def _open_storage(self) -> BigQueryReadClient | None:
        settings = self.settings
        if settings.endpoint and not settings.storage_endpoint:
            return None
        try:
            from google.cloud.bigquery_storage_v1.services.big_query_read import BigQueryReadClient
        except ImportError:
            return None
        if not settings.storage_endpoint:
            return BigQueryReadClient(credentials=self._credentials)
        import grpc
        from google.cloud.bigquery_storage_v1.services.big_query_read.transports import (
            BigQueryReadGrpcTransport,
        )

        # As Google's own channel: without it an answer may have 4 MB.
        channel = grpc.insecure_channel(
            settings.storage_endpoint, options=[("grpc.max_receive_message_length", -1)]
        )
        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))


def _credentials(settings: BigQuerySettings) -> tuple[Any, str | None]:
    """Return credentials, and the project that they name. A key file's content is in no error."""
    if settings.endpoint:
        return AnonymousCredentials(), None
    if settings.credentials_file is None:
        return google.auth.default(scopes=SCOPES)
    path = settings.credentials_file
    try:
        found = service_account.Credentials.from_service_account_file(path, scopes=SCOPES)
    except OSError as error:
        raise AuthenticationFailed(ENGINE, f"credentials_file {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        message = f"credentials_file {path} is no key of a service account"
        raise AuthenticationFailed(ENGINE, message) from None
    return found, found.project_id
