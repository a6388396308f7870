"""The interface of telemetry: spans and metrics in addition to the log.

Off by default and then free of cost: a span continues the given trace context, and no measurement is taken.
`bridge/adapters/telemetry/opentelemetry.py` is the implementation, and docs/telemetry.md lists the data. A trace
context is passed on as the text of a `traceparent` (W3C Trace Context), since it crosses rows, messages and threads.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

#: The type of an attribute's value.
Attribute = str | int | float | bool


class Step(StrEnum):
    """A step with a span."""

    REGISTER = "register"
    SWEEP = "sweep"
    POLL = "poll"
    SEND = "send"
    DELIVER = "deliver"


class Metric(StrEnum):
    """A metric. docs/telemetry.md gives units and attributes."""

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
    """One step under way. The values in `attributes` at its end are recorded."""

    #: The trace context for the steps that continue the trace, if any.
    traceparent: str | None
    attributes: dict[str, Attribute | None]
    #: The class of the exception that ended the step.
    error: str | None = None


class Telemetry(Protocol):
    """Records spans and measurements. Never raises, and never waits for an exporter."""

    def span(
        self, step: Step, /, parent: str | None = None, **attributes: Attribute | None
    ) -> AbstractContextManager[Span]:
        """Open a span for a `with` statement, in the trace of `parent` or in a new one.

        In the names of attributes `__` replaces a dot.
        """

    def measure(self, metric: Metric, value: float = 1, **attributes: Attribute | None) -> None:
        """Record a measurement: a duration in seconds, a gauge's value, or the increment of a counter."""

    @property
    def is_on(self) -> bool:
        """Whether telemetry is on. If not, callers can skip expensive measurements."""


class Off:
    """Telemetry that is off."""

    @contextmanager
    def span(self, _step: Step, /, parent: str | None = None, **attributes: Attribute | None) -> Iterator[Span]:
        """Continue the trace of `parent` unchanged."""
        yield Span(parent, attributes)

    def measure(self, metric: Metric, value: float = 1, **attributes: Attribute | None) -> None:
        """Record nothing."""

    @property
    def is_on(self) -> bool:
        """Always false."""
        return False


#: The default.
OFF = Off()
