"""The results of one source during one sweep, and the stored part of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.domain.operation import FinalStatus
from bridge.domain.rate_limit import Budget
from bridge.domain.upstream import (
    BadRequest,
    NotFound,
    Pending,
    PollResult,
    Terminal,
    Throttled,
    TransientError,
    Unauthorized,
)
from bridge.services.sweep.source_run import SourceRun
from bridge.storage.keys import SOURCES_PARTITION, source_key
from bridge.storage.records import decode
from tests.support.harness import Harness
from tests.support.poll_errors import http_error

DENIED = Unauthorized(http_error(401))
THROTTLED = Throttled(http_error(429), timedelta(seconds=90))
SECOND = timedelta(seconds=1)


def run(bridge: Harness) -> SourceRun:
    """Begin with the stored state of the source."""
    row = bridge.memory.get(SOURCES_PARTITION, source_key("default"))
    sources = replace(bridge.bridge.sweep.poller.sources, memories={})
    return SourceRun(sources, sources.source("default"), row)


def written(bridge: Harness) -> Budget:
    """Read the budget for the next sweep."""
    row = bridge.memory.get(SOURCES_PARTITION, source_key("default"))
    assert row is not None
    return decode(Budget, None, row.values)


@pytest.mark.parametrize("trouble", [DENIED, THROTTLED], ids=["denied", "throttled"])
@pytest.mark.parametrize(
    "result",
    [Pending("Running"), Terminal(FinalStatus.SUCCEEDED, None), NotFound(http_error(404)), BadRequest(http_error(400))],
    ids=["pending", "terminal", "absent", "refused"],
)
def test_an_answer_about_an_operation_ends_the_pause_of_its_source(
    bridge: Harness, trouble: PollResult, result: PollResult
) -> None:
    """Any answer about the operation shows that the source works, and the next sweep sees this."""
    run(bridge).record_response(trouble, bridge.clock())
    stopped = written(bridge)
    bridge.clock.advance(60)

    run(bridge).record_response(result, bridge.clock())

    assert (stopped.denied_at, stopped.stopped_at) != (None, None)
    after = written(bridge)
    assert (after.denied, after.denied_at, after.paused_until, after.pauses) == (None, None, None, 0)
    assert (after.stopped_at, after.stopped_until) == (None, None)


@pytest.mark.parametrize("trouble", [DENIED, THROTTLED], ids=["denied", "throttled"])
def test_an_answer_to_an_earlier_request_ends_no_pause(bridge: Harness, trouble: PollResult) -> None:
    """Both requests were in flight at once, so the answer is outdated."""
    asked_at = bridge.clock()
    bridge.clock.advance(1)
    source = run(bridge)
    source.record_response(trouble, asked_at)
    stopped = written(bridge)

    source.record_response(Pending("Running"), asked_at)

    assert written(bridge) == stopped


@pytest.mark.parametrize("trouble", [DENIED, THROTTLED], ids=["denied", "throttled"])
def test_an_error_ends_no_pause(bridge: Harness, trouble: PollResult) -> None:
    """An error is no evidence about credential or quota."""
    run(bridge).record_response(trouble, bridge.clock())
    stopped = written(bridge)
    bridge.clock.advance(60)

    run(bridge).record_response(TransientError(http_error(500)), bridge.clock())

    assert written(bridge) == stopped


def test_a_rejected_credential_is_stored_with_the_message(bridge: Harness) -> None:
    """The status shows the message. An older request adds nothing."""
    asked_at, source = bridge.clock(), run(bridge)
    bridge.clock.advance(1)

    source.record_response(DENIED, asked_at)
    source.record_response(Unauthorized(http_error(403)), asked_at)

    budget = written(bridge)
    assert (budget.denied, budget.denied_at, budget.pauses) == (http_error(401), bridge.clock(), 1)


def test_a_429_of_an_earlier_request_does_not_halve_the_rate_again(bridge: Harness) -> None:
    """Such an answer can only lengthen the pause."""
    asked_at, source = bridge.clock(), run(bridge)
    bridge.clock.advance(1)
    source.record_response(THROTTLED, asked_at)
    halved = written(bridge)

    source.record_response(Throttled(http_error(429), timedelta(seconds=300)), asked_at)

    again = written(bridge)
    assert (again.rate, again.stopped_at) == (halved.rate, halved.stopped_at)
    assert again.stopped_until == bridge.clock() + timedelta(seconds=300)


def test_a_good_answer_is_not_written_again(bridge: Harness) -> None:
    """Most answers are successes. A write for each would double the storage calls."""
    source = run(bridge)

    source.record_response(Pending("Running"), bridge.clock() + SECOND)

    assert bridge.memory.rows() == []
