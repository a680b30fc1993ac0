"""By hand: read a table as Arrow, and land a batch with MERGE, in the shortest code for each engine."""

import adbc_driver_postgresql.dbapi
import duckdb
import pyarrow as pa

MERGE = """
MERGE INTO lab.landed AS t USING {source} AS s ON t.id = s.id
WHEN MATCHED THEN UPDATE SET subject = s.subject, n = s.n, value = s.value, flag = s.flag, "at" = s."at", day = s.day
WHEN NOT MATCHED THEN INSERT (id, subject, n, value, flag, "at", day)
VALUES (s.id, s.subject, s.n, s.value, s.flag, s."at", s.day)
"""
READ = 'SELECT id, subject, n, value, flag, "at", day FROM lab.stored'


def read_duckdb(path: str) -> int:
    with duckdb.connect(path) as connection:
        return sum(batch.num_rows for batch in connection.sql(READ).to_arrow_reader(10_000))


def land_duckdb(path: str, rows: pa.Table) -> None:
    with duckdb.connect(path) as connection:
        connection.execute(MERGE.format(source="rows"))


def read_postgres(dsn: str) -> int:
    with adbc_driver_postgresql.dbapi.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(READ)
        return sum(batch.num_rows for batch in cursor.fetch_record_batch())


def land_postgres(dsn: str, rows: pa.Table) -> None:
    with adbc_driver_postgresql.dbapi.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("staged", rows, mode="create", temporary=True)
        cursor.execute(MERGE.format(source="staged"))
        connection.commit()
