"""What the use cases tell of themselves beside the log: spans and measures, for whoever collects them.

Off by default, and then it costs nothing: a span goes on with the trace that it was given, and no measure is taken.
`bridge/adapters/telemetry/opentelemetry.py` is what is on, docs/telemetry.md lists what it sends. A trace is handed on
as the text of a `traceparent` (W3C Trace Context), since it has to go through rows, messages and threads.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

#: What an attribute can be.
Attribute = str | int | float | bool


class Step(StrEnum):
    """What has a span."""

    REGISTER = "register"
    SWEEP = "sweep"
    POLL = "poll"
    SEND = "send"
    DELIVER = "deliver"


class Metric(StrEnum):
    """What is measured; docs/telemetry.md gives units and attributes."""

    REQUEST = "http.client.request.duration"
    WAITING = "bridge.waiting"
    OVERDUE = "bridge.overdue"
    DETECTION = "bridge.detection.interval"
    DELAY = "bridge.delivery.delay"
    ATTEMPTS = "bridge.attempts"
    ASKED = "bridge.budget.used"
    THROTTLED = "bridge.budget.throttled"
    STORAGE = "bridge.storage.calls"


@dataclass(slots=True)
class Span:
    """One step under way; what is written into `attributes` goes with it when it ends."""

    #: Names it to whoever goes on with its trace; None where there is none.
    traceparent: str | None
    attributes: dict[str, Attribute | None]
    #: The class of the fault that it ended in.
    error: str | None = None


class Telemetry(Protocol):
    """Takes spans and measures. Never raises, and never waits for whoever collects them."""

    def span(
        self, step: Step, parent: str | None = None, **attributes: Attribute | None
    ) -> AbstractContextManager[Span]:
        """Open a span for a `with`: in the trace of `parent`, or in one of its own.

        In the names of attributes `__` stands for a dot.
        """

    def measure(self, metric: Metric, value: float = 1, **attributes: Attribute | None) -> None:
        """Take a measure: of a duration in seconds, of a counter what is added."""

    @property
    def is_on(self) -> bool:
        """Whether anybody listens: what has to be asked for first need not be, otherwise."""


class Off:
    """Nobody listens."""

    @contextmanager
    def span(self, step: Step, parent: str | None = None, **attributes: Attribute | None) -> Iterator[Span]:  # noqa: ARG002 - nobody asks which
        """Go on with the trace of `parent`, unchanged."""
        yield Span(parent, attributes)

    def measure(self, metric: Metric, value: float = 1, **attributes: Attribute | None) -> None:
        """Take none."""

    @property
    def is_on(self) -> bool:
        """Say no."""
        return False


#: For whoever says nothing else.
OFF = Off()
