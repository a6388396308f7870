"""Run the queries of `infra/` on the telemetry of a run, with KQL on DuckDB (`duckdb-kql`)."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb_kql

from tests.support.json_value import Json

#: Columns of the queries, as in the workspace.
_TABLES = {
    "AppTraces": "TimeGenerated TIMESTAMP, Message VARCHAR, SeverityLevel INTEGER, Properties JSON, "
    "OperationId VARCHAR, OperationName VARCHAR, AppRoleInstance VARCHAR",
    "AppRequests": "TimeGenerated TIMESTAMP, Name VARCHAR, ResultCode VARCHAR, Success BOOLEAN, DurationMs DOUBLE, "
    "OperationId VARCHAR, OperationName VARCHAR, AppRoleInstance VARCHAR",
}
_ROWS_OF_A_STATEMENT = 500
_SEVERITIES = ("Verbose", "Information", "Warning", "Error", "Critical")


class Workspace:
    """The tables of a Log Analytics workspace, filled with items for Application Insights.

    `stretch` multiplies the time between items, to simulate a longer run.
    """

    def __init__(self, items: Sequence[Any], *, stretch: int = 1) -> None:
        self._first = min(
            (datetime.fromisoformat(item["time"]) for item in items), default=datetime.fromtimestamp(0, UTC)
        )
        self._stretch = stretch
        self._connection = duckdb_kql.connect()
        for name, columns in _TABLES.items():
            self._connection.execute(f"CREATE TABLE {name} ({columns})")
        self._insert("AppTraces", [self._trace(item) for item in items if item["name"].endswith("AppTraces")])
        self._insert("AppRequests", [self._request(item) for item in items if item["name"].endswith("AppRequests")])

    def run(self, query: str) -> Sequence[Mapping[str, Any]]:
        """Run a query. Returns the rows."""
        text = "\n".join(line for line in query.splitlines() if not line.startswith("//"))
        done = duckdb_kql.execute(self._connection, text)
        names = [column[0] for column in done.description or ()]
        return [dict(zip(names, row, strict=True)) for row in done.fetchall()]

    def _insert(self, table: str, rows: Sequence[Sequence[object]]) -> None:
        """Insert many rows per statement. One statement per row takes a minute."""
        for start in range(0, len(rows), _ROWS_OF_A_STATEMENT):
            some = rows[start : start + _ROWS_OF_A_STATEMENT]
            marks = ", ".join(f"({', '.join('?' for _ in row)})" for row in some)
            values = [value for row in some for value in row]
            self._connection.execute(f"INSERT INTO {table} VALUES {marks}", values)

    def _trace(self, item: Json) -> Sequence[object]:
        data = item["data"]["baseData"]
        severity = _SEVERITIES.index(data.get("severityLevel", "Verbose"))
        return self._time(item), data["message"], severity, json.dumps(data.get("properties", {})), *_common(item)

    def _request(self, item: Json) -> Sequence[object]:
        data = item["data"]["baseData"]
        return self._time(item), data["name"], data["responseCode"], data["success"], 0.0, *_common(item)

    def _time(self, item: Json) -> datetime:
        since: timedelta = datetime.fromisoformat(item["time"]) - self._first
        return self._first + self._stretch * since


def _common(item: Json) -> Sequence[object]:
    tags = item["tags"]
    return tags.get("ai.operation.id"), tags.get("ai.operation.name"), tags.get("ai.cloud.roleInstance")
