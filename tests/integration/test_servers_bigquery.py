"""The BigQuery of the tests does what the tests build on, through Google's own client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal

import grpc
import pytest
from google.api_core.exceptions import (
    Conflict,
    Forbidden,
    GoogleAPICallError,
    ServiceUnavailable,
    TooManyRequests,
)
from google.cloud import bigquery
from google.cloud.bigquery import LoadJobConfig, QueryJobConfig, SchemaField
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from requests.exceptions import ConnectionError as Disconnected

from tests.servers.bigquery import (
    AnswerFault,
    BigQueryProcess,
    BigQueryProject,
    Figures,
    JobFault,
    StreamFault,
)

NO_RETRY: Any = None
"""What switches the client's retries off; its annotations leave it out."""
NewProject = Callable[[], BigQueryProject]
ROWS = [{"a": number} for number in range(3)]
TABLE = LoadJobConfig(schema=[SchemaField("a", "INTEGER")])


@pytest.fixture
def client(bigquery_project: BigQueryProject) -> Iterator[bigquery.Client]:
    """A client of the project, which has a dataset `d`."""
    with bigquery_project.client() as client:
        client.create_dataset("d")
        bigquery_project.forget_requests()
        yield client


def test_projects_are_apart(bigquery_project: BigQueryProject, new_bigquery_project: NewProject) -> None:
    """Tables, requests, jobs and faults of one are not those of another, also at the same time."""
    other = new_bigquery_project()
    for number, project in enumerate((bigquery_project, other)):
        with project.client() as client:
            client.create_dataset("d")
        project.query(f"CREATE TABLE d.t AS SELECT {number} AS n")
    other.fail(AnswerFault(403, "quotaExceeded", times=None))
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(bigquery_project.query, ["SELECT n FROM d.t"] * 4))
        with pytest.raises(Forbidden):
            other.query("SELECT n FROM d.t")
    assert answers == [[(0,)]] * 4
    other.heal()
    assert other.query("SELECT n FROM d.t") == [(1,)]
    assert bigquery_project.statements()[1:] == ["SELECT n FROM d.t"] * 4
    assert other.statements() == ["CREATE TABLE d.t AS SELECT 1 AS n", "SELECT n FROM d.t"]


def test_what_clients_ask_is_noted(bigquery_project: BigQueryProject, client: bigquery.Client) -> None:
    """With what the server itself ignores; of an upload, what describes it."""
    config = QueryJobConfig(maximum_bytes_billed=10**9, job_timeout_ms=60_000, labels={"job": "x"})
    client.query("SELECT 1", job_id="mine", job_config=config, job_retry=None).result()
    client.load_table_from_json(ROWS, "d.t", job_id="load", job_config=TABLE).result()
    query, load = bigquery_project.submitted()
    assert query["jobReference"]["jobId"] == "mine"
    assert query["configuration"]["labels"] == {"job": "x"}
    assert query["configuration"]["jobTimeoutMs"] == "60000"
    assert query["configuration"]["query"]["maximumBytesBilled"] == "1000000000"
    assert load["jobReference"]["jobId"] == "load"
    assert load["configuration"]["load"]["destinationTable"]["tableId"] == "t"
    assert [job["jobReference"]["jobId"] for job in bigquery_project.jobs("done")] == ["mine", "load"]
    assert all(request["status"] == 200 for request in bigquery_project.requests())


def test_unavailable_twice(bigquery_project: BigQueryProject, client: bigquery.Client) -> None:
    """The client's retries get through the third time; without them, the error arrives."""
    fault = AnswerFault(503, method="POST", contains="/jobs", times=2)
    bigquery_project.fail(fault)
    client.query("SELECT 1").result()
    assert bigquery_project.met() == [2]
    bigquery_project.fail(fault)
    with pytest.raises(ServiceUnavailable):
        client.query("SELECT 1", retry=NO_RETRY, job_retry=None)


@pytest.mark.parametrize("fault", [AnswerFault(503, after=True), AnswerFault(cut=True)], ids=["503", "cut"])
def test_an_answer_is_lost_after_the_work(
    fault: AnswerFault, bigquery_project: BigQueryProject, client: bigquery.Client
) -> None:
    """The client asks again with the same id, hears of a conflict, and the work was done once."""
    bigquery_project.fail(replace(fault, method="POST", contains="/jobs"))
    with pytest.raises(Conflict):
        client.query("CREATE TABLE d.once AS SELECT 1 AS n", job_id="once", job_retry=None)
    assert client.get_job("once").result() is not None
    assert bigquery_project.query("SELECT count(*) FROM d.once") == [(1,)]


@pytest.mark.parametrize("reason", ["rateLimitExceeded", "quotaExceeded"])
def test_jobs_fail_by_a_limit(
    reason: str, bigquery_project: BigQueryProject, client: bigquery.Client
) -> None:
    """The job is there, has failed, and did nothing."""
    bigquery_project.fail(JobFault(reason, "Exceeded: too many table update operations", type="load"))
    job = client.load_table_from_json(ROWS, "d.t", job_config=TABLE)
    with pytest.raises((Forbidden, TooManyRequests)) as caught:
        job.result(retry=NO_RETRY)
    assert caught.value.errors[0]["reason"] == reason
    assert not list(client.list_tables("d"))


def test_a_job_is_cancelled_or_runs_out_of_time(
    bigquery_project: BigQueryProject, client: bigquery.Client
) -> None:
    """The server runs nothing afterwards; the two are told apart."""
    bigquery_project.fail(JobFault(delay=60, times=None))
    job = client.query("SELECT 1")
    assert bigquery_project.running() == [job.job_id]
    started = time.monotonic()
    job.cancel()
    with pytest.raises(GoogleAPICallError, match="User requested cancellation"):
        job.result()
    assert time.monotonic() - started < 1
    with pytest.raises(GoogleAPICallError, match=r"Job timed out after 0\.2 sec"):
        client.query("SELECT 1", job_config=QueryJobConfig(job_timeout_ms=200)).result()
    assert bigquery_project.running() == []


def test_queries_are_told_what_they_cost(bigquery_project: BigQueryProject, client: bigquery.Client) -> None:
    """And a limit of the bytes billed holds."""
    bigquery_project.fail(JobFault(figures=Figures(100, 10_485_760, 7), times=None))
    job = client.query("SELECT 1")
    job.result()
    assert (job.total_bytes_processed, job.total_bytes_billed, job.slot_millis) == (100, 10_485_760, 7)
    with pytest.raises(GoogleAPICallError, match="Query exceeded limit for bytes billed: 1000000"):
        client.query("SELECT 1", job_config=QueryJobConfig(maximum_bytes_billed=1_000_000)).result()


@pytest.mark.filterwarnings("ignore:Retrieving Arrow record batches:PendingDeprecationWarning")
def test_a_storage_stream_breaks(bigquery_project: BigQueryProject, client: bigquery.Client) -> None:
    """It goes on where it was; the calls are noted."""
    bigquery_project.query("CREATE TABLE d.t AS SELECT n FROM UNNEST(GENERATE_ARRAY(1, 10000)) AS n")
    bigquery_project.fail(StreamFault("UNAVAILABLE", messages=1))
    with grpc.insecure_channel(bigquery_project.server.grpc) as channel:
        storage = BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
        rows = client.list_rows("d.t").to_arrow(bqstorage_client=storage)
    assert rows.num_rows == 10_000
    calls = [one["path"] for one in bigquery_project.requests() if one["method"] == "RPC"]
    assert calls == ["CreateReadSession", "ReadRows", "ReadRows"]


@pytest.mark.slow
def test_a_server_is_killed_in_the_middle_of_a_load(private_bigquery: Callable[[], BigQueryProcess]) -> None:
    """Before the work: nothing is there, and the job has failed. After it: all is there, once, and the job is done."""
    process = private_bigquery()
    with process.server.project() as project, project.client() as client:
        client.create_dataset("d")
        client.create_table(bigquery.Table(f"{project.name}.d.t", schema=TABLE.schema))
        cases: list[tuple[str, Literal["before", "after"], int]] = [
            ("first", "before", 0),
            ("second", "after", 3),
        ]
        for job_id, when, count in cases:
            project.fail(JobFault(type="load", die=when))
            with pytest.raises(Disconnected):
                client.load_table_from_json(
                    ROWS, "d.t", job_id=job_id, num_retries=0, job_config=TABLE, timeout=5
                )
            process.wait_until_dead()
            process.restart()
            assert (client.get_job(job_id).error_result is None) == (count == 3)
            assert project.query("SELECT count(*) FROM d.t") == [(count,)]
