"""The telemetry of a run at Application Insights, from `insights-sink`."""

import json
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.child import Child
from tests.support.hosts import MAX_WAIT, wait_until
from tests.support.json_value import Json
from tests.support.tools import tool


@dataclass(frozen=True, slots=True)
class Trace:
    """A stored log line."""

    message: str
    level: str
    category: str
    #: The invocation of the line.
    invocation: str | None

    @property
    def event(self) -> Mapping[str, Any]:
        """The line of an event, or an empty mapping for other text."""
        with suppress(ValueError):
            read = json.loads(self.message)
            return read if isinstance(read, dict) and "event" in read else {}
        return {}


@dataclass(frozen=True, slots=True)
class Sink:
    """The host's destination in place of Application Insights."""

    port: int
    file: Path

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a host that sends only to this sink.

        A host stores unsent data in a temporary folder, and sends existing data from that folder. In the folder of
        other hosts, the host would try a closed sink, and send nothing for minutes.
        """
        url = f"http://127.0.0.1:{self.port}/"
        key = "00000000-0000-0000-0000-000000000001"
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": (
                f"InstrumentationKey={key};IngestionEndpoint={url};LiveEndpoint={url}"
            ),
            "TMPDIR": str(self.file.parent),
        }

    @property
    def items(self) -> list[Any]:
        """All items so far, unchanged."""
        whole_lines, _, _ = self.file.read_text(encoding="utf-8").rpartition("\n")
        return [json.loads(line) for line in whole_lines.splitlines()]

    @property
    def traces(self) -> list[Trace]:
        """All log lines of app and host."""
        return [_trace(item) for item in self.items if item["name"].endswith(("AppTraces", "Message"))]


@contextmanager
def insights_sink(folder: Path) -> Iterator[Sink]:
    """Run `insights-sink`. Skips the test if the machine lacks the tool."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = folder / "insights.jsonl"
    child = Child([sys.executable, tool("insights-sink"), str(port), str(file)], on_line=print)
    try:
        wait_until(lambda: _answers(port), bool)
        yield Sink(port, file)
    finally:
        child.stop(MAX_WAIT)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _trace(item: Json) -> Trace:
    data = item["data"]["baseData"]
    properties = data.get("properties", {})
    return Trace(
        message=data["message"],
        level=data.get("severityLevel", "Verbose"),
        category=properties.get("Category", ""),
        invocation=properties.get("InvocationId"),
    )
