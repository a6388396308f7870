"""Everything that a run of the app leaves at Application Insights, from `insights-sink`."""

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
    """A line of the log, as it was kept."""

    message: str
    level: str
    category: str
    #: Names the invocation that the line belongs to.
    invocation: str | None

    @property
    def event(self) -> Mapping[str, Any]:
        """The line of an event, or an empty mapping for any other text."""
        with suppress(ValueError):
            read = json.loads(self.message)
            return read if isinstance(read, dict) and "event" in read else {}
        return {}


@dataclass(frozen=True, slots=True)
class Sink:
    """Where the host sends what Application Insights would keep."""

    port: int
    file: Path

    @property
    def settings(self) -> dict[str, str]:
        """What a host is told, so that it sends to this sink alone.

        A host keeps what it could not send in its folder for temporary files, and sends what it finds there. With a
        folder that other hosts had, it would try a sink that is gone, and send nothing for minutes.
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
        """All that came so far, as it was sent."""
        whole_lines, _, _ = self.file.read_text(encoding="utf-8").rpartition("\n")
        return [json.loads(line) for line in whole_lines.splitlines()]

    @property
    def traces(self) -> list[Trace]:
        """All lines of the log, of the app and of the host."""
        return [_trace(item) for item in self.items if item["name"].endswith(("AppTraces", "Message"))]


@contextmanager
def insights_sink(folder: Path) -> Iterator[Sink]:
    """Run `insights-sink`. Skips the test if the machine has none."""
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
